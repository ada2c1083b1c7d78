"""Images out of whatever yields them one by one: a list, a generator, a dataset of torchvision or Hugging Face."""

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int64, UInt8

from db3.datasets.arrays import image_of
from db3.datasets.form import Form
from db3.datasets.pictures import UNREADABLE, adapt, decode, is_grey, pixels
from db3.datasets.splits import draw
from db3.errors import DataError, one_line
from db3.progress import Progress

Image = UInt8[np.ndarray, "c h w"]
_COLUMNS = ("image", "img")
_LABELS = ("label", "labels")


def read_stream(
    items: Any, form: Form, limit: int | None, what: str
) -> tuple[UInt8[np.ndarray, "n c h w"], Int64[np.ndarray, " n"] | None]:
    """All items, or `limit` of them, as images of one form, and their labels where each has one.

    Args:
        items: each a picture of Pillow, an array or tensor of one image (see `image_of`), the path or the bytes of an
            image file, a pair (image, label), or a mapping with a column `image` (or `img`) and perhaps `label`.
        form: what they become; what it leaves open is taken from the first.
        limit: of a sequence, so many drawn at random, the same ones every time; of any other, the first.
        what: for errors and progress.

    Raises:
        DataError: an item that is no image, or of another size or colour than the first where the form leaves that
            open; none at all.
    """
    total, chosen = _chosen(items, limit)
    images, labels = list[Image](), list[int]()
    with Progress(f"reading {what}", total, "img") as progress:
        for place, item in enumerate(chosen):
            name = f"item {place} of {what}"
            image, label = _parted(item, name)
            found = _image(image, form, name)
            if not images:
                form = Form(form.size, form.channels or found.shape[0], form.fit)
            images.append(_like_first(found, images[0] if images else found, name))
            if label is not None:
                labels.append(label)
            progress.advance()
    if not images:
        raise DataError(f"{what} yields no image; expected one or more: a generator serves once")
    return np.stack(images), np.array(labels, np.int64) if len(labels) == len(images) else None


def class_names_of(items: object) -> tuple[str, ...]:
    """Names of the classes, as a dataset of Hugging Face (`features`) or of torchvision (`classes`) tells them."""
    features = getattr(items, "features", None)
    if isinstance(features, Mapping):
        label = next((features[name] for name in _LABELS if name in features), None)
        return tuple(map(str, getattr(label, "names", None) or ()))
    names = getattr(items, "classes", None)
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()


def _chosen(items: Any, limit: int | None) -> tuple[int | None, Iterable[Any]]:
    if not hasattr(items, "__len__") or not hasattr(items, "__getitem__"):
        return limit, islice(items, limit)
    places = draw(np.arange(len(items), dtype=np.int64), limit, 0, "images").tolist()
    return len(places), (items[place] for place in places)


def _parted(item: Any, name: str) -> tuple[Any, int | None]:
    """An item's image and label."""
    if isinstance(item, Mapping) and "bytes" not in item:
        column = next((key for key in _COLUMNS if key in item), None)
        if column is None:
            raise DataError(f"{name} has the columns {', '.join(map(str, item))}; expected one named image: rename it")
        return item[column], _label(next((item[key] for key in _LABELS if key in item), None))
    if isinstance(item, tuple) and len(item) == 2 and (label := _label(item[1])) is not None:
        return item[0], label
    return item, None


def _label(value: Any) -> int | None:
    number = np.asarray(value) if value is not None else None
    return int(number) if number is not None and number.ndim == 0 and number.dtype.kind in "iu" else None


def _image(item: Any, form: Form, name: str) -> UInt8[np.ndarray, "c2 h2 w2"]:
    """One image in its form, as far as that says."""
    try:
        if isinstance(item, Mapping):  # an image that Hugging Face's `datasets` has not decoded
            item = item.get("bytes") or item.get("path")
        if isinstance(item, str | Path):
            name = str(item)
            item = Path(item).expanduser().read_bytes()
        picture = decode(item) if isinstance(item, bytes) else item
        if hasattr(picture, "convert"):
            return pixels(picture, form.channels or (1 if is_grey(picture) else 3), form)
    except UNREADABLE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        raise DataError(f"cannot read {name} ({reason}); expected an image: replace or remove it") from error
    image = image_of(_array(picture, name), name)
    formed: UInt8[np.ndarray, "c2 h2 w2"] = adapt(image[None], form)[0]
    return formed


def _array(item: Any, name: str) -> npt.NDArray[Any]:
    if isinstance(item, torch.Tensor):
        found: npt.NDArray[Any] = item.detach().cpu().numpy()
        return found
    try:
        found = np.asarray(item)
    except ValueError:
        found = np.empty(0, object)
    if found.dtype.kind == "O" or not found.ndim:
        raise DataError(
            f"{name} is {type(item).__name__}; expected a picture of Pillow, an array, a path, (image, label), or a "
            "mapping with a column `image`"
        )
    return found


def _like_first(image: Image, first: UInt8[np.ndarray, "c1 h1 w1"], name: str) -> Image:
    if image.shape[1:] != first.shape[1:]:
        sizes = [f"{shape[1]}x{shape[2]}" for shape in (image.shape, first.shape)]
        raise DataError(f"{name} is {sizes[0]} (height x width), the first {sizes[1]}: set size to bring them to one")
    if image.shape != first.shape:
        raise DataError(f"{name} is in colour, the first is grey: set channels to 1 or 3")
    return image
