"""Stage distill: train the student and every baseline, a shard for each variant and seed; export the student."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from db3.digest import digest_file
from db3.files import read_array, write_bytes, write_text
from db3.networks import build, count_parameters, multiply_adds, save_weights
from db3.soft_labels import TransferSet
from db3.students import (
    Choice,
    SearchProgress,
    StudentSettings,
    TrainedStudent,
    Variant,
    VariantSources,
    build_variants,
    choose_variant,
    label_by_assistants,
    left_out,
    recommend,
    train_variants,
    why_no_choice,
)
from db3.students.choices import decided_images, remarks, student_settings, told_of_initial
from db3.students.export import TOLERANCE, Parity, check_parity, export_onnx
from db3.students.int8 import Int8Facts, check_int8, quantise_onnx
from db3.students.model_card import model_card
from db3.teachers.folder import is_open, open_network, read_card
from db3.training.processes import check_processes
from db3.training.train import TrainSettings
from db3.work import Run, Work
from flows.config import Config, device_of
from flows.engine.shards import Shards, map_shards
from flows.engine.stage import stage
from flows.environment import environment, write_environment
from flows.manifests import (
    DecisionsManifest,
    OnnxFacts,
    StudentCard,
    TransferManifest,
    VariantEntry,
    read_manifest,
    to_json,
    write_manifest,
)

_logger = logging.getLogger("flows.distill")  # __name__ is __main__ where DVC runs the stage

_ARITHMETIC = {
    "exact": "exact: the same bytes on every machine",
    "float32": "float32: the same bytes on this kind of machine only",
    "bfloat16": "bfloat16: the same bytes on this kind of machine only",
}
_PARITY_SAMPLES = 256  # real samples on which the ONNX file is held against PyTorch


@stage("distill")
def distill(config: Config, data: Path) -> str:
    """Train every variant with every seed for the same number of steps; export variant `student` of the first seed."""
    device, processes, learn = device_of(config), config.runtime.processes, config.distill
    check_processes(processes, learn.batch, device)
    manifest = read_manifest(data / "transfer" / "manifest.json", TransferManifest)
    search = read_manifest(data / "decisions" / "manifest.json", DecisionsManifest)
    sources = _sources(config, data, manifest, search)
    for name, reason in left_out(sources, learn.baselines).items():
        _logger.warning("distill: %s is left out: %s", name, reason)
    runner, settings = _Shards(config, device), _student_settings(config, data, sources.transfer)
    variants = [
        _assisted(config, variant, sources.transfer.classes, settings.training, runner)
        for variant in build_variants(sources, learn, config.soft_labels, sources.augmented_seed)
    ]
    choice = _choose(config, variants, sources, settings, runner)
    variants = recommend(variants, choice)
    trained = train_variants(variants, sources.transfer.classes, settings, runner, device=device, processes=processes)
    first = _write_students(data / "student", trained, settings.architecture)
    write_manifest(data / "student" / "choice.json", choice)
    _write_variants(data / "student" / "variants.json", variants, settings)
    _export(config, data, first, settings, manifest, search)
    kept = f", {runner.last.reused} were already trained" if runner.last.reused else ""
    own = f"; the student is the run's own, chosen among no others: {choice.reason}" if choice.reason else ""
    return f"{len(variants)} variants x {len(settings.seeds)} seeds, {settings.training.steps:,} steps each{kept}{own}"


def _choose(
    config: Config, variants: Sequence[Variant], sources: VariantSources, settings: StudentSettings, runner: "_Shards"
) -> Choice:
    """The variant that is recommended: the student's own, with the reason, where nothing tells another's worth."""
    held, folds = sources.transfer, config.distill.folds
    reason = why_no_choice(
        variants,
        len(held.images),
        folds,
        descended=sources.rounds is not None,
        assisted=config.distill.assistants.networks > 0,
    )
    if reason:
        return Choice(reason=reason)
    device, processes = device_of(config), config.runtime.processes
    return choose_variant(
        variants, held.images, held.decisions, held.classes, settings, folds, runner, device=device, processes=processes
    )


class _Shards:
    """The runner of this stage's work: a shard for each piece."""

    last: Shards

    def __init__(self, config: Config, device: str) -> None:
        self._runtime, self._device = config.runtime, device

    def __call__(self, work: Work) -> Shards:
        keys = work.keys_on(self._device, self._runtime.threads)
        self.last = map_shards(work.name, keys, work.compute, self._runtime, work.maximum, "step")
        return self.last


