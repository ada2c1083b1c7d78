"""Does a student that learns from boundary distances inherit them?

For test images that both decide alike, the white-box minimum to every other class is sought on the student and on the
teacher (`benchmarks.whitebox`; the gradients are looked at for this measure alone). `rank_images`: Spearman's
correlation, over images, of the distance to the nearest boundary. `rank_classes`: over an image's other classes, which
is nearer, averaged over images. `ratio`: the median of student's distance / teacher's, over all pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.studies import pictures
from benchmarks.studies.shared import (
    CALL,
    Row,
    Setting,
    Study,
    as_teacher,
    local_problem,
    scored,
    search,
    trained,
    variants,
)
from benchmarks.whitebox import WhiteBox, whitebox_minimum
from db3.extras import needs
from db3.pixels import to_floats
from db3.rng import Purpose, permutation
from db3.search.ledger import Pairs
from db3.search.minimal_perturbation import Steps
from db3.search.starts import nearest_starts
from db3.teachers.decide import decide_all

KINDS = ("hard", "smoothing", "margin", "inverse", "student", "augmented", "kd")
_STEPS = Steps(40)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Measured:
    """Images whose distances are sought, and a pool of start samples for that."""

    images: Array
    pool: Array
    classes: int


def run(setting: Setting) -> Iterator[Row]:
    problem = local_problem(setting)
    assert problem.network is not None  # noqa: S101 - a local teacher has one
    order = permutation(len(problem.tested.images), 0, Purpose.BENCHMARK, "margins")
    images = np.array(problem.tested.images[np.array(order[: setting.measured])])
    measured = Measured(images, problem.images, problem.teacher.spec.classes)
    decided, own = distances(problem.network, measured)
    kinds = setting.chosen(KINDS)
    for student in trained(problem, variants(search(problem, kinds), kinds)):
        told, found = distances(student.network, measured)
        alike = told == decided
        yield {**scored(problem, student), "images": int(alike.sum()), **compared(own[alike], found[alike])}


def distances(network: nn.Module, measured: Measured) -> tuple[Array, Array]:
    """The network's decisions, and its distance to each class [n, K]: 0 at the decision, +inf where none was found."""
    classes, shape = measured.classes, measured.images.shape[1:]
    teacher = as_teacher(network, classes, shape, levels=0)
    decided = decide_all(teacher, measured.images, CALL)
    pooled = decide_all(teacher, measured.pool, CALL)
    index, _ = nearest_starts(measured.images, measured.pool, pooled, classes, 1)
    rows, targets = np.nonzero(np.arange(classes)[None] != decided[:, None])
    flat = to_floats(measured.images).flatten(1)
    starts = to_floats(measured.pool).flatten(1)[torch.from_numpy(index[rows, targets, 0])]
    pairs = Pairs(*(flat[rows], *(torch.from_numpy(part) for part in (decided[rows], targets, rows)), shape))
    found = whitebox_minimum(WhiteBox(network, shape), teacher, pairs, starts[:, None], _STEPS)
    result = np.zeros((len(decided), classes))
    result[rows, targets] = found.numpy()
    return decided, result


def compared(own: Array, found: Array) -> Row:
    """A student's distances [n, K] against the teacher's of the same images, which both decide alike."""
    pairs = (own > 0) & np.isfinite(own) & np.isfinite(found)
    nearest = [np.where(part > 0, part, np.inf).min(axis=1) for part in (own, found)]
    by_classes = [_rank(a[kept], b[kept]) for a, b, kept in zip(own, found, pairs, strict=True) if kept.sum() > 2]
    return {
        "rank_images": _rank(*nearest),
        "rank_classes": float(np.mean(by_classes)) if by_classes else 0.0,
        "ratio": float(np.median(found[pairs] / own[pairs])) if pairs.any() else 0.0,
    }


def _rank(a: Array, b: Array) -> float:
    """Spearman's correlation; 0 where one of the two does not vary."""
    with needs("vision", "a rank correlation"):
        from scipy.stats import spearmanr  # noqa: PLC0415 - an extra

    varied = len(a) > 1 and np.ptp(a) > 0 and np.ptp(b) > 0
    return float(spearmanr(a, b).statistic) if varied else 0.0


def draw(figure: Any, rows: list[Row]) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    series = {row["kind"]: row for row in rows}
    measures = ("rank_images", "rank_classes")
    for place, (kind, row) in enumerate(series.items()):
        at = [number + (place - (len(series) - 1) / 2) * 0.11 for number in range(len(measures))]
        heights, spread = ([row[name][part] for name in measures] for part in ("mean", "sd"))
        colour, label = pictures.COLOURS[kind], pictures.NAMES.get(kind, kind)
        left.bar(at, heights, 0.11, yerr=spread, capsize=2, color=colour, label=label)
        right.barh(place, row["ratio"]["mean"], xerr=row["ratio"]["sd"], capsize=2, color=colour)
    left.set_xticks(range(len(measures)), ("nearest boundary,\nover images", "which class is nearer,\nwithin an image"))
    pictures.finish(left, ylabel="Spearman's correlation with the teacher", ylim=(0, 1.2))
    # Above the bars.
    left.legend(frameon=False, fontsize=7, ncols=3, loc="upper center", handlelength=1.2, columnspacing=1)
    right.axvline(1, color="0.3", linewidth=0.8)
    right.set_yticks(range(len(series)), [pictures.NAMES.get(kind, kind) for kind in series], fontsize=8)
    right.invert_yaxis()
    right.set_xlabel("ratio of distances")


STUDY = Study(
    "Does a student that learns from boundary distances inherit them?",
    ("kind",),
    ("agreement", "rank_images", "rank_classes", "ratio"),
    run,
    draw,
)
