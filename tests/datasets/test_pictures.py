import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from db3.datasets.form import Form
from db3.datasets.pictures import UNREADABLE, adapt, decode, is_grey, pixels


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_files_come_back_exactly(kind: str) -> None:
    array = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    result = pixels(decode(encode(Image.fromarray(array), kind)), 3)
    np.testing.assert_array_equal(result, array.transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_lossy_files_decode_to_nearly_the_same(kind: str) -> None:
    flat = Image.new("RGB", (16, 16), (200, 100, 50))
    result = pixels(decode(encode(flat, kind)), 3).astype(int)
    assert np.abs(result - np.array([200, 100, 50])[:, None, None]).max() <= 4


def test_gif_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(decode(data), 3)[:, 0, 0].tolist() == [255, 0, 0]


def test_grey_is_rec_601_luma() -> None:
    array = np.random.default_rng(1).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    luma = array.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(pixels(Image.fromarray(array), 1)[0] - luma).max() < 1


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    assert pixels(decode(encode(image)), 1)[0, 0].tolist() == [0, 255]


def test_sixteen_bit_grey_is_scaled() -> None:
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    image = decode(encode(Image.fromarray(values)))
    assert is_grey(image)
    assert pixels(image, 1)[0, 0].tolist() == [0, 100, 255]


def test_camera_rotation_is_undone() -> None:
    image = Image.new("RGB", (20, 10), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    assert pixels(decode(encode(image, "JPEG", exif=exif)), 3).shape == (3, 20, 10)


def test_centre_square_is_kept() -> None:
    array = np.zeros((10, 30), dtype=np.uint8)
    array[:, 10:20] = 255
    assert (pixels(Image.fromarray(array), 1, Form((10, 10))) == 255).all()
    assert pixels(Image.fromarray(array), 3, Form((7, 7))).shape == (3, 7, 7)


def test_damaged_bytes_are_unreadable(picture: Callable[..., bytes]) -> None:
    whole = picture(kind="JPEG", size=(64, 64))
    for data in (b"", b"no image", whole[: len(whole) // 2], picture()[:60], b"BM" + bytes(40), b"GIF89a"):
        with pytest.raises(UNREADABLE):
            decode(data)


def test_adapt_leaves_fitting_arrays_alone_and_resizes_others() -> None:
    images = np.random.default_rng(2).integers(0, 256, (3, 1, 28, 28), dtype=np.uint8)
    assert adapt(images, Form()) is images
    assert adapt(images, Form((28, 28), 1)) is images
    colour = adapt(images, Form(channels=3))
    np.testing.assert_array_equal(colour, images.repeat(3, axis=1))
    larger = adapt(images, Form((32, 32), 1))
    expected = np.asarray(Image.fromarray(images[2, 0]).resize((32, 32), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(larger[2, 0], expected)