def _sources(config: Config, data: Path, manifest: TransferManifest, search: DecisionsManifest) -> VariantSources:
    """What variants are built from, out of the folders before this stage."""
    card, folder = read_card(data / "teacher"), data / "decisions"
    searched = search.method != "none"
    rounds = data / "samples" / "rounds.npy"
    return VariantSources(
        _transfer(data / "transfer", manifest),
        manifest.queries.per_sample,
        read_array(folder / "distances.npy", mapped=False) if searched else None,
        _progress(folder, search) if searched else None,
        read_array(rounds, mapped=False) if rounds.is_file() else None,
        _augmented(folder),
        search.seed,
        read_array(folder / "starts.npy", mapped=False) if searched else None,
        open_network(data / "teacher") if is_open(card) and "kd" in config.distill.baselines else None,
        card.get("arithmetic") or "float32",
    )


def _transfer(folder: Path, manifest: TransferManifest) -> TransferSet:
    """The transfer set, its images memory-mapped."""
    images = ("images", "boundary_points", "queried_images")
    arrays = {path.stem: read_array(path, mapped=path.stem in images) for path in sorted(folder.glob("*.npy"))}
    return TransferSet.from_arrays(manifest.recipe, manifest.scale, arrays)


def _augmented(folder: Path) -> Int64[np.ndarray, " m"] | None:
    """Decisions on augmented images: the student's own, then those of the baseline alone."""
    paths = [folder / f"{name}.npy" for name in ("variation_decisions", "augmented")]
    decided = [read_array(path, mapped=False) for path in paths if path.is_file()]
    return np.concatenate(decided) if decided else None


def _progress(folder: Path, search: DecisionsManifest) -> SearchProgress:
    asked = read_array(folder / "asked.npy", mapped=False)
    before = (search.queries.asked - int(asked.sum())) / len(asked) + 1
    return SearchProgress(search.checkpoints, read_array(folder / "distances_at.npy"), asked, before)


def _student_settings(config: Config, data: Path, transfer: TransferSet) -> StudentSettings:
    """What the students share; warns of what its user should know."""
    size = read_card(data / "teacher").get("parameters")
    settings = student_settings(config.distill, transfer, size, range(config.evaluate.seeds))
    channels, height, width = transfer.images.shape[1:]
    student = build(settings.architecture, (channels, height, width), transfer.classes, seed=None)
    images, assisted = decided_images(transfer), config.distill.assistants.networks > 0
    for remark in remarks(settings.training, images, count_parameters(student), size, assisted):
        _logger.warning("distill: %s", remark)
    return settings


def _assisted(config: Config, variant: Variant, classes: int, training: TrainSettings, run: Run) -> Variant:
    """With teacher assistants where they are wanted: for the student and each point of its curve."""
    learn = config.distill
    if not learn.assistants.networks or not variant.name.startswith("student"):
        return variant
    training = replace(training, select="last")
    seed, processes = config.samples.seed, config.runtime.processes
    return label_by_assistants(variant, classes, learn.assistants, training, seed, run, processes=processes)


def _file(name: str, seed: int) -> str:
    return f"variants/{name}/{seed}.safetensors"


