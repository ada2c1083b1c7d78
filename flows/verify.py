"""Prove the transfer set: every byte below data/samples, data/decisions and data/transfer follows from the parameters
and the sealed answers, and nothing else lies there.

    python -m flows.verify

Nothing is asked, and data/teacher need not be there: the journals know what may be known of the teacher. The very
stages samples, query_decisions and soft_labels run again, in a folder of their own, with a teacher that answers from
the journals alone and to the recorded images only; then every file they write, the journals sealed anew among them, is
compared with the one in data/. What lies there of the teacher and the students is held against its digests. What is
not at hand to be proven is named in the last line: real images without their dataset, class names without the teacher.
"""

import argparse
import errno
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from db3.datasets.subset import draw_samples
from db3.errors import DataError, Db3Error, one_line
from db3.files import read_array
from db3.teachers.answers.recorded import OtherQueriesError
from db3.teachers.base import TeacherSpec
from db3.teachers.folder import read_spec
from db3.types import TransferImages
from flows.config import Config, load_config
from flows.engine.stage import DATA, run_entry_point
from flows.engine.threads import set_threads
from flows.inputs import drawn_images
from flows.manifests import SamplesManifest, TeacherCard, TransferManifest, read_manifest
from flows.proof import check_folder, check_rules, compare, explained
from flows.query_decisions import decide_boundaries
from flows.replay import RESTORE, Replay
from flows.samples import DRAWN, Drawn, take_samples
from flows.soft_labels import soft_labels
from flows.student_files import check_students

PROVEN = ("samples", "decisions", "transfer")


@dataclass(frozen=True)
class Proof:
    """What was proven.

    Attributes:
        digest: of the transfer set.
        given: what was not at hand to be proven, in words.
    """

    digest: str
    given: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.digest}; not at hand, so taken as given: {', '.join(self.given)}" if self.given else self.digest


def verify(config: Config, data: Path) -> Proof:
    """Prove data/transfer and all that it was made of.

    Raises:
        DataError: the first difference, or a file that is missing, damaged or too many.
    """
    set_threads(config.runtime.threads)
    try:
        return _prove(config, data)
    except OtherQueriesError as error:
        raise explained(config, error) from None
    except OSError as error:  # a folder in a file's place, or no right to read it
        if error.errno == errno.ENOSPC:
            raise
        raise DataError(f"cannot read {error.filename}: {error.strerror}; {RESTORE}") from error


def _prove(config: Config, data: Path) -> Proof:
    for folder in PROVEN:
        check_folder(data / folder)
    check_rules(config, data)
    with tempfile.TemporaryDirectory(prefix="db3-verify-") as name:
        own = Path(name) / "data"
        given = _replay(config, data, own)
        digest = read_manifest(own / "transfer" / "manifest.json", TransferManifest).digest
    check_students(data, digest)
    return Proof(digest, given)


def _replay(config: Config, data: Path, own: Path) -> tuple[str, ...]:
    """The three stages once more, each compared before the next one reads what it wrote; what was taken as given."""
    for folder in PROVEN:
        (own / folder).mkdir(parents=True)
    spec, given = replay_samples(config, data, own)
    replay_decisions(config, data, own, spec)
    replay_transfer(config, data, own)
    return given


def replay_samples(config: Config, data: Path, own: Path) -> tuple[TeacherSpec, tuple[str, ...]]:
    """Of data/samples and data/teacher alone; what may be known of the teacher, and what was taken as given."""
    given = list[str]()
    samples = Replay(config, data, "samples", own.parent / "store")
    manifest = read_manifest(data / "samples" / "manifest.json", SamplesManifest)
    folder = data / "teacher"
    teacher = read_manifest(folder / "teacher.json", TeacherCard) if folder.is_dir() else None
    names = _class_names(data, samples, teacher, manifest, given)
    drawn = _drawn(config, data, _pool(config, data, samples, manifest), teacher, manifest, given)
    take_samples(config, own, samples, names, drawn, config.teacher.unclear)
    samples.check_used()
    compare(own, data, "samples")
    return samples.spec, tuple(given)


def replay_decisions(config: Config, data: Path, own: Path, spec: TeacherSpec) -> None:
    """Of data/decisions and the samples that were computed anew."""
    decisions = Replay(config, data, "decisions", own.parent / "store", spec)
    decide_boundaries(config, own, decisions)
    decisions.check_used()
    compare(own, data, "decisions")


