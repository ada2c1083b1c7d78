"""Prove the transfer set: what data/transfer holds follows, byte for byte, from the samples and the sealed journals.

    python -m flows.verify

Nothing is asked, and data/teacher need not be there: the journals know what may be known of the teacher. The samples
and their decisions are held against their manifest and journal; then the very stages query_decisions and soft_labels
run again, in a folder of their own, with a teacher that answers from the journals alone and to the recorded images
only; then every file they write is compared with the one in data/.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from db3.errors import DataError
from db3.files import read_array, read_json
from db3.teachers.answers.recorded import RecordedTeacher
from db3.teachers.answers.recording import Recording, empty, read_whole, spec_of
from db3.teachers.base import TeacherSpec
from db3.teachers.budget import Costs
from db3.teachers.decide import decide_images
from db3.work import Work
from flows.config import Config, load_config
from flows.engine.stage import DATA, run_entry_point
from flows.engine.store import Arrays
from flows.engine.teacher_work import Asking
from flows.engine.threads import set_threads
from flows.inputs import transfer_images
from flows.manifests import SamplesManifest, TransferManifest, read_manifest
from flows.query_decisions import decide_boundaries
from flows.samples import take_samples
from flows.soft_labels import soft_labels


def verify(config: Config, data: Path) -> str:
    """Prove data/transfer; the digest of the transfer set.

    Raises:
        DataError: the first difference, or a file that is missing or damaged.
    """
    set_threads(config.runtime.threads)
    with tempfile.TemporaryDirectory(prefix="db3-verify-") as name:
        own = Path(name) / "data"
        own.mkdir()
        (own / "samples").symlink_to((data / "samples").resolve())
        samples = Replay(config, data, "samples", Path(name) / "store")
        _check_samples(config, data, samples)
        replay = Replay(config, data, "decisions", Path(name) / "store", samples.spec)
        decide_boundaries(config, own, replay)
        replay.check_used()
        _compare(own, data, "decisions")
        (own / "transfer").mkdir()
        soft_labels(config, own)
        _compare(own, data, "transfer")
    return read_manifest(data / "transfer" / "manifest.json", TransferManifest).digest


class Replay(Asking):
    """The stages' asking, answered by the sealed journals of a folder: nothing is opened, sent or limited.

    Args:
        config: all parameters.
        data: the folder.
        folder: below it, whose journals are read.
        root: where shards are kept meanwhile.
        spec: of the teacher; None: as the journals tell, of which there has to be one.
    """

    def __init__(self, config: Config, data: Path, folder: str, root: Path, spec: TeacherSpec | None = None) -> None:
        self._recordings, self._known = dict(_recordings(data / folder / "journal")), spec
        if not self._recordings and spec is None:
            raise DataError(f"{data / folder / 'journal'} holds no journal; run the stage that writes it, or dvc pull")
        self._unused: dict[tuple[str, int], int] = {}
        super().__init__(config, data, "verify", root=root)

    def _read_spec(self) -> TeacherSpec:
        """As the samples' journal tells, since each of them was asked; a search may have asked nothing."""
        if self._known is not None:
            return self._known
        _, recording = next(iter(self._recordings.values()))
        return spec_of(recording.header["teacher"])

    def affordable(self, work: str, count: int) -> int:
        """As many as were asked, where the budget did not pay for all."""
        recorded = sum(len(found.answers) for (name, _), (_, found) in self._recordings.items() if name == work)
        return min(count, recorded)

    def _limits(self, maximum: Sequence[int]) -> list[int | None]:
        return [None] * len(maximum)

    def _recorded(self, work: Work, index: int, key: str, limit: int | None) -> Arrays:  # noqa: ARG002
        nothing = Path(f"{work.name}.journal"), empty(self._header(work.name, index))
        path, recording = self._recordings.get((work.name, index), nothing)
        compared, changed = (int(column.sum(dtype=np.int64)) for column in recording.votes[:, 1:].T)
        costs = Costs(votes=recording.total_votes, compared=compared, changed=changed)
        teacher = RecordedTeacher(self.spec, recording, path)
        arrays = self._compute(work, index, teacher, costs)
        costs.known = costs.asked
        self._unused[work.name, index] = teacher.left
        spent = bool(recording.header.get("spent", False))
        self._keep(key, costs, {"sent_in_all": 0, "lost": 0, "spent": spent}, recording)
        return arrays

    def check_used(self) -> None:
        """Refuse a journal with answers that nobody asked for.

        Raises:
            DataError: it belongs to other work.
        """
        for (work, index), (path, recording) in self._recordings.items():
            left = self._unused.get((work, index), len(recording.answers))
            if left:
                raise DataError(
                    f"{path}, piece {index}: {left} of its {len(recording.answers)} answers were never asked for: it "
                    "is of other parameters or code"
                )


