"""The grid shows the stored pixels of each class in each state, and says what they cost."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from db3.report.pseudo import mosaic, snapshot_grid
from db3.report.snapshots import Snapshots

NAMES = [f"class {k}" for k in range(200)]


def snapshots(classes: int = 4, each: int = 3, states: int = 3, shape: tuple[int, int, int] = (1, 12, 9)) -> Snapshots:
    images = np.random.default_rng(0).integers(0, 256, (states, classes * each, *shape), dtype=np.uint8)
    decisions = np.arange(classes * each) % classes
    queries = tuple(950 * 30**state for state in range(states))
    return Snapshots(images, decisions, tuple(range(0, 10 * states, 10)), queries)


def drawings(grid: Markup) -> list[ElementTree.Element]:
    """The wide and the narrow drawing, parsed: they are well-formed."""
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", grid, re.DOTALL)]  # noqa: S314 - our own


def texts(svg: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in svg.iter("text")]


def picture(svg: ElementTree.Element) -> Image.Image:
    (image,) = svg.iter("image")
    data = image.attrib["href"].removeprefix("data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(("channels", "mode"), [(1, "LA"), (2, "LA"), (3, "RGBA"), (5, "RGBA")])
def test_every_image_stands_in_its_class_and_state_unchanged(channels: int, mode: str) -> None:
    shown = snapshots(shape=(channels, 12, 9))
    whole = mosaic(shown, [0, 2], [0, 2], 3)
    assert whole.mode == mode
    pixels = np.asarray(whole)
    step = 3 * 11 - 2 + 8
    for row, k in enumerate((0, 2)):
        for column, state in enumerate((0, 2)):
            for place in range(3):
                top, left = row * 14, column * step + place * 11
                cell = pixels[top : top + 12, left : left + 9]
                image = shown.images[state, k + 4 * place]
                expected = np.moveaxis(image[:3], 0, -1) if channels >= 3 else image[0][..., None]
                assert np.array_equal(cell[..., :-1], expected)
                assert (cell[..., -1] == 255).all()
    assert whole.size == (2 * step - 8, 26)
    assert (pixels[12:14, :, -1] == 0).all()
    assert (pixels[:, 31:39, -1] == 0).all()


def test_the_grid_names_classes_iterations_and_queries() -> None:
    wide, narrow = drawings(snapshot_grid(snapshots(), NAMES))
    for svg in (wide, narrow):
        assert {"iterations", "queries", "class 0", "class 3", "0", "10", "20", "950"} <= set(texts(svg))
        assert "855" in " ".join(texts(svg))  # 855,000 in short
        assert svg.attrib["aria-label"] == "Samples of 4 classes, iterations 0, 10, 20"
    assert picture(wide).size == (3 * 39 - 8, 4 * 14 - 2)
    assert picture(narrow).size == (3 * 17 - 8, 4 * 14 - 2)


@pytest.mark.parametrize(
    ("classes", "states", "shape"), [(102, 41, (3, 224, 224)), (1, 1, (1, 28, 28)), (2, 2, (1, 8, 8))]
)
def test_it_stays_within_the_page(classes: int, states: int, shape: tuple[int, int, int]) -> None:
    shown = snapshots(classes, 2, states, (1, 1, 1))
    images = np.broadcast_to(shown.images, (states, classes * 2, *shape))
    wide, narrow = drawings(snapshot_grid(Snapshots(images, shown.decisions, shown.iterations, shown.queries), NAMES))
    for svg, width in ((wide, 760), (narrow, 342)):
        (image,) = svg.iter("image")
        assert float(image.attrib["x"]) + float(image.attrib["width"]) <= width + 0.01
        assert float(image.attrib["y"]) + float(image.attrib["height"]) <= float(svg.attrib["height"]) + 1
    assert len([text for text in texts(wide) if text.startswith("class")]) == min(classes, 12)
    assert len(list(wide.iter("text"))) == 2 + min(classes, 12) + 2 * min(states, 6)


def test_numbers_of_neighbouring_states_do_not_touch() -> None:
    for svg in drawings(snapshot_grid(snapshots(states=3, each=1, shape=(1, 8, 8)), NAMES)):
        x = sorted({float(text.attrib["x"]) for text in svg.iter("text")})
        assert min(np.diff(x)) > 45


def test_first_and_last_state_are_always_shown() -> None:
    shown = snapshots(states=20)
    for svg in drawings(snapshot_grid(shown, NAMES)):
        assert {"0", "190"} <= set(texts(svg))


def test_classes_that_were_never_decided_have_no_row_and_few_samples_leave_gaps() -> None:
    shown = snapshots(classes=3, each=2)
    few = Snapshots(shown.images[:, :4], np.array([0, 2, 2, 0]), shown.iterations, shown.queries)
    wide, _ = drawings(snapshot_grid(few, NAMES))
    assert [text for text in texts(wide) if text.startswith("class")] == ["class 0", "class 2"]
    one = Snapshots(shown.images[:, :3], np.array([0, 2, 2]), shown.iterations, shown.queries)
    assert (np.asarray(mosaic(one, [0, 2], [0], 2))[:12, 11:, -1] == 0).all()


def test_names_are_shortened_and_escaped() -> None:
    names = ["a<b & c", "a very long name of a class", "x"]
    wide, _ = drawings(snapshot_grid(snapshots(classes=3), names))
    assert {"a<b & c", "a very long n…", "x"} <= set(texts(wide))
