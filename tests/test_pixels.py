"""Stored pixels and the floats that models see: every level comes back, and each has one float."""

import numpy as np
import pytest
import torch

from db3.pixels import to_bytes, to_floats

LEVELS = np.arange(256, dtype=np.uint8).reshape(2, 2, 8, 8)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-2.5, 0.5)])
def test_every_level_comes_back(bounds: tuple[float, float]) -> None:
    floats = to_floats(LEVELS, bounds)
    assert floats.dtype == torch.float32
    assert floats.min() == bounds[0]
    assert floats.max() == bounds[1]
    assert np.array_equal(to_bytes(floats, bounds).numpy(), LEVELS)


def test_on_0_to_1_a_level_is_divided_by_255_as_ieee_does() -> None:
    expected = LEVELS.astype(np.float32) / np.float32(255)
    for images in (LEVELS, torch.from_numpy(LEVELS)):
        assert to_floats(images).numpy().tobytes() == expected.tobytes()


def test_the_nearest_level_is_kept_and_nothing_beyond_the_ends() -> None:
    images = torch.tensor([-0.2, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.7])
    assert to_bytes(images).tolist() == [0, 0, 0, 1, 255, 255]


def test_a_read_only_array_is_copied() -> None:
    held = LEVELS.copy()
    held.setflags(write=False)
    to_floats(held).zero_()
    assert np.array_equal(held, LEVELS)
