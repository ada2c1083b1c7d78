"""Decisions on images that are there: the teacher's own, in pieces or not, and asked a second time."""

from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor

from db3.errors import BudgetSpent
from db3.images.augmented import augmented_images, decide_augmented
from db3.teachers import decide_images as module
from db3.teachers.adapters.batching import Batching
from db3.teachers.decide import decide_all
from db3.teachers.decide_images import decide_images, recheck
from db3.work import Arrays, Work, run_here
from tests.search.problems import Recording, brightest, pool
from tests.teachers.unsteady import Unsteady


def backwards(work: Work) -> list[Arrays]:
    """A runner that begins with the last piece."""
    return [work.compute(index) for index in reversed(range(len(work)))][::-1]


def test_every_image_is_asked_once_in_any_order_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE", 7)
    teacher = Recording(Batching(brightest()))
    images = pool(teacher, 30).images
    expected, before = decide_all(brightest(), images, 64), teacher.asked
    assert np.array_equal(decide_images(teacher, images), expected)
    assert np.array_equal(decide_images(teacher, images, run=backwards), expected)
    assert teacher.asked - before == 60
    assert decide_images(teacher, images[:0]).shape == (0,)


@pytest.mark.parametrize(("count", "asked"), [(0, 0), (7, 7), (30, 30), (99, 30)])
def test_a_recheck_asks_some_again_and_finds_who_changes_its_mind(count: int, asked: int) -> None:
    teacher = Recording(brightest())
    images = pool(brightest(), 30)
    assert recheck(teacher, images.images, images.decisions, count) == (asked, 0)
    assert teacher.asked == asked
    compared, changed = recheck(Unsteady(brightest(), 1.0), images.images, images.decisions, count)
    assert compared == asked
    assert (changed > 0) == (asked > 0)


class Refusing(Recording):
    """Answers so many images and then no more."""

    allowed = 20

    def decide(self, images: Tensor) -> Tensor:
        if self.asked + len(images) > self.allowed:
            raise BudgetSpent("no more")
        return super().decide(images)


def test_the_augmented_images_are_decided_as_they_are_made_until_the_budget_ends() -> None:
    teacher = Batching(brightest())
    samples = pool(teacher, 12)
    told = decide_augmented(teacher, samples, 30, seed=3)
    assert np.array_equal(told, decide_all(teacher, augmented_images(samples.images, range(30), 3), 64))
    assert np.array_equal(decide_augmented(teacher, samples, 30, 3, run=run_here), told)
    small = brightest()
    small.__dict__["spec"] = replace(small.spec, max_batch=8)
    assert np.array_equal(decide_augmented(Refusing(small), samples, 30, seed=3), told[:16])
    with pytest.raises(BudgetSpent):
        decide_images(Refusing(small), samples.images.repeat(2, axis=0))
