"""Training curves: loss by step for each variant, the mean over its seeds."""

import math
from collections.abc import Sequence

from db3.report.run import Loss

POINTS = 80  # a curve's points: what a small panel can show


def mean_losses(losses: Sequence[Loss]) -> dict[str, list[tuple[float, float]]]:
    """For each variant, (step, mean loss): over its seeds, then over runs of neighbouring steps down to `POINTS`.

    Losses that are no finite number (a diverged student) are left out.
    """
    sums: dict[str, dict[int, tuple[float, int]]] = {}
    for row in filter(lambda row: math.isfinite(row.loss), losses):
        steps = sums.setdefault(row.variant, {})
        total, count = steps.get(row.step, (0.0, 0))
        steps[row.step] = (total + row.loss, count + 1)
    return {
        variant: _thin([(step, total / count) for step, (total, count) in sorted(steps.items())])
        for variant, steps in sums.items()
    }


def _thin(points: list[tuple[int, float]]) -> list[tuple[float, float]]:
    size = -(-len(points) // POINTS)
    groups = (points[start : start + size] for start in range(0, len(points), size))
    return [(sum(s for s, _ in group) / len(group), sum(v for _, v in group) / len(group)) for group in groups]
