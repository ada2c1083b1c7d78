"""A network for images of any shape."""

import pytest
import torch

from db3.networks import build, count_parameters


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 3, 5), (1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 60, 80), (3, 224, 224)]
)
@pytest.mark.parametrize("classes", [2, 1000])
def test_it_fits(shape: tuple[int, int, int], classes: int) -> None:
    network = build("compact", shape, classes).eval()
    assert network(torch.rand(2, *shape)).shape == (2, classes)


def test_it_is_small_whatever_the_image() -> None:
    assert count_parameters(build("compact", (1, 28, 28), 10)) == 94_186
    assert count_parameters(build("compact", (3, 224, 224), 10)) == 94_762


def test_a_pixel_changes_the_answer_everywhere() -> None:
    """No part of the image is cut off by the pooling of odd sizes."""
    network = build("compact", (1, 8, 8), 3).eval()
    images = torch.rand(1, 1, 8, 8, requires_grad=True)
    network(images)[0, 0].backward()
    assert (images.grad != 0).float().mean() > 0.9  # type: ignore[union-attr]


def test_half_and_double_have_half_and_double_the_maps() -> None:
    assert count_parameters(build("compact_half", (1, 28, 28), 10)) == 24_058
    assert count_parameters(build("compact_double", (1, 28, 28), 10)) == 372_682
