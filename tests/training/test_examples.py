from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from db3.errors import DataError
from db3.training.examples import Examples, Group, channel_statistics, pixels

_IMAGES = np.zeros((3, 1, 2, 2), dtype=np.uint8)
_DECISIONS = np.array([0, 1, 2])


def test_the_lengths_must_agree() -> None:
    with pytest.raises(DataError, match="3 images, 2 decisions"):
        Examples(_IMAGES, _DECISIONS[:2])
    with pytest.raises(DataError, match="3 images, 3 decisions, 2 soft labels"):
        Examples(_IMAGES, _DECISIONS, np.full((2, 4), 0.25, dtype=np.float32))
    with pytest.raises(DataError, match="0 images"):
        Examples(_IMAGES[:0], _DECISIONS[:0])


@pytest.mark.parametrize("row", [[0.5, 0.4], [1.5, -0.5], [np.nan, 1.0]])
def test_soft_labels_must_be_distributions(row: list[float]) -> None:
    soft = np.array([[0.5, 0.5], row, [1.0, 0.0]], dtype=np.float32)
    with pytest.raises(DataError, match=r"soft label 1 .*\(1 such rows\)"):
        Examples(_IMAGES, _DECISIONS, soft)


def test_a_negative_decision_is_refused() -> None:
    with pytest.raises(DataError, match="a decision is -1"):
        Examples(_IMAGES, np.array([0, -1, 2]))


def test_targets_are_the_likeliest_classes() -> None:
    soft = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]], dtype=np.float32)
    assert Examples(_IMAGES, _DECISIONS).targets().tolist() == [0, 1, 2]
    assert Examples(_IMAGES, _DECISIONS, soft).targets().tolist() == [1, 0, 0]


def test_pixels_are_the_bytes_over_255() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(2, 2, 8, 8)
    assert torch.equal(pixels(images), torch.arange(256, dtype=torch.float32).reshape(2, 2, 8, 8) / 255)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(2, 40))
def test_channel_statistics_are_numpys(seed: int, channels: int, count: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (count, channels, 5, 4), dtype=np.uint8)
    mean, deviation = channel_statistics(images)
    assert mean == pytest.approx((images / 255).mean(axis=(0, 2, 3)).tolist())
    assert deviation == pytest.approx((images / 255).std(axis=(0, 2, 3)).tolist())


def test_a_channel_of_one_value_can_be_normalised() -> None:
    assert channel_statistics(np.full((2, 1, 3, 3), 51, dtype=np.uint8)) == ([pytest.approx(0.2)], [1.0])


def test_memory_maps_serve_as_images(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.full((3, 1, 2, 2), 255, dtype=np.uint8))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    examples = Examples(mapped, _DECISIONS)
    assert examples.images is mapped
    assert pixels(examples.images[np.array([2, 0])]).mean() == 1


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_lies_between_none_and_all(share: float) -> None:
    with pytest.raises(DataError, match=r"group boundary_points has share .* more than 0, less than 1"):
        Group("boundary_points", Examples(_IMAGES, _DECISIONS), share)


def test_every_example_of_a_group_has_a_parent_or_none_has() -> None:
    examples = Examples(_IMAGES, _DECISIONS)
    with pytest.raises(DataError, match="3 examples and 2 parents"):
        Group("boundary_points", examples, 0.5, parents=np.array([0, 1]))
    held = np.array([1, 7])
    assert Group("boundary_points", examples, 0.5).without(held).tolist() == [0, 1, 2]
    assert Group("boundary_points", examples, 0.5, parents=np.array([1, 0, 1])).without(held).tolist() == [1]
