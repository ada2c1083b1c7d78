"""From an image file to uint8 pixels [C, H, W]: decode, grey or colour, centre crop, resize."""

import io
import struct
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from db3.datasets.form import Form

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
KINDS = "png, jpg, bmp, webp, tif or gif"
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")
# Files that are pictures by their name, but that Pillow reads not everywhere or not at all: left out, and told of.
OTHERS = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".jp2", ".jfif", ".ppm", ".pgm", ".tga", ".psd", ".svg", ".ico"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"}
)
# What Pillow raises on bytes that are no whole image.
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
)

# How a picture is brought to (width, height).
_RESIZE: dict[str, Callable[[Image.Image, tuple[int, int], Image.Resampling], Image.Image]] = {
    "crop": ImageOps.fit,
    "pad": ImageOps.pad,
    "stretch": lambda image, size, method: image.resize(size, method),
}
_AS_IT_IS = Form()


def decode(data: bytes) -> Image.Image:
    """Decode a whole image file (the first frame of a gif, the first page of a tif), turned as its camera says.

    Raises:
        any of UNREADABLE: the bytes are no whole image of a known format.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"its {len(data):,} bytes do not begin as those of an image file") from None
    image.load()
    return ImageOps.exif_transpose(image)


def is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")


def pixels(image: Image.Image, channels: int, form: Form = _AS_IT_IS) -> UInt8[np.ndarray, "c h w"]:
    """The pixels as `channels` × H × W.

    Transparency is laid on white; 16-bit grey is scaled to 8 bits; colour becomes grey as ITU-R 601-2 luma.

    Args:
        image: any 8-bit mode, or 16-bit grey.
        channels: 1 or 3.
        form: its size and how it is brought there.
    """
    image = _plain(image).convert("L" if channels == 1 else "RGB")
    if form.size is not None and image.size != form.size[::-1]:
        image = _RESIZE[form.fit](image, form.size[::-1], Image.Resampling.BICUBIC)
    array = np.asarray(image, dtype=np.uint8)
    return np.ascontiguousarray(array.reshape(*array.shape[:2], channels).transpose(2, 0, 1))


def adapt(images: UInt8[np.ndarray, "n c h w"], form: Form) -> UInt8[np.ndarray, "n c2 h2 w2"]:
    """Images of an array in another size or with another number of channels."""
    own, height, width = images.shape[1:]
    if not form.changes((own, height, width)):
        return images
    shape = form.shape((own, height, width))
    result = np.empty((len(images), *shape), dtype=np.uint8)
    for place, image in enumerate(images):
        result[place] = pixels(Image.fromarray(image[0] if own == 1 else image.transpose(1, 2, 0)), shape[0], form)
    return result


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.rint(np.asarray(image).astype(np.float64) / 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode}, 32 bits a pixel; expected 8 bits a channel or 16-bit grey")
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour)
    return image
