"""Drift: few false alarms however long one watches, and an alarm soon after a shift."""

import numpy as np
import pytest
from scipy import stats

from db3.errors import ConfigError, DataError
from db3.gate.watch import Watch


def scores(random: np.random.Generator, count: int, digits: int | None = None) -> np.ndarray:
    drawn = random.beta(8, 1, count)
    return drawn if digits is None else np.round(drawn, digits)


@pytest.mark.parametrize("digits", [None, 1])
def test_false_alarms_are_as_rare_as_promised_though_one_looks_after_every_image(digits: int | None) -> None:
    random, raised = np.random.default_rng(0), 0
    for number in range(100):
        watch = Watch(scores(random, 200, digits), 0.1, seed=number)
        watch.see(scores(random, 300, digits))
        raised += watch.alarm
    assert raised <= stats.binom.ppf(0.999, 100, 0.1)


@pytest.mark.parametrize("quiet", [0, 5000])
def test_a_shift_is_found_soon_whenever_it_comes(quiet: int) -> None:
    random = np.random.default_rng(1)
    watch = Watch(scores(random, 1000), 0.01)
    watch.see(scores(random, quiet))
    assert not watch.alarm
    watch.see(0.5 * scores(random, 500))
    assert watch.alarm_at is not None
    assert quiet < watch.alarm_at < quiet + 60
    assert watch.evidence >= 100
    assert "alarm at " in repr(watch)


def test_scores_that_are_too_sure_are_a_shift_too() -> None:
    random = np.random.default_rng(2)
    watch = Watch(scores(random, 1000))
    watch.see(np.full(300, 0.999))
    assert watch.alarm


def test_the_course_is_a_function_of_scores_and_seed_not_of_calls() -> None:
    random = np.random.default_rng(3)
    known, coming = scores(random, 100, 1), scores(random, 90, 1)
    whole, parts, other = Watch(known), Watch(known), Watch(known, seed=1)
    whole.see(coming)
    for part in np.array_split(coming, 7):
        parts.see(part)
    other.see(coming)
    assert whole.evidence == parts.evidence
    assert whole.evidence != other.evidence  # equal scores are ranked by other random numbers
    assert (whole.seen, whole.alarm_at) == (90, None)


def test_what_is_no_score_is_refused() -> None:
    with pytest.raises(DataError, match="0 held-out scores"):
        Watch(np.zeros(0))
    with pytest.raises(ConfigError, match="false_alarm is 0; expected"):
        Watch(np.ones(3), 0)
    watch = Watch(np.ones(3))
    with pytest.raises(DataError, match="a score is inf"):
        watch.see(np.array([0.5, np.inf]))
    assert watch.seen == 0
