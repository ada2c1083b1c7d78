"""How queries are spent where nothing is set."""

from typing import Any

import pytest

from db3.api.plan import Plan, plan_distillation
from db3.errors import ConfigError
from db3.teachers.base import TeacherSpec

SPEC = TeacherSpec((1, 28, 28), (0.0, 1.0), 10, 64, "no one")


def plan(images: int | None, queries: int, **more: Any) -> Plan:
    return plan_distillation(SPEC, images, queries, **more)


@pytest.mark.parametrize(
    ("images", "queries", "method", "held_out", "samples"),
    [
        (None, 10_000, "priors", 1000, 9000),
        (None, 500, "priors", 50, 450),
        (1000, 10_000, "augmented", 200, 9800),
        (60_000, 60_000, "real", 1000, 59_000),
        (60_000, 2_000, "real", 400, 1600),
        (100, 6_000, "augmented", 20, 5980),
    ],
)
def test_the_rule(images: int | None, queries: int, method: str, held_out: int, samples: int) -> None:
    found = plan(images, queries)
    assert found.settings.samples.method == method
    assert (found.held_out, found.samples, found.searches) == (held_out, samples, 0)
    assert found.queries <= queries


def test_a_search_instead() -> None:
    given = {"samples.method": "real", "samples.count": 100, "query.method": "bd", "query.budget": 5}
    found = plan(120, 5000, held_out=20, settings=given)
    assert (found.samples, found.searches) == (100, 100 * 9 * 5)
    every = plan(120, 5000, held_out=20, settings=given | {"samples.count": None})
    assert (every.samples, every.searches) == (100, 100 * 9 * 5)
    with pytest.raises(ConfigError, match=r"4,500 for searches make 4,620: raise queries, or lower query\.budget"):
        plan(120, 4000, held_out=20, settings=given)


@pytest.mark.parametrize(
    ("images", "queries", "more", "message"),
    [
        (50, 0, {}, "queries is 0; expected how many images may be asked"),
        (None, 10, {}, "10 queries, of which 1 go to images held out: expected 11 or more"),
        (5, 100, {"held_out": 4}, "5 images, of which 4 are held out: expected two or more to learn from"),
        (50, 100, {"held_out": -1}, "held out"),
        (50, 100, {"settings": {"qery.method": "bd"}}, r"qery\.method; did you mean"),
        (50, 100, {"settings": {"query.method": "mdb"}}, r"query\.method is 'mdb'.*did you mean mbd\?"),
        (50, 100, {"settings": {"distill.steps": 0}}, r"distill\.steps is 0; expected a whole number of 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(images: int | None, queries: int, more: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(images, queries, **more)


def test_images_apart_leave_all_images_to_learn_from() -> None:
    found = plan(50, 1000, held_out=300, apart=True)
    assert (found.settings.samples.count, found.held_out, found.samples) == (50, 300, 700)
