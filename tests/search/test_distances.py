"""The whole of a search: distances, queries and journals of any samples, whatever the cut."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db3.errors import DataError
from db3.search import Distances, SearchSettings, TransferImages, replay_distances, search_distances
from db3.settings.search import MethodName
from db3.teachers.adapters.batching import Batching
from db3.teachers.budget import Budget
from tests.search.conftest import RealTeacher
from tests.search.problems import (
    COLOUR,
    GREY,
    SMALL,
    TEACHERS,
    Constant,
    Recording,
    brightest,
    half_space,
    pool,
    shells,
    truth,
)

MBD = SearchSettings("mbd", budget=60, starts=2, checkpoints=(10, 40), points=2, queried_images=9)
LISTS = ("answers", "points", "point_pairs", "queried_images", "queried_decisions", "queried_keys")
FLAT = ("unfinished", "starts", "start_distances")
FIELDS = ("distances", "asked", "at", *LISTS[1:], *FLAT)


def _joined(parts: list[Distances]) -> Distances:
    """Parts of consecutive samples as one."""
    return Distances(
        np.concatenate([part.distances for part in parts]),
        np.concatenate([part.asked for part in parts]),
        np.concatenate([part.at for part in parts], axis=1),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in (*LISTS, *FLAT)),
    )


def _same(one: Distances, other: Distances) -> bool:
    """Bit for bit."""
    return all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in FIELDS)


@pytest.mark.parametrize("name", ["half-space", "shells", "brightest"])
@pytest.mark.parametrize("size", [1, 7])
def test_any_cut_into_rows_gives_the_same_bits(name: str, size: int) -> None:
    teacher = TEACHERS[name]()
    images = pool(teacher, 30)
    whole = search_distances(teacher, images, range(10), MBD)
    rows = [range(start, min(start + size, 10)) for start in range(0, 10, size)]
    parts = {part: search_distances(teacher, images, part, MBD) for part in reversed(rows)}
    assert _same(whole, _joined([parts[part] for part in rows]))


@pytest.mark.parametrize("method", ["bd", "mbd"])
def test_packing_changes_no_bit_of_a_real_networks_search(
    real_teacher: RealTeacher, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """LeNet5 behind Batching: other blocks and other rows put every image into another place beside others."""
    teacher, images = real_teacher.teacher, real_teacher.pool
    asked = replace(MBD, method=method, budget=45)
    whole = search_distances(teacher, images, range(6), asked)
    single = _joined([search_distances(teacher, images, range(row, row + 1), asked) for row in range(6)])
    assert _same(whole, single)
    monkeypatch.setattr(sys.modules["db3.search.blocks"], "_PAIRS_PER_SEARCH", 20)
    assert _same(whole, search_distances(teacher, images, range(6), asked))


@pytest.mark.parametrize("max_batch", [1, 7, 4096])
def test_the_call_shape_of_an_analytic_teacher_changes_nothing(max_batch: int) -> None:
    teacher = brightest()
    images = pool(teacher, 30)
    whole = search_distances(teacher, images, range(4), MBD)
    other = search_distances(Batching(replace(teacher, max_batch=max_batch)), images, range(4), MBD)
    assert _same(whole, other)
    assert np.array_equal(whole.answers, other.answers)


@pytest.mark.parametrize("method", ["sd", "bd", "mbd"])
@pytest.mark.parametrize("budget", [0, 1, 10, 35])
def test_budgets_are_kept_and_every_query_is_counted(method: str, budget: int) -> None:
    teacher = Recording(brightest(GREY, 5))
    images = pool(teacher, 40)
    teacher.calls.clear()
    found = search_distances(teacher, images, range(10), SearchSettings(method, budget=budget, starts=2))
    assert found.asked.max() <= budget
    assert found.asked.sum() == teacher.asked == len(found.answers)
    assert (found.asked[np.arange(10), images.decisions[:10]] == 0).all()
    if method == "sd" or budget == 0:
        nearest = search_distances(teacher, images, range(10), SearchSettings("sd")).distances
        assert np.array_equal(found.distances, nearest)
        assert teacher.asked == 0


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(TEACHERS)),
    method=st.sampled_from(["bd", "mbd", "hopskipjump", "semicircle"]),
    budget=st.integers(0, 50),
    starts=st.integers(1, 4),
    directions=st.integers(1, 30),
    tolerance=st.sampled_from([1e-9, 1e-3, 0.01, 0.3, 0.999]),
    smoothing=st.sampled_from([1e-6, 0.01, 0.1, 2.0]),
    step=st.sampled_from([1e-4, 0.2, 1.0, 50.0]),
    cell=st.integers(1, 5),
    seed=st.integers(0, 2**63 - 1),
)
def test_no_setting_breaks_a_budget_a_bound_or_the_truth(
    name: str,
    method: MethodName,
    budget: int,
    starts: int,
    directions: int,
    tolerance: float,
    smoothing: float,
    step: float,
    cell: int,
    seed: int,
) -> None:
    teacher = TEACHERS[name](SMALL)
    recording, images = Recording(teacher), pool(teacher, 20)
    chosen = SearchSettings(
        method,
        budget=budget,
        starts=starts,
        tolerance=tolerance,
        directions=directions,
        smoothing=smoothing,
        step=step,
        cell=cell,
        checkpoints=(5, 20),
        seed=seed,
    )
    found = search_distances(Budget(recording), images, range(5), chosen)
    assert found.asked.max(initial=0) <= budget
    assert found.asked.sum() == recording.asked
    assert (found.distances >= truth(teacher, images)[:5] * (1 - 1e-6)).all()
    nearest = search_distances(teacher, images, range(5), SearchSettings("sd")).distances
    assert (found.distances <= nearest * (1 + 1e-6)).all()


@pytest.mark.parametrize("method", ["bd", "mbd", "hopskipjump", "semicircle"])
def test_large_images_and_a_thousand_classes(method: MethodName) -> None:
    for teacher, count in ((brightest((3, 224, 224), 2), 4), (brightest((1, 32, 32), 1000), 3)):
        images = pool(teacher, count)
        found = search_distances(teacher, images, range(1), SearchSettings(method, budget=6, directions=2))
        assert found.distances.shape == (1, teacher.spec.classes)
        assert found.asked.max() <= 6
        assert np.isfinite(found.distances[0, images.decisions]).all()


def test_two_classes_and_many() -> None:
    for teacher in (half_space(), brightest(COLOUR, 20)):
        images = pool(teacher, 30)
        exact = truth(teacher, images)
        found = search_distances(teacher, images, range(3), SearchSettings("mbd", budget=25, directions=10, cell=1))
        assert found.distances.shape == found.asked.shape == (3, teacher.spec.classes)
        decided = np.isin(np.arange(teacher.spec.classes), images.decisions)
        assert np.isfinite(found.distances[:, decided]).all()
        assert np.isinf(found.distances[:, ~decided]).all()
        assert (found.distances >= exact[:3] * (1 - 1e-6)).all()


def test_the_decision_itself_is_at_distance_zero_and_not_asked() -> None:
    teacher = shells()
    images = pool(teacher, 40)
    found = search_distances(teacher, images, range(20), MBD)
    own = np.arange(4) == images.decisions[:20, None]
    assert (found.distances[own] == 0).all()
    assert (found.at[:, own] == 0).all()
    assert (found.asked[own] == 0).all()
    assert (found.distances[~own] > 0).all()
    assert (found.asked[~own] > 0).all()


def test_a_class_without_a_sample_stays_unreached_and_costs_nothing() -> None:
    teacher = brightest(GREY, 4)
    images = pool(teacher, 60)
    kept = images.decisions != 2
    images = TransferImages(images.images[kept], images.decisions[kept])
    found = search_distances(teacher, images, range(10), MBD)
    assert np.isinf(found.distances[:, 2]).all()
    assert np.isinf(found.at[:, :, 2]).all()
    assert (found.asked[:, 2] == 0).all()
    assert np.isfinite(found.distances[:, [0, 1, 3]]).all()


def test_of_a_constant_teacher_no_boundary_is_known() -> None:
    teacher = Constant(1)
    found = search_distances(teacher, pool(teacher, 10), range(10), MBD)
    assert found.asked.sum() == len(found.answers) == 0
    assert np.isinf(found.distances[:, [0, 2]]).all()
    assert (found.distances[:, 1] == 0).all()


def test_a_teacher_that_contradicts_its_recorded_decisions_ends_at_the_start_samples() -> None:
    """It never says again what it is recorded to have said: the recorded starts are all that is known."""
    recorded = pool(brightest(GREY, 3), 30)
    found = search_distances(Constant(5, classes=6), recorded, range(5), MBD)
    nearest = search_distances(Constant(5, classes=6), recorded, range(5), SearchSettings("sd")).distances
    assert np.array_equal(found.distances, nearest)
    assert found.asked.max() <= MBD.budget


def test_no_sample_gives_no_distance() -> None:
    teacher = brightest()
    found = search_distances(teacher, pool(teacher, 20), range(4, 4), MBD)
    assert found.distances.shape == (0, 4)
    assert found.at.shape == (2, 0, 4)
    assert len(found.answers) == 0


def test_results_do_not_depend_on_samples_that_are_no_start() -> None:
    """Only the nearest samples of a class matter: far ones may come and go behind the measured rows."""
    teacher = half_space()
    images = pool(teacher, 200)
    few = TransferImages(images.images[:60], images.decisions[:60])
    more = search_distances(teacher, images, range(10), replace(MBD, starts=1))
    less = search_distances(teacher, few, range(10), replace(MBD, starts=1))
    start = [search_distances(teacher, part, range(10), SearchSettings("sd")).distances for part in (few, images)]
    unchanged = start[0] == start[1]
    assert 0.2 < unchanged.mean() < 1
    assert np.array_equal(more.distances[unchanged], less.distances[unchanged])


def test_the_curve_of_bd_is_the_run_with_that_budget() -> None:
    teacher = brightest()
    images = pool(teacher, 40)
    method = SearchSettings("bd", budget=60, starts=3, checkpoints=(0, 1, 5, 12, 60, 99))
    found = search_distances(teacher, images, range(12), method)
    for at, budget in zip(found.at, method.checkpoints, strict=True):
        alone = search_distances(teacher, images, range(12), replace(method, budget=min(budget, 60), checkpoints=()))
        assert np.array_equal(at, alone.distances)
    assert np.array_equal(found.at[-1], found.distances)


def test_the_curve_of_mbd_falls_and_is_never_worse_than_the_run_with_that_budget() -> None:
    """A smaller budget leaves out the estimate it cannot pay whole; the longer run may have begun it by then."""
    teacher = shells()
    images = pool(teacher, 40)
    method = SearchSettings("mbd", budget=90, starts=2, checkpoints=(0, 10, 25, 50, 90))
    found = search_distances(teacher, images, range(12), method)
    assert (np.diff(found.at[:, np.isfinite(found.distances)], axis=0) <= 0).all()
    assert np.array_equal(found.at[-1], found.distances)
    for at, budget in zip(found.at, method.checkpoints, strict=True):
        alone = search_distances(teacher, images, range(12), replace(method, budget=budget, checkpoints=()))
        assert (at <= alone.distances).all()
        assert (at == alone.distances).mean() > 0.9


@pytest.mark.parametrize("method", ["sd", "bd", "mbd"])
def test_the_journal_alone_gives_the_same_bits(method: str) -> None:
    teacher = brightest(GREY, 5)
    images = pool(teacher, 40)
    asked = replace(MBD, method=method)
    found = search_distances(teacher, images, range(3, 12), asked)
    sealed = found.answers.astype(np.uint8)
    again = replay_distances(teacher.spec, images, range(3, 12), asked, sealed)
    assert _same(found, again)
    assert np.array_equal(found.answers, again.answers)


def test_a_journal_of_another_length_is_refused() -> None:
    teacher = brightest(GREY, 5)
    images = pool(teacher, 40)
    answers = search_distances(teacher, images, range(5), MBD).answers
    with pytest.raises(ValueError, match="the journal ends after"):
        replay_distances(teacher.spec, images, range(5), MBD, answers[:-1])
    with pytest.raises(ValueError, match="the journal holds 1 answers more"):
        replay_distances(teacher.spec, images, range(5), MBD, np.append(answers, 0))
    with pytest.raises(ValueError, match="the journal"):
        replay_distances(teacher.spec, images, range(4), MBD, answers)
    with pytest.raises(ValueError, match="the journal"):
        replay_distances(teacher.spec, images, range(5), replace(MBD, budget=59), answers)


def test_images_of_another_shape_than_the_teachers_are_refused() -> None:
    images = pool(half_space((1, 4, 16)), 10)
    with pytest.raises(DataError, match=r"the shape \[1, 4, 16\], the teacher's \[1, 8, 8\]"):
        search_distances(half_space(), images, range(5), MBD)


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, 0.5), (0.0, 255.0)])
def test_other_bounds_than_those_of_the_pixels_are_refused(bounds: tuple[float, float]) -> None:
    teacher = Constant(0)
    images = pool(teacher, 10)
    teacher.spec = replace(teacher.spec, bounds=bounds)
    with pytest.raises(DataError, match="but a search asks images in") as raised:
        search_distances(teacher, images, range(5), MBD)
    assert "\n" not in str(raised.value)


def test_no_search_asks_nothing_and_knows_no_distance_but_the_decisions_own() -> None:
    teacher = shells()
    images = pool(teacher, 20)
    found = search_distances(teacher, images, range(6), SearchSettings("none", budget=9, points=3, queried_images=5))
    assert found.asked.sum() == len(found.answers) == len(found.points) == len(found.queried_images) == 0
    own = np.arange(4) == images.decisions[:6, None]
    assert (found.distances[own] == 0).all()
    assert np.isinf(found.distances[~own]).all()
