"""Means, shares and histograms against plain loops."""

from pathlib import Path

import numpy as np
import pytest

from db3.report import boundaries
from db3.report.boundaries import asked_histogram, class_distances, descent
from db3.report.run import Run
from flows.report import read_run


@pytest.fixture
def run(write_run, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: ANN001
    """A run read in blocks of a few rows, with a share of unreached pairs."""
    monkeypatch.setattr(boundaries, "_BLOCK", 70)
    return read_run(write_run(count=60, unreached=0.1))


def test_class_means_equal_a_plain_loop(run: Run) -> None:
    told = class_distances(run)
    unreached = 0
    for m in range(10):
        for k in range(10):
            values = np.asarray(run.distances)[np.asarray(run.decisions) == m, k].astype(np.float64)
            unreached += int(np.isinf(values).sum())
            finite = values[np.isfinite(values)]
            if m != k and len(finite):
                assert told.mean[m, k] == pytest.approx(finite.mean(), rel=1e-12)
            else:
                assert np.isnan(told.mean[m, k])
    assert told.unreached == unreached > 0
    assert told.pairs == 60 * 9


def test_a_class_never_reached_is_a_wall_and_an_empty_row_is_not(write_run) -> None:  # noqa: ANN001
    data: Path = write_run(count=40, unreached=0.0)
    distances, decisions = np.load(data / "decisions/distances.npy"), np.load(data / "transfer/decisions.npy")
    distances[decisions == 2, 5] = np.inf
    np.save(data / "decisions/distances.npy", distances)
    np.save(data / "transfer/decisions.npy", np.where(decisions == 9, 8, decisions))
    told = class_distances(read_run(data))
    assert np.isnan(told.mean[2, 5])
    assert told.samples[9] == 0
    assert told.walls == 1


def test_descent_falls_and_averages_the_same_pairs(run: Run) -> None:
    points = descent(run)
    assert [point.queries for point in points] == [10, 50, 100]
    finite = np.isfinite(run.distances) & (np.asarray(run.decisions)[:, None] != np.arange(10))
    assert points[-1].distance == pytest.approx(np.asarray(run.distances)[finite].mean(dtype=np.float64), rel=1e-9)
    assert points[0].distance > points[1].distance > points[2].distance
    assert points[0].reached == pytest.approx(finite.sum() / (60 * 9))


def test_descent_ignores_pairs_that_the_first_point_had_not_reached(write_run) -> None:  # noqa: ANN001
    data: Path = write_run(count=20, unreached=0.0)
    at = np.load(data / "decisions/distances_at.npy")
    at[0, :10] = np.inf
    np.save(data / "decisions/distances_at.npy", at)
    points = descent(read_run(data))
    decisions = np.load(data / "transfer/decisions.npy")[10:, None]
    late = at[1, 10:][decisions != np.arange(10)]
    assert points[0].reached == 0.5
    assert points[1].reached == 1
    assert points[1].distance == pytest.approx(late.mean(dtype=np.float64), rel=1e-6)


def test_asked_counts_every_pair_once(run: Run) -> None:
    told = asked_histogram(run)
    asked = np.asarray(run.asked)[np.asarray(run.decisions)[:, None] != np.arange(10)]
    assert told is not None
    assert sum(told.counts) == len(asked) == 540
    assert told.mean == pytest.approx(asked.mean())
    assert told.counts == np.histogram(asked, bins=np.array(told.edges) - 0.5)[0].tolist()
    assert len(told.counts) <= 20


def test_equal_numbers_of_queries_need_no_histogram(write_run) -> None:  # noqa: ANN001
    data: Path = write_run(count=20)
    np.save(data / "decisions/asked.npy", np.full((20, 10), 7, dtype=np.int32))
    assert asked_histogram(read_run(data)) is None