def _recordings(folder: Path) -> Iterator[tuple[tuple[str, int], tuple[Path, Recording]]]:
    for path in sorted(folder.glob("*.journal")):
        for recording in read_whole(path.read_bytes(), path):
            header = {name: value for name, value in recording.header.items() if name != "whole"}
            yield (header["work"], header["piece"]), (path, replace(recording, header=header))


def _check_samples(config: Config, data: Path, replay: Replay) -> None:
    """Images and decisions are those of the manifest, and the decisions those of the journal."""
    pool, manifest = transfer_images(data), read_manifest(data / "samples" / "manifest.json", SamplesManifest)
    if pool.digest != manifest.digest:
        raise DataError(f"{data}/samples: images.npy and decisions.npy are not those of manifest.json")
    if manifest.teacher != replay.spec.identity:
        raise DataError(f"{data}/samples/manifest.json names another teacher than its journal")
    decided = _decided(config, pool.images, replay)
    wrong = np.flatnonzero(decided != pool.decisions)
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{data}/samples/decisions.npy, sample {row}: {pool.decisions[row]}, but the journal says {decided[row]}"
        )


def _decided(config: Config, images: npt.NDArray[np.uint8], replay: Replay) -> npt.NDArray[np.int64]:
    """The decisions by the journal; samples that were made are made again, and have to be the same."""
    if config.samples.method == "real":
        return decide_images(replay, images, run=replay.run)
    again = take_samples(config, replay).arrays
    if again["images"].tobytes() != images.tobytes():
        raise DataError("data/samples/images.npy is not what the journal's answers make of these parameters")
    decisions: npt.NDArray[np.int64] = again["decisions"]
    return decisions


def _compare(own: Path, data: Path, folder: str) -> None:
    """Every file that was computed anew is the one in data/.

    Raises:
        DataError: the first that is not, with its first row that differs.
    """
    names = {path.relative_to(base) for base in (own, data) for path in (base / folder).rglob("*") if path.is_file()}
    for name in sorted(names, key=lambda name: (name.suffix != ".npy", name)):
        mine, theirs = own / name, data / name
        if not theirs.is_file():
            raise DataError(f"{theirs} is missing; run the stage that writes it, or dvc pull")
        if not mine.is_file():
            raise DataError(f"{theirs} is not a file that these parameters give; delete it")
        if mine.read_bytes() != theirs.read_bytes():
            raise DataError(f"{theirs} is not what the journal gives: {_difference(mine, theirs)}")


def _difference(mine: Path, theirs: Path) -> str:
    """Where two files differ first."""
    if theirs.suffix == ".npy":
        one, other = read_array(mine), read_array(theirs)
        if one.shape != other.shape or one.dtype != other.dtype:
            return f"{other.dtype} {list(other.shape)}, expected {one.dtype} {list(one.shape)}"
        rows = np.flatnonzero((one != other).reshape(len(one), -1).any(axis=1))
        return f"row {int(rows[0])} of {len(one)} is the first that differs" if len(rows) else "its header differs"
    if theirs.suffix == ".json":
        said, expected = read_json(theirs), read_json(mine)
        name = next((name for name in sorted({**said, **expected}) if said.get(name) != expected.get(name)), None)
        return f"{name} is {said.get(name)}, expected {expected.get(name)}" if name else "its layout differs"
    return "its bytes differ"


def main(arguments: Sequence[str] | None = None, program: str = "python -m flows.verify") -> NoReturn:
    """Exit status: 0 and the digest, or 1 and the first difference in one line."""
    argparse.ArgumentParser(prog=program, description=(__doc__ or "").partition("\n")[0]).parse_args(arguments)
    run_entry_point(lambda: f"verify: {verify(load_config(), DATA)}")


if __name__ == "__main__":
    main()
