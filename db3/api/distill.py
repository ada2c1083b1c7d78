"""From a teacher and images, or none, to a student: the functions of the pipeline's stages, one after the other."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from db3.api.asking import Asking
from db3.api.plan import Plan, plan_distillation
from db3.api.result import Queries, Result, record_of, warn_of, write_result
from db3.api.samples import Images, ask, hold_out, read_pixels, take_samples
from db3.api.student import Student
from db3.api.teacher import ModelTeacher
from db3.api.teacher import teacher as make_teacher
from db3.api.transfer import search_transfer_set, train_student
from db3.arithmetic import to_exact
from db3.digest import digest_arrays
from db3.evaluation import agreement
from db3.extras import needs
from db3.networks import build_network, read_initial_weights
from db3.progress import show_progress
from db3.publish.sinks import Sink, check_sinks, tell_sinks
from db3.search.starts import check_classes
from db3.settings.training import DistillSettings
from db3.shard_store import ShardStore
from db3.teachers.answers.place import open_answers
from db3.teachers.base import ImageShape, Teacher
from db3.teachers.budget import TOKENS
from db3.teachers.decide import decide_all
from db3.teachers.fetch import own_classes
from db3.types import TransferImages

_SPARE = 0.1  # of the queries, for attempts that bring no answer
_CALL = 256  # images a call when the student is measured


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
    sinks: Sequence[Sink] = (),
) -> Result:
    """Train a student on a teacher's decisions.

    What is finished lies in `folder`: after a kill, or with other settings, the same call goes on from there, and no
    image is sent twice. The same settings in the pipeline give the same transfer set, byte for byte.

    Args:
        teacher: of `db3.teacher`, or any object with `spec` and `decide`.
        images: whatever `db3.load_images` takes; None: there are none, so they are made.
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
        sinks: who is told of the run when it is done: `mlflow`, `tensorboard`, `dvclive`, each with `:PLACE` where it
            is not to choose that itself, or functions of a `RunRecord`.

    Raises:
        ConfigError: too few queries, an unknown parameter, images that do not fit together with them.
        DataError: images of another shape than the teacher's.
        TeacherError: the teacher failed; what it had answered is kept.
    """
    show_progress(progress)
    check_sinks(sinks)
    model = teacher if isinstance(teacher, ModelTeacher) else make_teacher(teacher)
    shape = model.spec.input_shape
    own, apart = read_pixels(images, shape), held_out is not None and not isinstance(held_out, int)
    held = read_pixels(held_out, shape) if apart else None
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
    _check_student(plan.settings.distill, shape, model.spec.classes)
    found = _distill(model, own, held, plan, Path(folder), limit or round(queries * (1 + _SPARE)), device)
    tell_sinks(sinks, record_of(found))
    return found


def _check_student(learn: DistillSettings, shape: ImageShape, classes: int) -> None:
    """Refuse a student that cannot be before anything is asked."""
    if learn.int8:
        with needs("onnx", "distill.int8"):
            import_module("onnxruntime.quantization")
    if learn.architecture != "auto":
        network = build_network(learn.architecture, shape, classes, seed=None)
        if learn.initial_weights is not None:
            read_initial_weights(learn.initial_weights, network, classes)


def _distill(
    teacher: ModelTeacher,
    images: Images | None,
    held: Images | None,
    plan: Plan,
    folder: Path,
    limit: int,
    device: str,
) -> Result:
    """Everything, from the first question to the files."""
    answers, learn, classes = open_answers(folder / "answers.sqlite"), plan.settings.distill, teacher.class_names
    store = ShardStore(folder / "pieces")
    asking = Asking(teacher.open(limit, answers), store, device, torch.get_num_threads())
    made = held is None and images is None
    if held is None:
        images, held = hold_out(images, teacher.spec.input_shape, plan)
    measured = TransferImages(held, ask(asking, held, "held-out"))
    taken = take_samples(asking, images, plan, skips=teacher.unclear == "skip")
    pool = taken.pool
    own, allowed = own_classes(classes, teacher.unclear), plan.settings.samples.missing_classes == "allow"
    check_classes(pool.decisions[pool.decisions < len(own)], own, allowed, more="queries")
    transfer = search_transfer_set(asking, pool, plan, device)
    network, trained = train_student(asking, transfer, plan, teacher.parameters, device)
    told = decide_all(to_exact(network) if learn.arithmetic == "exact" else network, held, _CALL)
    found = Result(
        student=Student(network, trained.architecture, teacher.spec.input_shape, classes),
        transfer=transfer,
        digest=digest_arrays(transfer.arrays()),
        queries=Queries(asking.counts["asked"], teacher.sent(answers), *(asking.counts[name] for name in TOKENS)),
        held_out=measured,
        agreement=agreement(told, measured.decisions) if len(held) else None,
        made=made,
        missing=tuple(name for place, name in enumerate(own) if not (pool.decisions == place).any()),
        skipped=taken.skipped,
        foretold=taken.foretold,
        plan=plan,
        folder=folder,
    )
    warn_of(found, teacher, trained.training)
    return write_result(found, teacher, trained.training)
