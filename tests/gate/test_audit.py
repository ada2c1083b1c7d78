"""Audit: the promise is believed while it is kept, and soon no more when it is not."""

import numpy as np
import pytest
from scipy import stats

from db3.errors import ConfigError
from db3.gate.audit import Audit


def alarms(agreement: float, repeats: int, images: int) -> int:
    random, raised = np.random.default_rng(0), 0
    for _ in range(repeats):
        audit = Audit(0.99, 0.5, 0.1)
        audit.see(random.random(images) < agreement)
        raised += audit.alarm
    return raised


def test_a_promise_just_kept_raises_few_alarms_and_a_broken_one_many() -> None:
    assert alarms(0.99, 100, 1000) <= stats.binom.ppf(0.999, 100, 0.1)
    assert alarms(0.95, 20, 1000) == 20


def test_the_draw_is_a_function_of_the_seed_and_not_of_calls() -> None:
    whole, parts, other = Audit(0.99, 0.2), Audit(0.99, 0.2), Audit(0.99, 0.2, seed=1)
    drawn = whole.draw(1000)
    assert np.array_equal(drawn, np.concatenate([parts.draw(part) for part in (0, 1, 499, 500)]))
    assert not np.array_equal(drawn, other.draw(1000))
    assert 140 < drawn.sum() < 260


def test_what_is_no_share_is_refused() -> None:
    with pytest.raises(ConfigError, match="share is 0; expected a number between 0 and 1"):
        Audit(0.99, 0)
    audit = Audit(0.9)
    audit.see(np.array([True, True, False]))
    assert (audit.asked, audit.agreed, audit.alarm_at) == (3, 2, None)
    assert "2 of 3 agreed; 3 seen" in repr(audit)
