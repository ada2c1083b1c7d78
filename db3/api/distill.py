"""From a teacher and images, or none, to a student: the functions of the pipeline's stages, one after the other."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from db3.api.asking import Asking
from db3.api.plan import Plan, plan_distillation
from db3.api.student import Student
from db3.api.teacher import ModelTeacher
from db3.api.teacher import teacher as make_teacher
from db3.arithmetic import to_exact
from db3.datasets.subset import draw_samples
from db3.digest import digest_arrays
from db3.errors import BudgetSpent, ConfigError, DataError
from db3.evaluation import agreement
from db3.extras import needs
from db3.files import write_array, write_json
from db3.images.priors import prior_images
from db3.progress import Progress, show_progress
from db3.rng import Purpose, derived_seed, permutation
from db3.search import DistanceParts, search_pairs
from db3.search.catalogue import WITH_SURROGATES, resolve_search
from db3.search.starts import check_classes
from db3.search.surrogate.surrogate import surrogates_of
from db3.settings.declare import shared
from db3.settings.declare import to_json as settings_to_json
from db3.settings.training import Schedule
from db3.shard_store import ShardStore
from db3.soft_labels import (
    BoundaryPoints,
    QueriedImages,
    SearchedSamples,
    TransferSet,
    build_transfer_set,
    choose_recipe,
    given_scale,
)
from db3.students import StudentSettings, label_by_assistants, student_variant, train_variants
from db3.teachers.answers.place import open_answers
from db3.teachers.base import Teacher
from db3.teachers.decide import decide_all, decide_images
from db3.training.train import TrainSettings
from db3.types import TransferImages
from db3.work import Arrays, Work
from db3.zero_shot.rounds import RoundSettings, gather

_logger = logging.getLogger(__name__)
_ROUNDED = ("priors", "augmented")
_SPARE = 0.1  # of the queries, for attempts that bring no answer
_CALL = 256  # images a call when the student is measured

Images = UInt8[np.ndarray, "_ c h w"]


@dataclass(frozen=True)
class Queries:
    """What a run has asked, its earlier tries in the same folder included.

    Attributes:
        asked: images wanted decided.
        sent: every attempt to send one: what is billed.
    """

    asked: int
    sent: int


@dataclass(frozen=True)
class Result:
    """What `distill` brings.

    Attributes:
        student: trained.
        transfer: what it learnt from.
        digest: of the transfer set.
        queries: what that has cost, and what was held out.
        held_out: images asked to measure by, and the teacher's decisions on them; empty: none were.
        agreement: share of these on which student and teacher agree; None: none were held out.
        missing: names of classes that the teacher never decided.
        plan: how the queries were spent.
        folder: where everything lies.
    """

    student: Student
    transfer: TransferSet
    digest: str
    queries: Queries
    held_out: TransferImages
    agreement: float | None
    missing: tuple[str, ...]
    plan: Plan
    folder: Path

    def __str__(self) -> str:
        size = f"{self.student.architecture}, {self.student.parameters:,} parameters"
        count = len(self.held_out.decisions)
        agrees = "" if self.agreement is None else f", agrees on {self.agreement:.1%} of {count:,} images held out"
        return f"{size}{agrees}; {self.queries.asked:,} queries asked, {self.queries.sent:,} sent; {self.folder}"


def distill(
    teacher: ModelTeacher | Teacher,
    images: object = None,
    *,
    queries: int,
    folder: str | Path,
    student: str = "auto",
    held_out: int | object | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    limit: int | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> Result:
    """Train a student on a teacher's decisions.

    What is finished lies in `folder`: after a kill, or with other settings, the same call goes on from there, and no
    image is sent twice. The same settings in the pipeline give the same transfer set, byte for byte.

    Args:
        teacher: of `db3.teacher`, or any object with `spec` and `decide`.
        images: uint8 [n, C, H, W], or whatever `db3.load_images` takes; None: there are none, so they are made.
        queries: images asked at most, those held out included.
        folder: for answers, finished work, transfer set and student.
        student: a name that `db3.build_network` knows; auto: by the images' shape and the number of classes.
        held_out: how many images are asked to measure agreement by, or images of their own for that; None: by rule.
        seed: of draws, made images, surrogates and the student.
        settings: parameters by their dotted names, in place of what the rule sets: `{"query.method": "mbd"}`.
        limit: images sent at most in this folder, attempts without an answer included; None: a tenth more than
            `queries`.
        device: where networks compute.
        progress: whether long work is shown on stderr.

    Raises:
        ConfigError: too few queries, an unknown parameter, images that do not fit together with them.
        DataError: images of another shape than the teacher's.
        TeacherError: the teacher failed; what it had answered is kept.
    """
    show_progress(progress)
    model = teacher if isinstance(teacher, ModelTeacher) else make_teacher(teacher)
    shape = model.spec.input_shape
    own = None if images is None else _pixels(images, shape)
    apart = held_out is not None and not isinstance(held_out, int)
    held = _pixels(held_out, shape) if apart else None
    count = len(held) if held is not None else held_out
    plan = plan_distillation(
        model.spec,
        None if own is None else len(own),
        queries,
        student=student,
        held_out=count if isinstance(count, int) else None,
        apart=apart,
        seed=seed,
        settings=settings,
    )
    return _Run(model, plan, Path(folder), limit or round(queries * (1 + _SPARE)), device).result(own, held)


class _Run:
    """One distillation: what all its steps share."""

    def __init__(self, teacher: ModelTeacher, plan: Plan, folder: Path, limit: int, device: str) -> None:
        self._teacher, self._plan, self._folder, self._device = teacher, plan, folder, device
        self._answers, self._store = open_answers(folder / "answers.sqlite"), ShardStore(folder / "pieces")
        threads = torch.get_num_threads()
        self._asking = Asking(teacher.open(limit, self._answers), self._store, device, threads)
        self._threads = threads

    def result(self, images: Images | None, held: Images | None) -> Result:
        """Everything, from the first question to the files."""
        plan, classes = self._plan, self._teacher.class_names
        images, held = self._part(images, held)
        measured = TransferImages(held, self._decide(held, "held-out"))
        pool = self._samples(images)
        check_classes(pool.decisions, list(classes), True, more="queries")
        transfer = self._transfer(pool)
        digest = digest_arrays(transfer.arrays())
        network = self._train(transfer, self._asking.counts["votes"] / len(pool.decisions), plan.settings.samples.seed)
        exact = plan.settings.distill.arithmetic == "exact"
        told = decide_all(to_exact(network) if exact else network, held, _CALL)
        agrees = agreement(told, measured.decisions) if len(held) else None
        queries = Queries(self._asking.counts["asked"], self._teacher.sent(self._answers))
        missing = tuple(name for place, name in enumerate(classes) if not (pool.decisions == place).any())
        made = Student(network, plan.settings.distill.architecture, self._teacher.spec.input_shape, classes)
        found = Result(made, transfer, digest, queries, measured, agrees, missing, plan, self._folder)
        return self._write(found)

    def _part(self, images: Images | None, held: Images | None) -> tuple[Images | None, Images]:
        """The images to learn from, and those held out."""
        count = self._plan.held_out
        if held is not None:
            return images, held
        if images is None:  # of another seed than those that are asked to learn from
            apart = derived_seed(self._plan.settings.samples.seed, Purpose.HELD_OUT)
            return None, prior_images(self._teacher.spec.input_shape, range(count), apart)
        order = permutation(len(images), self._plan.settings.samples.seed, Purpose.HELD_OUT)
        rows = np.sort(np.array(order[:count], np.int64))
        return np.delete(images, rows, axis=0), images[rows]

    def _decide(self, images: Images, name: str) -> Int64[np.ndarray, " n"]:
        try:
            return decide_images(self._asking, images, name, self._asking.run)
        except BudgetSpent as error:
            raise _too_little(error) from error

    def _samples(self, images: Images | None) -> TransferImages:
        """The samples, real or made, and the teacher's decisions on them."""
        group = self._plan.settings.samples
        if group.method == "real" and images is not None:
            kept = images[draw_samples(len(images), group.count, group.seed)]
            return TransferImages(kept, self._decide(kept, "samples"))
        if group.method not in _ROUNDED or (group.method == "augmented" and images is None):
            expected = "priors, without images" if images is None else "real, augmented or priors"
            raise ConfigError(f"samples.method is {group.method}; expected {expected}: the pipeline knows more")
        rounds = RoundSettings(**vars(group.rounds))
        real = images if group.method == "augmented" else None
        with Progress("asking", group.budget, "query") as progress:
            try:
                found = gather(
                    self._asking,
                    group.budget or 0,
                    rounds,
                    seed=group.seed,
                    real=real,
                    on_asked=progress.advance,
                    run=self._asking.run,
                )
            except BudgetSpent as error:
                raise _too_little(error) from error
        return TransferImages(found.images, found.decisions)

    def _transfer(self, pool: TransferImages) -> TransferSet:
        """What the searches find, made a transfer set."""
        chosen, asking = self._plan.settings, self._asking
        search = resolve_search(chosen.query, chosen.samples.method)
        surrogate = surrogates_of(chosen.query) if search.method in WITH_SURROGATES else None
        before = asking.counts["votes"]
        with Progress("searching", self._plan.searches, "query") as progress:
            found = search_pairs(
                asking,
                pool,
                search,
                surrogate=surrogate,
                device=self._device,
                on_asked=progress.advance,
                run=asking.run,
            )
        samples = _searched(pool, found)
        points, queried = samples.boundary_points, samples.queried_images
        pairs = len(pool.decisions) * (self._teacher.spec.classes - 1)
        recipe = choose_recipe(
            chosen.soft_labels,
            (asking.counts["votes"] - before) / pairs,
            points=points is not None and len(points.images) > 0,
            answers=queried is not None and len(queried.images) > 0,
            distances=search.method != "none",
            temperature=chosen.distill.temperature,
        )
        return build_transfer_set(samples, recipe, given_scale(chosen.soft_labels, recipe.mapping))

    def _train(self, transfer: TransferSet, queries_per_sample: float, seed: int) -> torch.nn.Module:
        learn, classes = self._plan.settings.distill, transfer.classes
        training = TrainSettings(**shared(Schedule, learn))
        variant = student_variant(transfer, queries_per_sample, **vars(learn.weights))
        if learn.assistants.networks:
            last = replace(training, select="last")
            variant = label_by_assistants(variant, classes, learn.assistants, last, seed, self._keep)
        settings = StudentSettings(learn.architecture, training, [seed])
        (trained,) = train_variants([variant], classes, settings, self._keep, device=self._device)
        return trained.network

    def _keep(self, work: Work) -> Sequence[Arrays]:
        """The runner of work that asks nobody."""
        keys = work.keys_on(self._device, self._threads)
        return [self._kept(work, index, key) for index, key in enumerate(keys)]

    def _kept(self, work: Work, index: int, key: str) -> Arrays:
        found = self._store.get(key)
        if found is None:
            found = work.compute(index)
            self._store.put(key, found)
        return found

    def _write(self, found: Result) -> Result:
        """Transfer set, student and what was measured, each in files of its own."""
        folder, learn = found.folder, found.plan.settings.distill
        for name, array in found.transfer.arrays().items():
            write_array(folder / "transfer" / f"{name}.npy", array)
        measured = _measured(found)
        training = {
            "steps": learn.steps,
            "batch": learn.batch,
            "learning rate": learn.lr,
            "arithmetic": learn.arithmetic,
        }
        told = {"teacher": self._teacher.spec.identity, "transfer": found.digest, "training": training}
        student = replace(found.student, told={**told, "measured": measured})
        if learn.onnx:
            _export(student, folder / "student" / "student.onnx")
        student.save(folder / "student")
        write_json(
            folder / "result.json",
            {
                "agreement": found.agreement,
                "held_out": len(found.held_out.decisions),
                "queries": asdict(found.queries),
                "missing_classes": list(found.missing),
                "transfer": found.digest,
                "teacher": {"identity": self._teacher.spec.identity, "parameters": self._teacher.parameters},
                "student": {"architecture": student.architecture, "parameters": student.parameters},
                "settings": settings_to_json(found.plan.settings),
            },
        )
        self._warn(found)
        return replace(found, student=student)

    def _warn(self, found: Result) -> None:
        if found.missing:
            names = ", ".join(found.missing[:5])
            _logger.warning("the teacher never decided %s of the classes: %s", len(found.missing), names)
        size = self._teacher.parameters
        if size is not None and found.student.parameters >= size:
            _logger.warning(
                "the student has %s parameters, the teacher %s: choose a smaller one",
                f"{found.student.parameters:,}",
                f"{size:,}",
            )


