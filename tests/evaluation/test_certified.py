"""Certified agreement: the intervals hold as often as they say, and scores make them narrower."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from db3.errors import ConfigError, DataError
from db3.evaluation.certified import certify_agreement, choose_questions, draw_questions

AGREEMENT = 1 - 0.25 * (1 - np.exp(-18)) / 18 - 0.001


def drawn(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated scores and what came of them; 98.5 % agree."""
    wrong = 0.25 * np.exp(-18 * random.random(count)) + 0.001
    return 1 - wrong, random.random(count) >= wrong


def test_without_scores_it_is_clopper_and_pearsons_interval() -> None:
    agrees = np.arange(200) >= 3
    found = certify_agreement(agrees)
    known = stats.binomtest(197, 200).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    assert (found.estimate, found.asked, found.effective, found.method) == (0.985, 200, 200, "exact")
    assert "98.50% agreement, 95.68% to 99.69% with confidence 0.95 (200 questions, exact)" in str(found)


@pytest.mark.parametrize("asked", [100, 300])
def test_intervals_hold_and_chosen_questions_need_fewer(asked: int) -> None:
    random, held, widths = np.random.default_rng(7), np.zeros(3), np.zeros(3)
    repeats = 60
    for number in range(repeats):
        scores, agrees = drawn(random, 4000)
        rows, rest = np.arange(asked), np.arange(asked, 4000)
        questions = choose_questions(scores, asked, seed=number)
        found = [
            certify_agreement(agrees[rows]),
            certify_agreement(agrees[rows], scores=scores[rows], undecided=scores[rest]),
            certify_agreement(agrees[questions.rows], questions=questions),
        ]
        held += [one.low <= AGREEMENT <= one.high for one in found]
        widths += [one.width for one in found]
    # 0.95 is promised: fewer than 51 of 60 happen once in a thousand.
    assert (held >= 51).all(), held
    assert widths[2] < 0.8 * widths[0]
    assert widths[1] < 1.01 * widths[0]


def test_useless_scores_and_answers_all_alike_make_no_interval_narrow() -> None:
    random = np.random.default_rng(3)
    agrees = random.random(300) < 0.9
    plain = certify_agreement(agrees)
    useless = certify_agreement(agrees, scores=np.full(300, 0.9), undecided=np.full(5000, 0.9))
    assert (useless.low, useless.high) == pytest.approx((plain.low, plain.high), abs=1e-3)
    alike = certify_agreement(np.ones(100, bool), scores=random.random(100), undecided=random.random(900))
    assert (alike.low, alike.high) == pytest.approx(clopper(100))
    questions = choose_questions(random.random(900), 100)
    certain = certify_agreement(np.ones(100, bool), questions=questions)
    assert certain.high == 1
    assert certain.low < clopper(100)[0]  # the sure images were asked less than others


def clopper(count: int) -> tuple[float, float]:
    interval = stats.binomtest(count, count).proportion_ci(0.95, method="exact")
    return interval.low, interval.high


def test_chosen_questions_are_a_function_of_scores_and_seed() -> None:
    scores, _ = drawn(np.random.default_rng(0), 500)
    first, again, other = (choose_questions(scores, 60, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.rows, again.rows)
    assert not np.array_equal(first.rows, other.rows)
    assert first.scores.mean() < scores.mean()
    # Each answer counts by the inverse of its chance: the weights of the whole pool would have mean 1.
    assert first.weights.mean() == pytest.approx(1, abs=0.05)
    assert len(choose_questions(np.ones(40), 40).rows) == 40


def test_what_does_not_belong_together_is_refused() -> None:
    scores, agrees = drawn(np.random.default_rng(0), 50)
    with pytest.raises(DataError, match="0 decided images"):
        certify_agreement(agrees[:0])
    with pytest.raises(DataError, match="50 decided images beside 49 scores"):
        certify_agreement(agrees, scores=scores[1:], undecided=scores)
    with pytest.raises(ConfigError, match="alone; expected both"):
        certify_agreement(agrees, scores=scores)
    with pytest.raises(DataError, match="a score is nan; expected a probability"):
        certify_agreement(agrees, scores=np.full(50, np.nan), undecided=scores)
    with pytest.raises(ConfigError, match="51 questions of 50 images; expected 2 … 50"):
        choose_questions(scores, 51)
    questions = choose_questions(scores, 20)
    with pytest.raises(ConfigError, match="questions beside scores"):
        certify_agreement(agrees[questions.rows], questions=questions, scores=scores[:20], undecided=scores)
    with pytest.raises(DataError, match="50 decided images beside 20 scores"):
        certify_agreement(agrees, questions=replace(questions))


def test_questions_are_drawn_at_random_and_a_smaller_draw_is_part_of_a_larger() -> None:
    few, many = draw_questions(1000, 20), draw_questions(1000, 200)
    assert len(few) == 20
    assert set(few) <= set(many)
    assert (np.diff(many) > 0).all()
    assert abs(many.mean() - 500) < 60
    assert draw_questions(7, None).tolist() == draw_questions(7, 9).tolist() == list(range(7))
