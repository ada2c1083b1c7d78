"""The exact binomial against scipy."""

import numpy as np
import pytest
from scipy import stats

from db3.errors import ConfigError
from db3.evaluation.binomial import beta_share, binomial_tail, clopper_pearson

RANDOM = np.random.default_rng(0)
CASES = [
    (int(RANDOM.integers(0, trials + 1)), trials, float(RANDOM.random() ** 3))
    for trials in (1, 2, 5, 30, 299, 4_000, 100_000)
    for _ in range(20)
]


def test_tails_are_scipys() -> None:
    for count, trials, share in CASES:
        assert binomial_tail(count, trials, share) == pytest.approx(stats.binom.cdf(count, trials, share), abs=1e-10)


def test_the_beta_distribution_at_its_ends_and_of_fractions() -> None:
    assert (beta_share(0.0, 2, 3), beta_share(1.0, 2, 3)) == (0, 1)
    for a, b, x in [(0.5, 0.5, 0.2), (11.3, 402.7, 0.03), (1e4, 3.5, 0.9995)]:
        assert beta_share(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-9)


@pytest.mark.parametrize(
    ("count", "trials", "confidence"), [(0, 10, 0.95), (10, 10, 0.95), (3, 40, 0.9), (985, 1000, 0.99)]
)
def test_intervals_are_scipys(count: int, trials: int, confidence: float) -> None:
    known = stats.binomtest(count, trials).proportion_ci(confidence, method="exact")
    assert clopper_pearson(count, trials, confidence) == pytest.approx((known.low, known.high), abs=1e-12)


def test_what_is_no_share_and_no_count_is_refused() -> None:
    with pytest.raises(ConfigError, match="confidence is 95; expected a number between 0 and 1"):
        clopper_pearson(1, 2, 95)
    with pytest.raises(ConfigError, match="3 of 2 trials"):
        clopper_pearson(3, 2)
    with pytest.raises(ConfigError, match="0 of 0 trials"):
        clopper_pearson(0, 0)
