"""The exact binomial: how likely so few are, and the shares that a count allows. Python floats alone, no scipy."""

import math

from db3.errors import ConfigError

_TERMS = 2000  # of the continued fraction; it needs about the root of the larger count
_HALVINGS = 48  # of an interval of 1: to about 1e-14
_SMALLEST = 1e-300


def beta_share(x: float, a: int | float, b: int | float) -> float:
    """The regularised incomplete beta function I_x(a, b): the share of a Beta(a, b) distribution below x.

    By Lentz's continued fraction (Press et al., Numerical Recipes, section 6.4), to about 1e-13.

    Args:
        x: 0 … 1.
        a: above 0; so is b.
        b: see a.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(scale + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):  # where the fraction converges fast
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def binomial_tail(count: int, trials: int, share: float) -> float:
    """P(X ≤ count) of X ~ Binomial(trials, share)."""
    return 1.0 if count >= trials else beta_share(1 - share, trials - count, count + 1)


def clopper_pearson(count: int | float, trials: int | float, confidence: int | float = 0.95) -> tuple[float, float]:
    """The shares that `count` of `trials` allow: an interval that holds the true one with at least `confidence`.

    Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 1934. Counts may be fractions, as
    an effective number of trials is (Korn and Graubard, Survey Methodology 1998).

    Args:
        count: 0 … trials.
        trials: above 0.
        confidence: between 0 and 1; each side misses with half of what is left.

    Raises:
        ConfigError: a confidence or a count outside its range.
    """
    check_share("confidence", confidence)
    if not 0 <= count <= trials or trials <= 0:
        raise ConfigError(f"{count:g} of {trials:g} trials; expected 0 … trials, and more than 0 of these")
    tail = (1 - confidence) / 2
    low = _quantile(tail, count, trials - count + 1) if count > 0 else 0.0
    high = _quantile(1 - tail, count + 1, trials - count) if count < trials else 1.0
    return low, high


def check_share(name: str, value: int | float) -> None:
    """Refuse what does not lie strictly between 0 and 1.

    Raises:
        ConfigError: names the value.
    """
    if not 0 < value < 1:
        raise ConfigError(f"{name} is {value:g}; expected a number between 0 and 1, e.g. 0.95")


def _quantile(share: float, a: int | float, b: int | float) -> float:
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if beta_share(middle, a, b) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _fraction(x: float, a: int | float, b: int | float) -> float:
    upper, lower = 1.0, _away(1 - (a + b) * x / (a + 1))
    lower = 1 / lower
    value = lower
    for m in range(1, _TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            lower = 1 / _away(1 + term * lower)
            upper = _away(1 + term / upper)
            value *= upper * lower
        if abs(upper * lower - 1) < 1e-15:
            break
    return value


def _away(value: float) -> float:
    """Not zero, so that it can be divided by."""
    return value if abs(value) > _SMALLEST else _SMALLEST
