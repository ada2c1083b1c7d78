"""The user's own images: class folders, or images without labels, with or without a test part.

    ROOT/CLASS/*                 labelled, split here
    ROOT/train/…, ROOT/test/…    either part labelled (CLASS/*) or not; classes have the same names in both
                                 (`val` is taken for the test part where there is no `test`; `train` alone is split)
    ROOT/*                       without labels, split here

Order: by class name, then by file name. Files that are no images by their name, and hidden ones, are ignored; pictures
of kinds that Pillow does not read everywhere (.heic, …) are left out and told of.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from db3.datasets.encoded import EncodedImages, Listing, folder_reader
from db3.datasets.form import Form
from db3.datasets.pictures import KINDS, OTHERS, SUFFIXES
from db3.errors import DataError


def open_image_folder(root: Path, form: Form) -> EncodedImages:
    """List the images under `root`.

    Raises:
        DataError: no folder, no image, a class without images, or images beside class folders.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder; expected your images there: set runtime.data_root or DB3_DATA_ROOT")
    return EncodedImages(root, list_folder(root), folder_reader(root), form)


def list_folder(root: Path) -> Listing:
    """The listing of a folder in one of the layouts above."""
    folders = {child.name for child in _children(root)}
    if "train" in folders and ("test" in folders or folders == {"train", "val"}):
        test = "test" if "test" in folders else "val"
        return list_names(root, _names(root / "train", root), _names(root / test, root), _left_out(_walk(root, root)))
    base = root / "train" if folders == {"train"} else root
    return list_names(root, _names(base, root), None, _left_out(_walk(base, root)))


def list_pictures(root: Path) -> Listing:
    """Every picture below a folder, in whatever folders; of a folder with `train` and `test`, those below `train`.

    They are labelled where each lies in a class folder, and only there.
    """
    folders = {child.name for child in _children(root)}
    base = root / "train" if "train" in folders and folders <= {"train", "test", "val"} else root
    names = _walk(base, root)
    groups = by_class([name for name in names if is_image(name)], len(base.relative_to(root).parts))
    if not groups:
        raise DataError(f"{base} holds no image{_besides(names)}; expected {KINDS}")
    if "" in groups:
        groups = {"": sorted(name for group in groups.values() for name in group)}
    return list_names(root, groups, None, _left_out(names))


def list_names(
    where: Path, train: dict[str, list[str]], test: dict[str, list[str]] | None, left_out: Sequence[str] = ()
) -> Listing:
    """Put classes and files in order.

    Args:
        where: folder or archive, for errors.
        train: names of the files by class; the class "" holds images without label.
        test: likewise; None: the dataset has no test part of its own.
        left_out: pictures of kinds that are not read.
    """
    class_names = tuple(sorted((train.keys() | (test or {}).keys()) - {""}))
    absent = [name for name in class_names if name not in train]
    if absent and "" not in train:
        raise DataError(
            f"{where} has test images of class {absent[0]!r} but no training image of it; "
            f"expected the same classes in train and test: add some, or remove it ({len(absent)} such)"
        )
    number = {"": -1} | {name: label for label, name in enumerate(class_names)}
    rows = [
        (name, number[label]) for part in (train, test or {}) for label in sorted(part) for name in sorted(part[label])
    ]
    return Listing(
        names=tuple(name for name, _ in rows),
        labels=tuple(label for _, label in rows),
        class_names=class_names,
        train=sum(map(len, train.values())),
        split=test is not None,
        left_out=tuple(left_out),
    )


def by_class(names: list[str], depth: int) -> dict[str, list[str]]:
    """Group relative file names by their folder at `depth`; "" where the file lies no deeper."""
    groups: dict[str, list[str]] = {}
    for name in names:
        parts = PurePosixPath(name).parts
        groups.setdefault(parts[depth] if len(parts) > depth + 1 else "", []).append(name)
    return groups


def is_image(name: str) -> bool:
    """Whether a relative name is that of an image, no part of it hidden."""
    return _has_suffix(name, SUFFIXES)


def _has_suffix(name: str, suffixes: frozenset[str]) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in suffixes and not any(part.startswith(".") for part in path.parts)


def _walk(folder: Path, root: Path) -> list[str]:
    """Names of all files below a folder, relative to the root."""
    walk = os.walk(folder, followlinks=True)
    return [(Path(place) / file).relative_to(root).as_posix() for place, _, files in walk for file in files]


def _left_out(names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if _has_suffix(name, OTHERS))


def _besides(names: Sequence[str]) -> str:
    """What there is in place of an image that is read."""
    others = _left_out(names)
    return f" but {len(others):,} of other kinds, such as {others[0]}" if others else ""


def _names(folder: Path, root: Path) -> dict[str, list[str]]:
    """The images of one part by class, each class with at least one."""
    found = _walk(folder, root)
    groups = by_class([name for name in found if is_image(name)], len(folder.relative_to(root).parts))
    if not groups:
        what = f"{folder} holds no image{_besides(found)}"
        raise DataError(f"{what}; expected {KINDS}, loose or by class: check runtime.data_root")
    if groups.keys() == {""}:
        return groups
    if "" in groups:
        raise DataError(
            f"{folder} holds {len(groups[''])} loose images, such as {groups[''][0]}, beside class folders; "
            "expected one or the other: move them into a class folder or away"
        )
    empty = [child for child in _children(folder) if child.name not in groups]
    if empty:
        raise DataError(
            f"class folder {empty[0]} holds no image ({len(empty)} such); expected {KINDS}: add or remove it"
        )
    return groups


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