def _pixels(images: object, shape: tuple[int, int, int]) -> Images:
    found = np.asarray(getattr(images, "images", images))
    if found.dtype != np.uint8 or found.ndim != 4:
        raise DataError(f"images are {found.dtype} of shape {list(found.shape)}; expected uint8 [n, C, H, W]")
    if found.shape[1:] != shape:
        raise DataError(
            f"images of shape {list(found.shape[1:])} for a teacher of shape {list(shape)} (C, H, W): load them by "
            f"db3.load_images(…, size={list(shape[1:])})"
        )
    return found


def _searched(pool: TransferImages, found: DistanceParts) -> SearchedSamples:
    """The parts as one."""
    parts = list(found)
    points, pairs, images, decisions, keys, distances = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("points", "point_pairs", "queried_images", "queried_decisions", "queried_keys", "distances")
    )
    queried = QueriedImages(images, decisions, keys)
    return SearchedSamples(pool.images, pool.decisions, distances, BoundaryPoints(points, pairs), queried)


def _too_little(error: BudgetSpent) -> ConfigError:
    return ConfigError(
        f"the limit does not pay for all queries ({error}): raise limit; what was answered is kept and not sent again"
    )


def _measured(found: Result) -> str:
    if found.agreement is None:
        return "No image was held out, so agreement with the teacher is unknown."
    return (
        f"On {len(found.held_out.decisions):,} decided images held out, {found.agreement:.1%} of its decisions are the "
        f"teacher's. {found.queries.asked:,} images were asked in all."
    )


def _export(student: Student, path: Path) -> None:
    try:
        with needs("onnx", "ONNX export"):
            import onnx  # noqa: F401, PLC0415
            import onnxruntime  # noqa: F401, PLC0415
            import onnxscript  # noqa: F401, PLC0415
    except ConfigError as error:
        _logger.info("no ONNX file: %s", error)
        return
    student.export(path)
