"""Choosing a gate: the promise is kept as often as it says; what cannot be promised is told."""

import numpy as np
import pytest
from scipy import stats

from db3.errors import ConfigError, DataError, Db3Error
from db3.gate.choose import choose_gate, fit_gate, least_images


def wrong_above(threshold: float) -> float:
    """Share of disagreements among scores above it, for scores uniform on 0 … 1 that err as `drawn` does."""
    grid = np.linspace(threshold, 1, 4001)
    return float((0.5 * np.exp(-7.5 * grid) + 0.0015).mean())


def drawn(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    scores = random.random(count)
    return scores, random.random(count) >= 0.5 * np.exp(-7.5 * scores) + 0.0015


def misses(promise: float, held_out: int, splits: int = 200, digits: int | None = None) -> tuple[float, float]:
    """How often a gate's promise is broken, and the mean coverage; `digits` rounds scores, so that they tie."""
    random, broken, coverage = np.random.default_rng(5), 0, 0.0
    for _ in range(splits):
        scores, agrees = drawn(random, held_out)
        scores = scores if digits is None else np.round(scores, digits)
        try:
            gate = choose_gate(scores, agrees, promise)
        except Db3Error:
            continue
        half = 0.0 if digits is None else 0.5 * 10.0**-digits
        broken += wrong_above(min(max(gate.threshold - half, 0), 0.999)) > 1 - promise
        coverage += gate.coverage
    return broken / splits, coverage / splits


# Of 200 splits more would be broken once in a thousand, were the rate 0.05.
LIMIT = stats.binom.ppf(0.999, 200, 0.05) / 200


@pytest.mark.parametrize(("promise", "held_out"), [(0.99, 6000), (0.95, 400), (0.9, 60)])
def test_the_promise_is_broken_no_oftener_than_it_may(promise: float, held_out: int) -> None:
    broken, coverage = misses(promise, held_out)
    assert broken <= LIMIT
    assert coverage > 0.1


def test_tied_scores_are_answered_or_left_together() -> None:
    broken, coverage = misses(0.95, 400, digits=1)
    assert broken <= LIMIT
    assert coverage > 0.3
    scores = np.array([0.9] * 500 + [0.5] * 500)
    gate = choose_gate(scores, np.arange(1000) < 500)
    assert (gate.coverage, gate.agreed) == (0.5, 1)
    assert gate.answers(np.array([0.5, 0.5000001, 0.9, np.nan])).tolist() == [False, True, True, False]


def test_a_gate_answers_the_share_of_held_out_images_that_it_says() -> None:
    scores, agrees = drawn(np.random.default_rng(1), 6000)
    gate = choose_gate(scores, agrees, 0.99)
    answered = gate.answers(scores)
    assert answered.mean() == gate.coverage
    assert agrees[answered].mean() == pytest.approx(gate.agreed)
    assert gate.held_out == 6000
    assert np.array_equal(gate.answers(scores.astype(np.float32)), answered)  # to the last image, whatever the type


def test_a_student_that_always_agrees_answers_everything() -> None:
    gate = choose_gate(np.linspace(0.1, 1, 299), np.ones(299, bool), 0.99, 0.95)
    assert (gate.coverage, gate.threshold, least_images(0.99, 0.95)) == (1, 0, 299)


def test_what_the_data_cannot_promise_is_told_with_what_it_would_take() -> None:
    with pytest.raises(Db3Error, match=r"120 decided images cannot promise 0.99 .* expected 299 or more .* 179 more"):
        choose_gate(np.linspace(0, 1, 120), np.ones(120, bool))
    with pytest.raises(Db3Error, match="more images would not change that; promise less"):
        choose_gate(np.linspace(0, 1, 3000), np.arange(3000)[::-1] % 10 > 0)
    one_wrong = np.arange(400) != 380  # one disagreement among the surest
    with pytest.raises(Db3Error, match=r"about [\d,]+ held out would") as raised:
        choose_gate(np.linspace(0, 1, 400), one_wrong)
    needed = int(str(raised.value).partition("about ")[2].partition(" held")[0].replace(",", ""))
    repeats = -(-needed // 400)
    enough = choose_gate(np.tile(np.linspace(0, 1, 400), repeats), np.tile(one_wrong, repeats))
    assert enough.coverage > 0.5


def test_what_is_no_score_and_no_share_is_refused() -> None:
    with pytest.raises(ConfigError, match="agreement is 99; expected a number between 0 and 1"):
        choose_gate(np.ones(3), np.ones(3, bool), 99.0)
    with pytest.raises(DataError, match=r"a score is 3\.5; expected the largest probability"):
        choose_gate(np.full(400, 3.5), np.ones(400, bool))
    with pytest.raises(DataError, match="a score is nan"):
        choose_gate(np.full(400, np.nan), np.ones(400, bool))
    with pytest.raises(DataError, match="3 scores beside 2 agreements"):
        choose_gate(np.ones(3), np.ones(2, bool))


def test_fit_gate_takes_probabilities_and_decisions() -> None:
    random = np.random.default_rng(4)
    sure = 0.34 + 0.65 * random.random(3000)
    probabilities = np.stack([sure, (1 - sure) / 2, (1 - sure) / 2], axis=1)
    decisions = np.where(random.random(3000) < 0.3 * (1 - sure), 1, 0)
    gate = fit_gate(probabilities, decisions, 0.95)
    assert gate == choose_gate(sure, decisions == 0, 0.95, temperature=gate.temperature)
    assert gate.temperature < 0.9  # it agrees far oftener than it says