def replay_transfer(config: Config, data: Path, own: Path) -> None:
    """Of data/transfer and the samples and decisions that were computed anew."""
    soft_labels(config, own)
    compare(own, data, "transfer")


def _pool(config: Config, data: Path, samples: Replay, manifest: SamplesManifest) -> TransferImages:
    """The samples at hand, of the shapes that they must have: before the journals' shapes are believed."""
    folder, shape = data / "samples", samples.spec.input_shape
    images, decisions = read_array(folder / "images.npy"), read_array(folder / "decisions.npy", mapped=False)
    drawn = config.samples.method == "real"
    count = config.samples.count - (manifest.skipped or 0) if drawn else len(images) if images.ndim else 0
    for name, array, dtype, expected in (
        ("images", images, np.uint8, (count, *shape)),
        ("decisions", decisions, np.int64, (count,)),
    ):
        if array.shape != expected or array.dtype != dtype:
            raise DataError(
                f"{folder}/{name}.npy holds {array.dtype} {list(array.shape)}; expected {np.dtype(dtype)} "
                f"{list(expected)}, as the parameters and the journal say: {RESTORE}"
            )
    return TransferImages(images, decisions)


def _class_names(
    data: Path, samples: Replay, teacher: TeacherCard | None, manifest: SamplesManifest, given: list[str]
) -> Sequence[str]:
    """As the teacher's card says where it is there; then the answers have to be its own."""
    names, folder = manifest.class_names, data / "teacher"
    if teacher:
        names = teacher.class_names
        known = read_spec(folder)
        if known != samples.spec:
            raise DataError(
                f"{data}/samples/journal was answered by the teacher ({samples.spec}), but {folder} holds ({known}): "
                "run the stage samples again, or dvc checkout"
            )
    else:
        given.append("the class names (no data/teacher)")
    if len(names) != samples.spec.classes:
        raise DataError(
            f"{data}/samples/manifest.json names {len(names)} classes, but the journal's teacher has "
            f"{samples.spec.classes}: {RESTORE}"
        )
    return names


def _drawn(
    config: Config,
    data: Path,
    pool: TransferImages,
    teacher: TeacherCard | None,
    manifest: SamplesManifest,
    given: list[str],
) -> Drawn | None:
    """Images of the training split, where the samples begin with such: drawn again, or those at hand."""
    if config.samples.method not in DRAWN:
        return None
    offline = replace(config, runtime=replace(config.runtime, download=False))
    try:
        return drawn_images(offline, teacher.dataset.digest if teacher else None)
    except Db3Error as error:
        if config.samples.method == "augmented":
            raise DataError(
                f"augmented samples begin with images of the dataset, which is not at hand: {error}"
            ) from None
        if config.teacher.unclear == "skip":
            raise DataError(
                "teacher.unclear is skip, so samples are those images of the dataset that the teacher gave a class, "
                f"and the dataset is not at hand: {error}"
            ) from None
        reason = one_line(error, 120)
    if pool.digest != manifest.digest:
        raise DataError(f"{data}/samples: images.npy and decisions.npy are not those of manifest.json; {RESTORE}")
    given.append(f"the real images{'' if teacher else ' and their places'} ({reason})")
    return pool.images, _places(config, data, teacher)


def _places(config: Config, data: Path, teacher: TeacherCard | None) -> Any:
    """Of real images in the training split, whose size the teacher's card tells."""
    count = config.samples.count
    if teacher:
        return draw_samples(teacher.dataset.train, count, config.samples.seed)
    index = read_array(data / "samples" / "index.npy", mapped=False)
    if index.dtype != np.int64 or index.shape != (count,) or (index < 0).any() or (np.diff(np.sort(index)) == 0).any():
        raise DataError(f"{data}/samples/index.npy is no list of {count} places; {RESTORE}")
    return index


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Exit status: 0 and the digest, or 1 and the first difference in one line.

    Args:
        arguments: those of `db3 verify`; None: those of `python -m flows.verify`.
    """
    program = "python -m flows.verify" if arguments is None else "db3 verify"
    argparse.ArgumentParser(prog=program, description=(__doc__ or "").partition("\n\n")[0]).parse_args(arguments)
    run_entry_point(lambda: f"verify: {verify(load_config(), DATA)}")


if __name__ == "__main__":
    main()