def _write_students(folder: Path, trained: Iterable[TrainedStudent], architecture: str) -> TrainedStudent:
    """Every student's weights and the history of all; the first student."""
    history, first = ["variant,seed,step,loss,lr"], None
    for student in trained:
        name, seed = student.variant.name, student.seed
        history += [f"{name},{seed},{row.step},{row.loss:.6f},{row.lr:.8f}" for row in student.history]
        save_weights(student.network, folder / _file(name, seed), {"architecture": architecture})
        first = first or student
    write_text(folder / "history.csv", "\n".join(history) + "\n")
    if first is None:
        raise ValueError("no student was trained; expected one of each variant and seed")
    return first


def _write_variants(path: Path, variants: Sequence[Variant], settings: StudentSettings) -> None:
    seeds, steps = tuple(settings.seeds), settings.training.steps
    entries = []
    for variant in variants:
        files = tuple(_file(variant.name, seed) for seed in seeds)
        digests = tuple(digest_file(path.parent / file) for file in files)
        told = (variant.name, variant.title, variant.queries_per_sample, variant.black_box)
        entries.append(VariantEntry(*told, seeds, steps, files, digests))
    write_manifest(path, entries)


def _export(
    config: Config,
    data: Path,
    student: TrainedStudent,
    settings: StudentSettings,
    manifest: TransferManifest,
    search: DecisionsManifest,
) -> None:
    """The student as safetensors and ONNX, its card for programs and the one for people."""
    folder, network = data / "student", student.network
    path = folder / "student.safetensors"
    write_bytes(path, (folder / _file(student.variant.name, student.seed)).read_bytes())
    channels, height, width = student.variant.examples.images.shape[1:]
    shape = channels, height, width
    parity = _export_onnx(folder / "student.onnx", student, shape) if config.distill.onnx else None
    int8 = _export_int8(folder, student) if config.distill.int8 else None
    card = StudentCard(
        architecture=settings.architecture,
        input_shape=shape,
        classes=len(manifest.class_names),
        class_names=manifest.class_names,
        parameters=count_parameters(network),
        bytes=path.stat().st_size,
        digest=digest_file(path),
        multiply_adds=multiply_adds(network, shape),
        transfer=manifest.digest,
        teacher=manifest.teacher,
        onnx=OnnxFacts(parity.checked, TOLERANCE, digest_file(folder / "student.onnx")) if parity else None,
        arithmetic=config.distill.arithmetic,
        int8=int8,
    )
    write_manifest(folder / "student.json", card)
    runtime, difference = config.runtime, parity.max_difference if parity else None
    write_environment(data, "distill", environment(device_of(config), runtime.threads, runtime.processes, difference))
    training = _training(config, settings.training.steps, search, manifest.mapping)
    write_text(folder / "README.md", model_card(to_json(card), training))


def _export_onnx(path: Path, student: TrainedStudent, shape: tuple[int, int, int]) -> Parity:
    model = export_onnx(student.network, shape)
    parity = check_parity(model, student.network, student.variant.examples.images[:_PARITY_SAMPLES])
    write_bytes(path, model)
    return parity


def _export_int8(folder: Path, student: TrainedStudent) -> Int8Facts:
    model, images = (folder / "student.onnx").read_bytes(), student.variant.examples.images[:_PARITY_SAMPLES]
    quantised = quantise_onnx(model, images)
    write_bytes(folder / "student.int8.onnx", quantised)
    return check_int8(quantised, model, images)


def _training(config: Config, steps: int, search: DecisionsManifest, mapping: str) -> dict[str, Any]:
    """What the model card tells of the training."""
    learn, method = config.distill, search.method
    return {
        "samples": config.samples.method,
        "boundary search": method if method == "none" else f"{method}, {search.budget} queries per pair",
        "soft labels": mapping,
        "steps": steps,
        "batch": learn.batch,
        "learning rate": learn.lr,
        "weight decay": learn.weight_decay,
        "loss weights": f"cross-entropy {learn.weights.ce:g}, KL {learn.weights.kl:g}",
        "selected": learn.select,
        "arithmetic": _ARITHMETIC[learn.arithmetic],
        **told_of_initial(learn.initial_weights),
    }


if __name__ == "__main__":
    distill.cli()
