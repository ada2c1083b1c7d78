"""Rounds against analytic teachers: what is asked, counted, chosen, repeated and refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from db3.errors import ConfigError, DataError, TeacherError
from db3.images.priors import prior_images
from db3.teachers.adapters.batching import Batching
from db3.teachers.budget import Budget
from db3.teachers.decide import decide_all
from db3.testing.analytic import Brightest, HalfSpace
from db3.zero_shot.rounds import PRIOR, REAL, SOURCES, VARIATION, Gathered, RoundSettings, fresh_share, gather

SHAPE = (1, 8, 8)
TINY = RoundSettings(count=3, pool=3, steps=8, batch=16, architecture="compact")


def _quarters() -> Budget:
    """Four classes: which quarter of the image is brightest."""
    rows = torch.arange(8) // 4
    return Budget(Batching(Brightest((rows[:, None] * 2 + rows)[None])))


def _gather(teacher: Budget, budget: int = 120, **arguments: object) -> Gathered:
    settings = arguments.pop("settings", TINY)
    return gather(teacher, budget, settings, **arguments)


@pytest.mark.parametrize("budget", [4, 5, 120, 131])
def test_the_budget_is_spent_exactly_and_decisions_are_the_teachers(budget: int) -> None:
    teacher = _quarters()
    told: list[int] = []
    found = _gather(teacher, budget, on_asked=told.append)
    assert found.asked == budget == teacher.costs.asked == sum(told)
    assert found.images.dtype == np.uint8
    assert found.images.shape == (budget, *SHAPE)
    assert np.array_equal(decide_all(_quarters(), found.images, 64), found.decisions)


def test_the_same_bytes_on_rerun_and_however_calls_are_packed() -> None:
    first = _gather(_quarters(), seed=3)
    rows = torch.arange(8) // 4
    other = Budget(Batching(Brightest((rows[:, None] * 2 + rows)[None], max_batch=7)))
    second = _gather(other, seed=3)
    for name in ("images", "decisions", "rounds", "sources"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert not np.array_equal(_gather(_quarters(), seed=4).images, first.images)


def test_provenance_says_which_images_are_priors() -> None:
    found = _gather(_quarters())
    start = found.rounds == 0
    assert start.sum() == 18
    assert (found.sources[start] == PRIOR).all()
    assert np.array_equal(found.images[start], prior_images(SHAPE, range(18), 0))
    assert found.rounds.max() == 3
    for number in (1, 2, 3):
        kinds = found.sources[found.rounds == number]
        assert len(kinds) == 34
        assert (kinds == VARIATION).sum() == 17
    assert found.proposed == 18 + 3 * 102
    assert len(found.foretold) == 3
    assert [SOURCES[place] for place in (REAL, PRIOR, VARIATION)] == ["real", "prior", "variation"]


def test_what_the_surrogate_foretells_is_told_by_round() -> None:
    """Which quarter is brightest is soon learnt; a coin that each image tosses is not."""

    class Coin(Brightest):
        def decide(self, images: torch.Tensor) -> torch.Tensor:
            return (images * 255).round().long().flatten(1).sum(dim=1) % 2

    rows = torch.arange(8) // 4
    quarters = (rows[:, None] * 2 + rows)[None]
    longer = replace(TINY, steps=60)
    learnt = _gather(Budget(Batching(Brightest(quarters))), 600, settings=longer).foretold
    guessed = _gather(Budget(Batching(Coin(quarters))), 600, settings=longer).foretold
    assert learnt[-1] > 0.75
    assert 0.35 < guessed[-1] < 0.65


def test_real_images_come_first_and_no_more_than_their_share() -> None:
    real = prior_images(SHAPE, range(1000, 1010), 1)
    found = _gather(_quarters(), real=real)
    assert (found.sources == REAL).sum() == 10
    assert np.array_equal(found.images[:10], real)
    many = prior_images(SHAPE, range(1000, 1300), 1)
    found = _gather(_quarters(), real=many)
    assert (found.sources == REAL).sum() == 60
    assert {image.tobytes() for image in found.images[:60]} <= {image.tobytes() for image in many}


def test_few_real_images_are_mixed_with_priors_and_many_are_not() -> None:
    assert [fresh_share(real) for real in (0.0, 10.0, 90.0)] == [0.5, 0.25, 0.05]

    def priors(real: int) -> int:
        found = _gather(_quarters(), real=prior_images(SHAPE, range(1000, 1000 + real), 1))
        return int((found.sources == PRIOR).sum())

    assert 0 < priors(50) < priors(8)
    alone = _gather(_quarters(), real=prior_images(SHAPE, range(1000, 1008), 1), settings=replace(TINY, fresh=0.0))
    assert (alone.sources == PRIOR).sum() == 0


def test_a_second_class_is_looked_for_in_half_of_the_budget() -> None:
    """One class in the first share is not yet a constant teacher."""

    class Late(Brightest):
        told = 0  # images so far; to the first 40 it answers class 0

        def decide(self, images: torch.Tensor) -> torch.Tensor:
            self.__dict__["told"] = self.told + len(images)
            return super().decide(images) * (self.told > 40)

    rows = torch.arange(8) // 4
    found = _gather(Budget(Late((rows[:, None] * 2 + rows)[None])))
    assert (found.rounds == 0).sum() == 54
    assert len(set(found.decisions.tolist())) == 4


def test_classes_are_balanced_by_the_rounds() -> None:
    """A teacher that says class 0 nine times in ten: rounds find more of the rest than chance does."""
    normal = torch.zeros(SHAPE)
    normal[:, :4], normal[:, 4:] = 1.0, -1.0
    teacher = Budget(Batching(HalfSpace(normal, 14.0)))
    settings = replace(TINY, steps=60, pool=6)
    found = _gather(teacher, 600, settings=settings)
    start = found.decisions[found.rounds == 0]
    later = found.decisions[found.rounds > 0]
    assert start.mean() < 0.2
    assert later.mean() > 1.5 * start.mean()


def test_a_class_that_is_never_said_is_reported_and_the_others_go_on() -> None:
    areas = torch.zeros(SHAPE, dtype=torch.int64)
    areas[:, :4] = 1
    areas[0, 7, 7] = 2

    class Silent(Brightest):
        def _decide(self, points: torch.Tensor) -> torch.Tensor:
            return super()._decide(points).clamp(max=1)

    found = _gather(Budget(Batching(Silent(areas))))
    assert found.missing == (2,)
    assert found.asked == 120
    assert set(found.decisions.tolist()) == {0, 1}


def test_a_constant_teacher_is_refused_before_the_budget_is_spent() -> None:
    teacher = Budget(Batching(HalfSpace(torch.ones(SHAPE), 1e6)))
    with pytest.raises(TeacherError, match=r"decided class 0 for all of the first 72 images; expected two classes"):
        _gather(teacher)
    assert teacher.costs.asked == 72


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"budget": 3}, ConfigError, "budget is 3 queries for 4 classes"),
        ({"real": np.zeros((3, 1, 9, 8), np.uint8)}, DataError, r"shape \[1, 9, 8\], the teacher's \[1, 8, 8\]"),
        ({"real": np.zeros((0, 1, 8, 8), np.uint8)}, DataError, "no real image"),
    ],
)
def test_bad_input_is_refused_before_anything_is_asked(
    change: dict[str, object], error: type[Exception], match: str
) -> None:
    teacher = _quarters()
    with pytest.raises(error, match=match):
        _gather(teacher, **change)
    assert teacher.costs.asked == 0


@pytest.mark.parametrize(("change", "match"), [({"fresh": 1.5}, "fresh is 1.5"), ({"count": 0}, "count is 0")])
def test_settings_out_of_range_are_refused(change: dict[str, float], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        replace(TINY, **change)


def test_colour_images() -> None:
    normal = torch.ones(3, 8, 8)
    normal[1:] = -0.5
    teacher = Budget(Batching(HalfSpace(normal, 0.0)))
    found = gather(teacher, 60, TINY)
    assert found.images.shape == (60, 3, 8, 8)
    assert found.missing == ()
