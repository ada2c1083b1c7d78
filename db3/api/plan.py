"""How a number of queries is spent: the rule by which `distill` sets what nobody has set.

* No images: prior images and variations of them, chosen round by round, are asked; teacher assistants label more.
* Images, and queries for no more than these: the images themselves are asked, spread over all.
* Images, and queries to spare: the rest goes to variations of them, chosen round by round. Measured on MNIST, LeNet5 to
  LeNet5-Half, 1,000 images: rounds reach 98.9 % at 25 queries an image, where boundary searches reach 98.8 at 144
  (docs/benchmarks/students.md); `settings={"samples.method": "real", "query.method": "auto"}` searches all the same.

A part of the images is asked and held out, to measure the student's agreement with the teacher: a fifth of them, 1,000
at most; where there are none, a tenth of the queries for made images of another seed, likewise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db3.errors import ConfigError
from db3.search.catalogue import WITH_SURROGATES, resolve_search
from db3.search.plan import plan_queries
from db3.search.surrogate.surrogate import surrogates_of
from db3.settings.declare import build, names_of, settings
from db3.settings.samples import ROUNDED, SampleSettings
from db3.settings.search import Query
from db3.settings.soft_labels import SoftLabelSettings
from db3.settings.training import DistillSettings
from db3.teachers.base import TeacherSpec

_HELD = 1000  # images at most; 95 % of intervals are then within 2 points at an agreement of 90 %


@settings
class RunSettings:
    """All that decides a student, by the names of the pipeline's parameters."""

    samples: SampleSettings = SampleSettings()
    query: Query = Query(method="none", budget=0, augmented=0)
    soft_labels: SoftLabelSettings = SoftLabelSettings()
    distill: DistillSettings = DistillSettings()


@dataclass(frozen=True)
class Plan:
    """What a run asks, and how.

    Attributes:
        settings: all parameters.
        held_out: images that are asked to measure agreement by.
        samples: images asked to learn from, searches apart.
        searches: images that the boundary searches may ask.
    """

    settings: RunSettings
    held_out: int
    samples: int
    searches: int

    @property
    def queries(self) -> int:
        """Images that may be asked in all."""
        return self.held_out + self.samples + self.searches


def plan_distillation(
    spec: TeacherSpec,
    images: int | None,
    queries: int,
    *,
    student: str = "auto",
    held_out: int | None = None,
    apart: bool = False,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """How so many queries are spent.

    Args:
        spec: of the teacher.
        images: how many there are; None: none, they are made.
        queries: images asked at most.
        student: a name that `db3.build_network` knows; auto: by the images' shape and the number of classes.
        held_out: images asked to measure agreement by; None: as above.
        apart: whether these are others than `images`.
        seed: of draws, made images, surrogates and students.
        settings: parameters by their dotted names, in place of what the rule sets: `{"query.method": "mbd"}`.

    Raises:
        ConfigError: too few queries, or a parameter that does not exist or does not fit.
    """
    if type(queries) is not int or queries < 1:
        raise ConfigError(f"queries is {queries!r}; expected how many images may be asked, 1 or more")
    held = _held(images, queries) if held_out is None else held_out
    left = None if images is None else images if apart else images - held
    if held < 0 or (left is not None and left < 2):
        raise ConfigError(
            f"{images} images, of which {held} are held out: expected two or more to learn from; lower held_out"
        )
    rest = queries - held
    if rest < max(2, spec.classes):
        raise ConfigError(
            f"{queries} queries, of which {held} go to images held out: expected {held + max(2, spec.classes)} or "
            "more, one for each class at least: raise queries, or lower held_out"
        )
    chosen = _merged(_rule(left, rest, student, seed), settings or {})
    found = build(RunSettings, chosen)
    samples = _samples(found, left)
    plan = Plan(found, held, samples, _searches(found, spec, samples))
    if plan.queries > queries:
        raise ConfigError(
            f"{queries} queries, but {plan.held_out:,} held out, {plan.samples:,} samples and {plan.searches:,} for "
            f"searches make {plan.queries:,}: raise queries, or lower query.budget or samples.count"
        )
    return plan


def _held(images: int | None, queries: int) -> int:
    return min(_HELD, queries // 10) if images is None else min(_HELD, images // 5, queries // 5)


def _samples(found: RunSettings, left: int | None) -> int:
    if found.samples.method in ROUNDED:
        return found.samples.budget or 0
    return (left or 0) if found.samples.count is None else found.samples.count


def _searches(found: RunSettings, spec: TeacherSpec, samples: int) -> int:
    search = resolve_search(found.query, found.samples.method)
    surrogate = surrogates_of(found.query) if search.method in WITH_SURROGATES else None
    return plan_queries(search, samples, spec.classes, surrogate, 0, found.query.variations).maximum


def _rule(left: int | None, rest: int, student: str, seed: int) -> dict[str, Any]:
    made = left is None or rest > left
    method = "priors" if left is None else "augmented" if made else "real"
    samples = {
        **{"method": method, "seed": seed, "missing_classes": "allow"},
        **{"count": left if made else rest, "budget": rest if made else None},
    }
    learnt = {
        **{"architecture": student, "steps": "auto", "balance": 0.5 if made else 0.0},
        **{"baselines": [], "curve": False},
        **({"arithmetic": "float32"} if student.startswith("timm/") else {}),  # they have no exact twins
        **({"assistants": {"networks": 2}} if left is None else {}),
    }
    return {"samples": samples, "query": {"method": "none", "budget": 0, "seed": seed}, "distill": learnt}


def _merged(rule: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The rule's parameters with those given in their place; a group given replaces all that the rule says of it."""
    known = names_of(RunSettings)
    for name, value in given.items():
        if name not in known:
            build(RunSettings, {name: value})  # names the nearest one
        *groups, last = name.split(".")
        place = rule
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return rule
