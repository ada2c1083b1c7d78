"""Rows of alike parts beneath and upon a made object."""

import numpy as np
import torch

from db3.images.repeats import DRAWS, legs, marks
from db3.images.shapes import Body, cover

SHAPE = (3, 64, 64)


def _body() -> Body:
    x, y, size, stretch, sharp, grain = torch.tensor([[0.0], [0.0], [0.5], [1.0], [30.0], [0.0]])
    return Body(x, y, size, stretch, sharp, grain, torch.full((1, 9), 0.5))


def _drawn(**given: float) -> torch.Tensor:
    drawn = torch.full((1, DRAWS + SHAPE[0]), 0.5)
    drawn[0, 20] = 0.0  # there
    for name, value in given.items():
        drawn[0, int(name[1:])] = value
    return drawn


def _runs(line: np.ndarray) -> int:
    """How many separate stretches a line of pixels covers."""
    inside = np.concatenate([[False], line > 0.5])
    return int((np.diff(inside.astype(int)) == 1).sum())


def test_legs_are_two_or_four_beneath_the_middle_and_symmetrical() -> None:
    textures = torch.zeros(1, *SHAPE)
    for draws, copies in ({"_1": 0.1}, 2), ({"_1": 0.9, "_2": 1.0, "_3": 0.0}, 4):
        mask, paint = legs(SHAPE, _body(), _drawn(**draws), textures)
        plane = mask[0, 0].numpy()
        assert max(_runs(line) for line in plane) == copies
        assert np.allclose(plane, plane[:, ::-1], atol=1e-5)
        rows = np.flatnonzero(plane.max(axis=1) > 0.5)
        assert rows.min() > 32  # the body's middle is the picture's
        assert paint.shape == (1, *SHAPE)


def test_an_object_may_have_neither() -> None:
    for mask, _ in (
        legs(SHAPE, _body(), _drawn(_20=0.99), torch.zeros(1, *SHAPE)),
        marks(SHAPE, _body(), _drawn(_20=0.99)),
    ):
        assert not mask.any()


def test_marks_are_one_two_or_four_upon_the_body() -> None:
    for draws, copies in ({"_11": 0.1}, 1), ({"_11": 0.9, "_1": 0.1}, 2), ({"_11": 0.9, "_1": 0.9, "_3": 0.0}, 4):
        mask, _ = marks(SHAPE, _body(), _drawn(_0=1.0, _2=1.0, **draws))
        plane = mask[0, 0].numpy()
        assert max(_runs(line) for line in plane) == copies
        assert 12 < np.flatnonzero(plane.max(axis=1) > 0.5).mean() < 36


def test_a_shape_covers_its_own_area() -> None:
    side = (torch.arange(200) * 2 + 1) / 100 - 2
    u, v = side[None, None].expand(1, 200, 200), side[None, :, None].expand(1, 200, 200)
    areas = [float(cover(u, v, torch.ones(1), torch.tensor([kind]), torch.tensor([500.0])).mean()) * 16
             for kind in (0.0, 0.7, 0.95)]  # fmt: skip
    assert np.allclose(areas, [np.pi, 4.0, 2.0], atol=0.05)
