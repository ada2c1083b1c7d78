"""Asked images kept as samples: chosen by who they are, never by the order they come in."""

import numpy as np
import numpy.typing as npt
import torch

from db3.search import SearchSettings, search_distances
from db3.search.queried_images import QueriedImages
from tests.search.problems import GREY, Recording, brightest, pool

SHAPE = (1, 1, 2)


def _some(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images of three samples whose pixels tell their place."""
    keys = np.stack([np.arange(count) % 3, np.arange(count) % 5, np.arange(count)], axis=1)
    images = np.stack([np.arange(count), np.arange(count)], axis=1).astype(np.uint8)
    return keys, images, np.arange(count) % 4


def test_the_choice_does_not_depend_on_the_order_of_offers() -> None:
    keys, images, decisions = _some(90)
    chosen = []
    for parts in ([np.arange(90)], [np.arange(45, 90), np.arange(45)], list(np.random.default_rng(0).permutation(90))):
        kept = QueriedImages(7, SHAPE, seed=3)
        for part in parts:
            rows = np.atleast_1d(part)
            kept.offer(keys[rows], images[rows], decisions[rows])
        chosen.append(kept.read())
    for other in chosen[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(chosen[0], other, strict=True))
    got, told, kept_keys = chosen[0]
    samples = kept_keys[:, 0]
    assert np.bincount(samples).tolist() == [7, 7, 7]
    place = got[:, 0, 0, 0].astype(np.int64)
    assert np.array_equal(place % 3, samples)
    assert np.array_equal(place % 4, told)


def test_fewer_than_wanted_are_all_kept_and_none_where_none_are_wanted() -> None:
    keys, images, decisions = _some(9)
    for maximum, count in ((100, 9), (0, 0)):
        kept = QueriedImages(maximum, SHAPE, seed=0)
        kept.offer(keys, images, decisions)
        assert [len(part) for part in kept.read()] == [count] * 3


def test_a_choice_is_random_over_the_places() -> None:
    keys = np.stack([np.zeros(1000, np.int64), np.ones(1000, np.int64), np.arange(1000)], axis=1)
    kept = QueriedImages(200, SHAPE, seed=1)
    places = np.repeat((np.arange(1000) // 4).astype(np.uint8)[:, None], 2, axis=1)
    kept.offer(keys, places, np.zeros(1000, np.int64))
    assert 110 < kept.read()[0][:, 0, 0, 0].mean() < 140


def test_they_are_images_that_were_asked_with_what_was_told() -> None:
    teacher = Recording(brightest(GREY))
    images = pool(teacher, 20)
    teacher.calls.clear()
    found = search_distances(teacher, images, range(3), SearchSettings("bd", budget=12, queried_images=1000))
    asked = torch.cat(teacher.calls)
    assert len(found.queried_images) == len(asked) == found.asked.sum()
    rows = {row.tobytes() for row in (asked * 255).round().to(torch.uint8).numpy()}
    assert {row.tobytes() for row in found.queried_images} == rows
    again = teacher.decide(torch.from_numpy(found.queried_images).float() / 255).numpy()
    assert (again == found.queried_decisions).mean() > 0.8  # rounding moves a few across such near boundaries
