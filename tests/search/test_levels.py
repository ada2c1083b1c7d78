"""Teachers of uint8 pixels: every search asks rounded images, measures them, and still converges."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from db3.search import SearchSettings, search_distances
from db3.testing.analytic import Analytic
from tests.search.problems import GREY, Recording, brightest, half_space, pool, shells, truth

METHODS = {
    "bd": SearchSettings("bd", budget=30),
    "mbd": SearchSettings("mbd", budget=400, cell=2),
    "hopskipjump": SearchSettings("hopskipjump", budget=400, smoothing=0.05, cell=2),
    "semicircle": SearchSettings("semicircle", budget=400, smoothing=0.05, cell=2),
}


def _uint8(teacher: Analytic) -> Analytic:
    """The same decisions, of a teacher that says it sees 256 levels."""
    teacher.__dict__["spec"] = replace(teacher.spec, levels=256)
    return teacher


@pytest.mark.parametrize("name", METHODS)
def test_every_image_asked_and_its_distance_lie_on_the_grid(name: str) -> None:
    teacher = Recording(_uint8(shells(GREY)))
    images = pool(teacher, 30)
    found = search_distances(teacher, images, range(4), replace(METHODS[name], points=3))
    asked = torch.cat(teacher.calls)
    assert torch.equal(asked, (asked * 255).round() / 255)
    # The boundary points kept as uint8 are the very images that the distances belong to.
    sample, klass = found.point_pairs.T
    apart = (found.points.astype(np.float64) - images.images[sample]) / 255
    assert np.allclose(np.sqrt((apart**2).sum(axis=(1, 2, 3))), found.distances[sample, klass], rtol=1e-5)
    assert teacher.decide(torch.from_numpy(found.points).float() / 255).tolist() == klass.tolist()


@pytest.mark.parametrize("name", METHODS)
def test_the_grid_costs_little(name: str) -> None:
    exact, rough = half_space(GREY), _uint8(half_space(GREY))
    images = pool(exact, 40)
    minimum = truth(exact, images)[:10]
    other = np.isfinite(minimum) & (minimum > 0.05)
    ratios = [
        (search_distances(teacher, images, range(10), METHODS[name]).distances[other] / minimum[other]).mean()
        for teacher in (exact, rough)
    ]
    assert ratios[1] < ratios[0] * 1.05 + 0.05


def test_a_bracket_ends_where_pixels_do_not_move() -> None:
    """With 256 levels a bracket is closed long before a tolerance that no grid point can meet."""
    budget = 60
    found = [
        search_distances(teacher, pool(teacher, 20), range(5), SearchSettings("bd", budget=budget, tolerance=1e-7))
        for teacher in (brightest(GREY), _uint8(brightest(GREY)))
    ]
    assert found[1].asked.max() < found[0].asked.max()
    assert found[1].asked.max() <= 12


def test_an_absolute_tolerance_ends_brackets_too() -> None:
    teacher = brightest(GREY)
    images = pool(teacher, 20)
    loose = search_distances(teacher, images, range(5), SearchSettings("bd", budget=60, tolerance=1e-6, absolute=0.1))
    tight = search_distances(teacher, images, range(5), SearchSettings("bd", budget=60, tolerance=1e-6))
    assert (loose.distances <= tight.distances + 0.1).all()
    assert loose.asked.sum() < tight.asked.sum() / 2
