"""Images and decisions as they are given: stored pixels and whole numbers, whatever holds them."""

from typing import Any

import numpy as np
import pytest
import torch

from db3.errors import DataError
from db3.training.examples import Examples
from db3.types import TransferImages

IMAGES = np.arange(3 * 4, dtype=np.uint8).reshape(3, 1, 2, 2)


@pytest.mark.parametrize("holder", [TransferImages, Examples])
@pytest.mark.parametrize(
    "decisions",
    [[1, 0, 2], (1, 0, 2), np.array([1, 0, 2], np.int32), np.array([1, 0, 2], np.uint8), torch.tensor([1, 0, 2])],
    ids=["list", "tuple", "int32", "uint8", "tensor"],
)
def test_decisions_of_any_whole_numbers_are_taken(holder: Any, decisions: Any) -> None:
    held = holder(torch.from_numpy(IMAGES), decisions)
    assert held.decisions.dtype == np.int64
    assert held.decisions.tolist() == [1, 0, 2]
    assert np.array_equal(held.images, IMAGES)


def test_the_name_of_samples_does_not_depend_on_what_they_came_in() -> None:
    decisions = np.array([1, 0, 2])
    assert TransferImages(IMAGES, decisions).digest == TransferImages(torch.from_numpy(IMAGES), [1, 0, 2]).digest  # type: ignore[arg-type]


@pytest.mark.parametrize("holder", [TransferImages, Examples])
@pytest.mark.parametrize(
    ("images", "decisions", "message"),
    [
        (IMAGES / np.float32(255), [1, 0, 2], r"images are float32; expected uint8 pixels 0 … 255: convert pixels in"),
        (torch.rand(3, 1, 2, 2), [1, 0, 2], r"images are torch\.float32; expected uint8 pixels"),
        (IMAGES.astype(np.int64), [1, 0, 2], r"images are int64; expected uint8 pixels"),
        (list(IMAGES), [1, 0, 2], r"images are a list; expected an array of uint8 pixels"),
        (IMAGES, np.zeros(3), r"decisions are float64; expected whole numbers, one for each image"),
        (IMAGES, ["a", "b", "c"], r"decisions are list of str; expected whole numbers"),
        (IMAGES, [1, None, 2], r"decisions are list of NoneType, int; expected whole numbers"),
        (IMAGES, None, r"decisions are NoneType; expected whole numbers"),
        (IMAGES, [1, 2], r"2 decisions|decisions of shape \[2\]"),
    ],
)
def test_anything_else_is_one_line(holder: Any, images: Any, decisions: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        holder(images, decisions)
    assert "\n" not in str(raised.value)
