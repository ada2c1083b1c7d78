"""What a proof compares: folders of plain files, made by these rules, that are the same as those computed anew."""

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from db3.errors import DataError, one_line
from db3.files import read_array, read_json
from db3.search.catalogue import WITH_SURROGATES, resolve_search
from db3.settings.samples import ROUNDED
from db3.settings.training import Arithmetic
from db3.teachers.answers.recorded import OtherQueriesError
from db3.teachers.answers.recording import read_whole
from flows.config import Config
from flows.manifests import EDITION
from flows.replay import RESTORE


def check_folder(folder: Path) -> None:
    """Refuse anything but plain files in folders.

    Raises:
        DataError: the folder is missing, or something in it is a link, a pipe or a device.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise DataError(f"{folder} is no folder of its own; expected one: run the stage that writes it, or dvc pull")
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise DataError(
                f"{path} is a link or no plain file; expected a file of its own: `dvc unprotect {folder}` copies what "
                "DVC has linked; remove what it has not"
            )


def check_rules(config: Config, data: Path) -> None:
    """A set of other rules, or of another arithmetic, is told as that, not as damaged.

    Raises:
        DataError: another version of db3 made it, or other parameters.
    """
    arithmetic = _arithmetic(config)
    for folder, (name, wanted) in zip(("samples", "decisions"), arithmetic.items(), strict=True):
        path = data / folder / "manifest.json"
        content = read_json(path)
        said = content if isinstance(content, dict) else {}
        if said and said.get("edition", 1) != EDITION:
            raise DataError(
                f"{path} is of edition {one_line(said.get('edition', 1), 20)}, and this db3 proves edition {EDITION}: "
                "it was made by another version of db3, by whose rules (float32 networks, in the first) the same "
                "answers give other bytes: verify it with that version, of the commit that holds its dvc.lock, or make "
                "it anew with `dvc repro`, which sends nothing that .db3 knows"
            )
        made = said.get("arithmetic")
        if wanted and made in get_args(Arithmetic) and made != wanted:
            raise DataError(
                f"{path} was made with {name}: {made}, but params.yaml says {wanted}: verify it with the parameters "
                "that it was made with"
            )


def explained(config: Config, error: OtherQueriesError) -> DataError:
    """Why other images may be asked: float32 networks choose them, which differ from machine to machine."""
    inexact = [
        f"{name}: {arithmetic}" for name, arithmetic in _arithmetic(config).items() if arithmetic not in (None, "exact")
    ]
    if not inexact:
        return error
    here = f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"
    return DataError(
        f"{error}. Or: the set was made with {' and '.join(inexact)}, which asks the same images only on the "
        "kind of machine, with the versions and runtime.threads that made it (told in its data/environment.json; this "
        f"one is {here}): verify it there, or make one with arithmetic exact, which any machine proves"
    )


def _arithmetic(config: Config) -> dict[str, str | None]:
    """Of the networks that choose what is asked, by parameter: for samples, then for decisions; None: none do."""
    rounds = config.samples.method in ROUNDED
    surrogates = resolve_search(config.query, config.samples.method).method in WITH_SURROGATES
    return {
        "samples.rounds.arithmetic": config.samples.rounds.arithmetic if rounds else None,
        "query.surrogate.arithmetic": config.query.surrogate.arithmetic if surrogates else None,
    }


def compare(own: Path, data: Path, folder: str) -> None:
    """Every file that was computed anew is the one in data/, and there is no other.

    Raises:
        DataError: the first that is not, with its first row that differs.
    """
    names = {path.relative_to(base) for base in (own, data) for path in (base / folder).rglob("*")}
    for name in sorted(names, key=lambda name: (name.suffix != ".npy", name)):
        mine, theirs = own / name, data / name
        if not theirs.exists():
            raise DataError(f"{theirs} is missing; run the stage that writes it, or dvc checkout")
        if not mine.exists() or mine.is_dir() != theirs.is_dir():
            raise DataError(f"{theirs} is nothing that these parameters and answers give; remove it")
        if mine.is_file() and mine.read_bytes() != theirs.read_bytes():
            raise DataError(
                f"{theirs} is not what the journal gives: {_difference(mine, theirs)}; {RESTORE}, where the parameters "
                "are those that it was made with"
            )


def _difference(mine: Path, theirs: Path) -> str:
    """Where two files differ first."""
    try:
        if theirs.suffix == ".npy":
            return _array_difference(read_array(mine), read_array(theirs))
        if theirs.suffix in (".json", ".journal"):
            told = _told_json if theirs.suffix == ".json" else _told_journal
            said, expected = told(theirs), told(mine)
            name = next((name for name in sorted({**said, **expected}) if said.get(name) != expected.get(name)), None)
            if name:
                return f"{name} is {one_line(said.get(name), 70)}, expected {one_line(expected.get(name), 70)}"
            return "its layout differs"
    except DataError as error:
        return str(error)
    return "its bytes differ"


def _array_difference(one: Any, other: Any) -> str:
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"{other.dtype} {list(other.shape)}, expected {one.dtype} {list(one.shape)}"
    rows = np.flatnonzero((one != other).reshape(len(one), -1).any(axis=1))
    return f"row {int(rows[0])} of {len(one)} is the first that differs" if len(rows) else "its header or end differs"


def _told_json(path: Path) -> dict[str, Any]:
    content = read_json(path)
    return dict(content) if isinstance(content, dict) else {"the whole": content}


def _told_journal(path: Path) -> dict[str, Any]:
    """What a journal says, field by field."""
    return {f"piece {place}'s {name}": value for place, name, value in _fields(path)}


def _fields(path: Path) -> Iterator[tuple[int, str, Any]]:
    for place, recording in enumerate(read_whole(path.read_bytes(), path)):
        for name, value in recording.header.items():
            yield place, name, value
        yield place, "sent", recording.sent
        for name in ("sizes", "digests", "votes", "answers"):
            yield place, name, getattr(recording, name).tolist()
