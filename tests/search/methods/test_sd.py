"""SD: the nearest start sample, no query."""

import numpy as np
import pytest

from db3.search import SearchSettings, search_distances
from tests.search.problems import Recording, brightest, pool


def test_distances_are_those_to_the_nearest_sample_of_each_class() -> None:
    teacher = Recording(brightest())
    images = pool(teacher, 60)
    teacher.calls.clear()
    found = search_distances(teacher, images, range(60), SearchSettings("sd", budget=100, starts=2, checkpoints=(0, 7)))
    pixels = images.images.reshape(60, -1) / 255
    for sample in range(60):
        for k in range(4):
            members = pixels[images.decisions == k]
            nearest = np.sqrt(((members - pixels[sample]) ** 2).sum(axis=1)).min()
            expected = 0 if images.decisions[sample] == k else nearest
            assert found.distances[sample, k] == pytest.approx(expected, rel=1e-5)
    assert teacher.asked == found.asked.sum() == len(found.answers) == 0
    assert (found.at == found.distances).all()
