"""The students' files, held against the digests in their manifests."""

from pathlib import Path

from db3.digest import digest_file
from db3.errors import DataError, one_line
from db3.evaluation import Metrics
from db3.teachers.answers.recording import REPAIR
from flows.manifests import StudentCard, VariantEntry, read_manifest


def check_student_file(path: Path, digest: str) -> Path:
    """The path, if its file is the one that was trained.

    Raises:
        DataError: it is missing or another one.
    """
    try:
        found = digest_file(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {one_line(path)}: {one_line(error)}; dvc checkout, or run distill again"
        ) from None
    if found != digest:
        raise DataError(
            f"{path} has the digest {found[:12]}, but its manifest says {one_line(digest, 12)}: it is not the student "
            f"that was trained; restore it: {REPAIR}, or run distill again"
        )
    return path


def check_variant(folder: Path, entry: VariantEntry) -> list[Path]:
    """The files of a variant's students, one of each seed, if each is the one that was trained.

    Raises:
        DataError: one is missing or another one.
    """
    if not len(entry.seeds) == len(entry.files) == len(entry.digests):
        raise DataError(
            f"{folder / 'variants.json'} tells of {len(entry.seeds)} seeds, {len(entry.files)} files and "
            f"{len(entry.digests)} digests of {one_line(entry.name, 40)}; expected one of each: run distill again"
        )
    return [check_student_file(folder / file, digest) for file, digest in zip(entry.files, entry.digests, strict=True)]


def check_students(data: Path, transfer: str) -> None:
    """Hold every student there is against its digest, and what it learnt from against the transfer set.

    Args:
        data: the folder; without a student in it there is nothing to hold.
        transfer: digest of the transfer set.

    Raises:
        DataError: a file is another one, or belongs to another transfer set.
    """
    folder, measured = data / "student", data / "evaluation" / "metrics.json"
    if not folder.is_dir():
        return
    card = read_manifest(folder / "student.json", StudentCard)
    _require(folder / "student.json", "transfer", card.transfer, transfer, "distill")
    check_student_file(folder / "student.safetensors", card.digest)
    if card.onnx:
        check_student_file(folder / "student.onnx", card.onnx.digest)
    if card.int8:
        check_student_file(folder / "student.int8.onnx", card.int8.digest)
    entries = read_manifest(folder / "variants.json", tuple[VariantEntry, ...])
    for entry in entries:
        check_variant(folder, entry)
    first = next((entry.digests[0] for entry in entries if entry.name == "student" and entry.digests), "none")
    _require(folder / "variants.json", "the first student's digest", first, card.digest, "distill")
    if measured.is_file():
        metrics = read_manifest(measured, Metrics)
        _require(measured, "student.digest", metrics.student.digest, card.digest, "evaluate")
        _require(measured, "transfer.digest", metrics.transfer.digest, transfer, "evaluate")


def _require(path: Path, name: str, said: str, expected: str, stage: str) -> None:
    if said != expected:
        raise DataError(
            f"{path}: {name} is {one_line(said, 12)}, expected {expected[:12]}: it belongs to other results; run the "
            f"stage {stage} again"
        )
