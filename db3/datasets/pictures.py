"""From an image file to uint8 pixels [C, H, W]: decode, grey or colour, centre crop, resize."""

import io
import struct

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif"})
KINDS = "png, jpg, bmp, webp or gif"
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
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


def decode(data: bytes) -> Image.Image:
    """Decode a whole image file (the first frame of a gif), turned as its camera says.

    Raises:
        any of UNREADABLE: the bytes are no whole image of a known format.
    """
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    image.load()
    return ImageOps.exif_transpose(image)


def is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")


def pixels(image: Image.Image, channels: int, size: int | None) -> UInt8[np.ndarray, "c h w"]:
    """The pixels as `channels` × H × W.

    Transparency is laid on white; 16-bit grey is scaled to 8 bits; colour becomes grey as ITU-R 601-2 luma.

    Args:
        image: any 8-bit mode, or 16-bit grey.
        channels: 1 or 3.
        size: height and width after the centre crop (the largest centred square) and a bicubic resize; None: as it is.
    """
    image = _plain(image).convert("L" if channels == 1 else "RGB")
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
    array = np.asarray(image, dtype=np.uint8)
    return np.ascontiguousarray(array.reshape(*array.shape[:2], channels).transpose(2, 0, 1))


def adapt(
    images: UInt8[np.ndarray, "n c h w"], channels: int | None, size: int | None
) -> UInt8[np.ndarray, "n c2 h2 w2"]:
    """Images of an array in another size or with another number of channels (None: as they are)."""
    own, height, width = images.shape[1:]
    channels = channels or own
    if channels == own and (size is None or (height, width) == (size, size)):
        return images
    result = np.empty((len(images), channels, size or height, size or width), dtype=np.uint8)
    for place, image in enumerate(images):
        result[place] = pixels(Image.fromarray(image[0] if own == 1 else image.transpose(1, 2, 0)), channels, size)
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
