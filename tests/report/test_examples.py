"""Examples are chosen by rule, and their pictures show the stored pixels."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from db3.report import examples
from db3.report.examples import ambiguous, png, typical
from db3.report.run import Run
from flows.report import read_run


@pytest.fixture
def run(write_run, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: ANN001
    monkeypatch.setattr(examples, "_BLOCK", 90)
    return read_run(write_run(count=60))


def margin(run: Run, index: int) -> float:
    label = np.asarray(run.soft_labels[index])
    own = label[run.decisions[index]]
    return float(own - np.delete(label, run.decisions[index]).max())


def test_typical_samples_are_of_different_classes_and_median_margin(run: Run) -> None:
    chosen = typical(run)
    assert len({example.decision for example in chosen}) == 6
    for example in chosen:
        peers = [margin(run, i) for i in np.flatnonzero(np.asarray(run.decisions) == run.decisions[example.index])]
        assert sorted(peers)[len(peers) // 2] == margin(run, example.index)


def test_ambiguous_samples_have_the_smallest_margins(run: Run) -> None:
    chosen = ambiguous(run)
    margins = [margin(run, example.index) for example in chosen]
    assert margins == sorted(margins)
    assert margins[0] == min(margin(run, index) for index in range(60))
    decisions = [example.decision for example in chosen]
    assert max(map(decisions.count, decisions)) <= 2


def test_bars_and_the_rest_sum_to_one(run: Run) -> None:
    for example in typical(run):
        shares = [bar.share for bar in example.bars]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) + example.rest_share == pytest.approx(1, abs=1e-6)
        assert example.rest_classes == 5
        assert [bar.name for bar in example.bars if bar.decided] == [example.decision]


def decode(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (5, "RGB")])
def test_small_images_keep_their_pixels(channels: int, mode: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (channels, 12, 9), dtype=np.uint8)
    shown = decode(png(image))
    assert shown.mode == mode
    expected = np.moveaxis(image[:3], 0, -1) if mode == "RGB" else image[0]
    assert np.array_equal(np.asarray(shown), expected)


def test_large_images_are_scaled_down_in_shape() -> None:
    assert decode(png(np.zeros((3, 200, 400), dtype=np.uint8))).size == (96, 48)
