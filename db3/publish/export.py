"""A transfer set as a folder of Parquet files, a card and Croissant metadata; and the proof that it is that set."""

import tempfile
from pathlib import Path
from typing import Any

import numpy.typing as npt

from db3.digest import digest_arrays, digest_file
from db3.errors import DataError
from db3.files import read_json, write_json, write_text
from db3.publish.croissant import croissant
from db3.publish.data_card import data_card
from db3.publish.parquet import CONFIGS, columns_of, read_config, write_config
from db3.publish.transfer_folder import Published, open_transfer

_FACTS = "transfer.json"


def export_transfer(run: str | Path, folder: str | Path, licence: str | None = None) -> str:
    """Write the transfer set of a run as a folder that `datasets.load_dataset` opens.

    Args:
        run: a folder of `db3 distill`, or the pipeline's data/.
        folder: to be made; where an earlier export lies it is replaced, whatever else is there is left alone.
        licence: of the data set, as the hub names it (`cc-by-4.0`); None: none is claimed.

    Returns:
        The digest of the transfer set.

    Raises:
        DataError: there is no transfer set, or the folder holds something else.
        ConfigError: the extra `parquet` is not installed, or the images have channels that no PNG holds.
    """
    found, folder = open_transfer(Path(run)), Path(folder)
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or (folder / _FACTS).is_file())):
        raise DataError(f"{folder} holds something else than an export: name a new folder")
    names = [name for name, (images, *_) in CONFIGS.items() if images in found.arrays]
    try:
        for name in CONFIGS:
            (folder / f"{name}.parquet").unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror}; name another folder, or check the rights") from None
    for name in names:
        write_config(folder / f"{name}.parquet", name, found.arrays, found.class_names)
    _describe(found, folder, names, licence)
    return found.digest


def check_export(folder: str | Path) -> str:
    """Compute the digest of the transfer set anew, from the files that were exported.

    Returns:
        The digest, which is the one that transfer.json tells of.

    Raises:
        DataError: it is another one, or a file is missing or damaged.
    """
    folder = Path(folder)
    if not (folder / _FACTS).is_file():
        raise DataError(f"{folder} holds no export, since {_FACTS} is missing; name a folder that `db3 export` wrote")
    told = read_json(folder / _FACTS)
    if not isinstance(told, dict) or not {"digest", "configs"} <= told.keys():
        raise DataError(f"{folder / _FACTS} was not written by `db3 export`: export the set again")
    with tempfile.TemporaryDirectory(prefix="db3-") as space:
        arrays: dict[str, npt.NDArray[Any]] = {}
        for name in told["configs"]:
            if name not in CONFIGS:
                raise DataError(f"{folder / _FACTS} tells of {name!r}, which no export holds: export the set again")
            arrays |= read_config(folder / f"{name}.parquet", name, Path(space))
        digest = digest_arrays(arrays)
        arrays.clear()
    if digest != told["digest"]:
        raise DataError(
            f"{folder} has the digest {digest[:12]}, but {_FACTS} tells of {str(told['digest'])[:12]}: a file is "
            "another one than was exported; export the set again"
        )
    return digest


def _describe(found: Published, folder: Path, names: list[str], licence: str | None) -> None:
    """Card, Croissant file, and facts for the check."""
    columns = {name: columns_of(found.arrays, name) for name in names}
    rows = {name: len(found.arrays[CONFIGS[name][0]]) for name in names}
    facts = {
        "digest": found.digest,
        "teacher": found.teacher,
        "class_names": list(found.class_names),
        "asked": found.asked,
        "configs": rows,
    }
    write_json(folder / _FACTS, facts)
    described = {name: (rows[name], columns[name]) for name in names}
    title = folder.resolve().name
    card = (found.digest, found.teacher, found.asked, found.class_names, described, found.told, licence, title)
    write_text(folder / "README.md", data_card(*card))
    files = {name: (digest_file(folder / f"{name}.parquet"), columns[name]) for name in names}
    said = f"A transfer set of db3 with the digest {found.digest}: images, and what a model decided of them."
    write_json(folder / "croissant.json", croissant(title, said, licence, files))
