"""Hold the files of a run against the list that docs/pipeline.md is written from."""

from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from flows.data_files import ARRAYS, OTHERS, TABLES, Array
from flows.manifests import FILES


def check_written(data: Path) -> set[str]:
    """Every file below `data` is listed, and is what the list says; the paths of arrays and tables found."""
    arrays, tables = {file.path: file for file in ARRAYS}, {file.path: file for file in TABLES}
    axes, seen = dict[tuple[str, str], int](), set[str]()
    for path in sorted(path for folder in data.iterdir() if folder.is_dir() for path in folder.rglob("*")):
        name = path.relative_to(data).as_posix()
        if path.is_dir() or path.name == ".gitignore":
            continue
        if name in arrays:
            _check_array(path, arrays[name], axes)
        elif name in tables:
            header = path.read_text(encoding="utf-8").partition("\n")[0]
            assert tuple(header.split(",")) == tables[name].columns, name
        else:
            assert name in FILES or any(fnmatch(name, other.path) for other in OTHERS), f"{name} is not listed"
        seen.add(name)
    return seen & (arrays.keys() | tables.keys())


def _check_array(path: Path, listed: Array, axes: dict[tuple[str, str], int]) -> None:
    array, folder = np.load(path, mmap_mode="r"), listed.path.partition("/")[0]
    assert array.dtype == listed.dtype, listed.path
    assert array.ndim == len(listed.shape), listed.path
    for length, axis in zip(array.shape, listed.shape, strict=True):
        expected = axis if isinstance(axis, int) else axes.setdefault((folder, axis), length)
        assert length == expected, f"{listed.path}: axis {axis} is {length}, not {expected}"
