"""The transfer set of a run, wherever it was made: in a folder of `db3 distill`, or in the pipeline's data/."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from db3.digest import digest_arrays
from db3.errors import DataError
from db3.files import read_array, read_json


@dataclass(frozen=True)
class Published:
    """A transfer set, and what is told of it.

    Attributes:
        arrays: by the names of their files; images are mapped.
        digest: of these.
        class_names: of classes 0, 1, …
        teacher: identity.
        asked: queries that it cost.
        told: further words for the card: what → value.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    digest: str
    class_names: tuple[str, ...]
    teacher: str
    asked: int
    told: Mapping[str, str]


def open_transfer(folder: Path) -> Published:
    """Read the transfer set of a run, held against its digest.

    Args:
        folder: of `db3 distill`, the pipeline's data/, or the folder that data/ is in.

    Raises:
        DataError: there is none, or it is another one than its manifest tells of.
    """
    place = folder / "data" if (folder / "data" / "transfer").is_dir() else folder
    paths = sorted((place / "transfer").glob("*.npy"))
    if not paths:
        raise DataError(f"there is no transfer set in {folder}: name a folder of `db3 distill`, or a pipeline's data/")
    arrays = {path.stem: read_array(path) for path in paths}
    found = _of_run(place, arrays) if (place / "result.json").is_file() else _of_pipeline(place, arrays)
    if digest_arrays(arrays) != found.digest:
        raise DataError(
            f"{place / 'transfer'} has another digest than {found.digest[:12]}, which its manifest tells of: a file is "
            "damaged or was exchanged; run its stage again"
        )
    return found


def _of_run(folder: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> Published:
    path = folder / "result.json"
    result, card = read_json(path), read_json(folder / "student" / "student.json")
    try:
        settings = result["settings"]
        told = {
            "samples": settings["samples"]["method"],
            "boundary search": settings["query"]["method"],
            "soft labels": settings["soft_labels"]["mapping"],
        }
        asked, teacher = result["queries"]["asked"], result["teacher"]["identity"]
        return Published(arrays, result["transfer"], tuple(card["class_names"]), teacher, asked, told)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} was not written by db3 distill ({error} is missing): run it again") from None


def _of_pipeline(folder: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> Published:
    path = folder / "transfer" / "manifest.json"
    told = read_json(path)
    try:
        names, asked = tuple(told["class_names"]), told["queries"]["asked"]
        return Published(arrays, told["digest"], names, told["teacher"], asked, {"soft labels": told["mapping"]})
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path} was not written by db3 ({error} is missing): run the stage soft_labels again"
        ) from None
