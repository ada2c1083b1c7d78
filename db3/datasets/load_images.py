"""Images from wherever they are, in the one form that everything here takes: uint8 [n, C, H, W]."""

import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int64, UInt8

from db3.datasets import idx
from db3.datasets.arrays import Images, images_of
from db3.datasets.base import Part
from db3.datasets.form import Form, Size, square
from db3.datasets.splits import draw
from db3.digest import digest_array
from db3.errors import ConfigError, DataError, one_line
from db3.extras import needs
from db3.settings.dataset import DatasetSettings, Fit

_ARRAYS = "images", "labels"
# As numpy and zipfile meet a file that is torn or none of theirs.
_DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    AttributeError,
    SyntaxError,
    zlib.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, eq=False)
class LoadedImages(Part):
    """Images, and what came with them.

    Attributes:
        images: uint8 [n, C, H, W]; may be mapped from a file.
        labels: int64 [n], or None where not every image has one.
        class_names: of the classes 0 … K−1; empty where none are told.
        source: where they came from, for people.
        left_out: pictures that lie beside them and were not read, since their kind is none that db3 reads.
    """

    class_names: tuple[str, ...] = ()
    source: str = ""
    left_out: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the images alone."""
        return digest_array(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of each."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width


@overload
def load_images(
    source: None, *, size: int | Size | None = ..., channels: int | None = ..., fit: Fit = ..., limit: int | None = ...
) -> None: ...


@overload
def load_images(
    source: object,
    *,
    size: int | Size | None = ...,
    channels: int | None = ...,
    fit: Fit = ...,
    limit: int | None = ...,
) -> LoadedImages: ...


def load_images(
    source: object,
    *,
    size: int | Size | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    limit: int | None = None,
) -> LoadedImages | None:
    """Load images; only image files, Pillow's pictures and a change of form need the extra `vision`.

    Args:
        source: one of
            a folder: every picture below it, by sorted name, labelled where all of them lie in class folders; of a
            folder with `train` and `test` (or `val`), those below `train`;
            a picture; an .npy file; an .npz file with `images` (and `labels`), or with one array; an IDX file of MNIST
            (`train-images-idx3-ubyte`, plain or .gz), with the labels that lie beside it;
            an array or tensor [n, H, W], [n, C, H, W] or [n, H, W, C] of whole numbers 0 … 255 or real ones in [0, 1],
            which become `round(255 x)`;
            anything that yields images: a list, a generator, a dataset of torchvision or Hugging Face (`read_stream`);
            None: no images, and None comes back.
        size: (height, width), or one number for both; None: as they are, which must be one size.
        channels: 1 (grey) or 3; None: as the first image has.
        fit: how an image of other proportions becomes `size`: `crop` to its centre, `pad` with black, or `stretch`.
        limit: at most this many, drawn at random, the same ones every time; of a generator the first ones.

    Raises:
        ConfigError: a value out of its range, or the extra `vision` is needed and not installed.
        DataError: nothing there, unreadable, of several sizes without `size`, or of values that are no pixels.
    """
    if source is None:
        return None
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; expected 1 or more, or None for all images")
    asked = DatasetSettings("image_folder", size=size, channels=channels, fit=fit)  # type: ignore[arg-type]
    form = Form(square(asked.size), asked.channels, asked.fit)
    if isinstance(source, str | Path):
        return _from_path(Path(source).expanduser(), form, limit)
    if isinstance(source, LoadedImages):
        return _from_array(source.images, source.labels, source.class_names, form, limit, source.source)
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu().numpy()
    if isinstance(source, np.ndarray) and source.dtype != object:
        return _from_array(source, None, (), form, limit, "the array")
    with needs("vision", "loading images one by one"):
        return _from_stream([source] if hasattr(source, "convert") else source, form, limit)


def _from_path(path: Path, form: Form, limit: int | None) -> LoadedImages:
    if path.is_dir():
        with needs("vision", f"the folder of images {path}"):
            return _from_folder(path, form, limit)
    if not path.is_file():
        raise DataError(
            f"{path} is not there; expected a folder of images, a picture, an .npy or .npz file, or MNIST's IDX file"
        )
    if path.suffix in (".npy", ".npz"):
        images, labels = _arrays(path)
        return _from_array(images, labels, (), form, limit, str(path))
    if "ubyte" in path.name or "idx" in path.name:
        return _from_array(idx.read_values(path, 3), _idx_labels(path), (), form, limit, str(path))
    with needs("vision", f"the picture {path}"):
        found = _from_stream([path], form, None)
    return LoadedImages(found.images, None, (), str(path))


def _from_folder(folder: Path, form: Form, limit: int | None) -> LoadedImages:
    from db3.datasets.encoded import EncodedImages, folder_reader, warn_left_out  # noqa: PLC0415  (needs Pillow)
    from db3.datasets.image_folder import list_pictures  # noqa: PLC0415

    listing = list_pictures(folder)
    warn_left_out(folder, listing.left_out)
    places = draw(np.arange(len(listing.names), dtype=np.int64), limit, 0, "images")
    part = EncodedImages(folder, listing, folder_reader(folder), form).read(places)
    return LoadedImages(part.images, part.labels, listing.class_names, str(folder), listing.left_out)


def _from_array(
    values: npt.NDArray[Any],
    labels: Int64[np.ndarray, " n"] | None,
    class_names: tuple[str, ...],
    form: Form,
    limit: int | None,
    what: str,
) -> LoadedImages:
    places = draw(np.arange(len(values), dtype=np.int64), limit, 0, "images") if values.ndim else np.arange(0)
    if labels is not None and len(labels) != len(values):
        raise DataError(f"{what} holds {len(values):,} images, but {len(labels):,} labels; expected one of each")
    if len(places) < len(values):
        values, labels = values[places], None if labels is None else labels[places]
    return LoadedImages(_formed(images_of(values, what), form), labels, class_names, what)


def _formed(images: Images, form: Form) -> UInt8[np.ndarray, "n c2 h2 w2"]:
    channels, height, width = images.shape[1:]
    if not form.changes((channels, height, width)):
        return images
    with needs("vision", "resizing images"):
        from db3.datasets.pictures import adapt  # noqa: PLC0415  (needs Pillow)

        return adapt(images, form)


def _from_stream(items: Any, form: Form, limit: int | None) -> LoadedImages:
    from db3.datasets.stream import class_names_of, read_stream  # noqa: PLC0415  (needs Pillow)

    kind = type(items).__name__
    try:
        iter(items)
    except TypeError:
        said = f"the images are {kind}; expected a folder, a file, an array, or anything that yields images"
        raise ConfigError(said) from None
    images, labels = read_stream(items, form, limit, f"the {kind}")
    return LoadedImages(images, labels, class_names_of(items), f"a {kind}")


def _arrays(path: Path) -> tuple[npt.NDArray[Any], Int64[np.ndarray, " n"] | None]:
    """The images of an .npy or .npz file, and the labels where it holds any."""
    try:
        if path.suffix == ".npy":
            return np.lib.format.open_memmap(path, mode="r"), None
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            names = found.files
            arrays = {name: found[name] for name in names if name in _ARRAYS or len(names) == 1}
    except _DAMAGED as error:
        raise DataError(f"cannot read {path} ({one_line(error)}); expected a whole {path.suffix} file") from error
    images = arrays.get("images", next(iter(arrays.values())) if len(names) == 1 else None)
    if images is None:
        raise DataError(f"{path} holds {', '.join(names) or 'no array'}; expected `images`, or one array: rename it")
    labels = arrays.get("labels")
    return images, None if labels is None else labels.reshape(len(labels)).astype(np.int64)


def _idx_labels(path: Path) -> Int64[np.ndarray, " n"] | None:
    """Of `train-images-idx3-ubyte`, what `train-labels-idx1-ubyte` beside it says."""
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    beside = path.with_name(name)
    return idx.read_values(beside, 1).astype(np.int64) if name != path.name and beside.is_file() else None
