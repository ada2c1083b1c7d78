"""Agreement with its confidence interval, from few questions.

Three ways, from the plainest to the one that needs fewest questions:

* **Exact**: images drawn at random, and Clopper and Pearson's interval. It holds for any student and any number.
* **Prediction-powered** (Angelopoulos, Duchi, Zrnic, "PPI++: efficient prediction-powered inference", 2023): the
  student's own scores say where it expects to disagree. What they say of the undecided images is corrected by what
  they got wrong on the decided ones; a weight λ fitted on these makes useless scores count for nothing.
* **Chosen questions**: images are drawn by the scores, unsure ones more often (`choose_questions`), and each answer
  counts by the inverse of its chance (Zrnic and Candès, "Active statistical inference", ICML 2024). The draw goes
  systematically through the images in the order of their scores, so all scores are covered.

The two that use scores are approximations that grow exact with the number of questions. Their normal interval would be
far too narrow where disagreements are few (at 100 questions and 98.5 % agreement it misses one time in five), so the
interval here is Clopper and Pearson's at the effective number of questions, as surveys do it (Korn and Graubard,
"Confidence intervals for proportions with small expected number of positive counts estimated from survey data",
Survey Methodology 1998). docs/guides/gate.md has widths and how often each held.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64

from db3.errors import ConfigError, DataError
from db3.evaluation.binomial import check_share, clopper_pearson
from db3.rng import Purpose, permutation, uniform

Method = Literal["exact", "prediction-powered", "chosen questions"]
_CAP = 4  # times as many questions as were asked: no score earns more trust than that
_EVEN = 0.5  # share of the questions that fall on all images alike, whatever the scores


@dataclass(frozen=True)
class CertifiedAgreement:
    """Agreement with the teacher on images like these.

    Attributes:
        estimate: of the share.
        low: at least this, and at most `high`, with `confidence`.
        high: see `low`.
        confidence: that the interval holds the true share.
        asked: questions put to the teacher.
        effective: questions at random that would have told as much.
        method: how.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    asked: int
    effective: float
    method: Method

    @property
    def width(self) -> float:
        return self.high - self.low

    def __str__(self) -> str:
        return (
            f"{self.estimate:.2%} agreement, {self.low:.2%} to {self.high:.2%} with confidence {self.confidence:g} "
            f"({self.asked:,} questions, {self.method})"
        )


@dataclass(frozen=True)
class Questions:
    """Images to ask a teacher about, drawn by a student's scores.

    Attributes:
        rows: their places among the scored images; one with a great chance may stand here twice, and is asked once.
        weights: what an answer counts: 1 / (images · chance of the draw).
        scores: of these images.
        pool: scores of all images that were to choose from.
    """

    rows: Int64[np.ndarray, " n"]
    weights: Float64[np.ndarray, " n"]
    scores: Float64[np.ndarray, " n"]
    pool: Float64[np.ndarray, " pool"]


def draw_questions(available: int, count: int | None) -> Int64[np.ndarray, " m"]:
    """Sorted places of the test images that a teacher is asked about: `count` of them drawn at random, all where there
    are no more, or `count` is None. A smaller draw is part of a larger one.
    """
    if count is None or count >= available:
        return np.arange(available)
    order = permutation(available, 0, Purpose.QUESTIONS, "test images")
    return np.sort(np.array(order[:count], dtype=np.int64))


def choose_questions(scores: Float[np.ndarray, " pool"], count: int, *, seed: int = 0) -> Questions:
    """Draw the images whose decisions tell most about the student's agreement.

    Half of the draw falls on all images alike, half in proportion to √(score · (1 − score)).

    Args:
        scores: the student's probability of its own decision, for every image of the pool; best calibrated.
        count: questions, 2 or more.
        seed: of the draw.

    Raises:
        ConfigError: fewer than 2 questions, or more than images.
        DataError: a score outside 0 … 1.
    """
    _check_scores(scores)
    if not 2 <= count <= len(scores):
        raise ConfigError(
            f"{count} questions of {len(scores)} images; expected 2 … {len(scores)}: choose another number"
        )
    pool = scores.astype(np.float64)
    unsure = np.sqrt(pool * (1 - pool))
    even = np.full(len(pool), 1 / len(pool))
    chances = _EVEN * even + (1 - _EVEN) * (unsure / unsure.sum() if unsure.any() else even)
    order = np.argsort(pool, kind="stable")
    zero = torch.zeros(1, dtype=torch.int64)
    start = float(uniform(seed, Purpose.QUESTIONS, zero, zero, zero, 1))
    steps = (np.arange(count) + start) / count
    places = np.searchsorted(np.cumsum(chances[order]), steps, side="right").clip(max=len(pool) - 1)
    rows = order[places].astype(np.int64)
    return Questions(rows, 1 / (len(pool) * chances[rows]), pool[rows], pool)


def certify_agreement(
    agrees: Bool[np.ndarray, " n"],
    confidence: int | float = 0.95,
    *,
    scores: Float[np.ndarray, " m"] | None = None,
    undecided: Float[np.ndarray, " pool"] | None = None,
    questions: Questions | None = None,
) -> CertifiedAgreement:
    """Agreement with its confidence interval.

    Args:
        agrees: whether student and teacher decide each asked image alike: drawn at random, or `questions.rows`.
        confidence: of the interval.
        scores: prediction-powered: the student's probability of its own decision, for each asked image.
        undecided: and for images drawn alike of which the teacher was not asked; many.
        questions: chosen questions: what `choose_questions` gave, in the order of `agrees`.

    Raises:
        ConfigError: a confidence outside 0 … 1, or scores that are incomplete or beside questions.
        DataError: no question, lengths that differ, or a score outside 0 … 1.
    """
    check_share("confidence", confidence)
    _check_lengths(agrees, scores if questions is None else questions.scores)
    if questions is not None and (scores is not None or undecided is not None):
        raise ConfigError("questions beside scores; expected one of them: questions hold their scores")
    if (scores is None) != (undecided is None):
        raise ConfigError("scores of decided or undecided images alone; expected both, or neither: give the other too")
    if questions is not None:
        return _interval(*_by_choice(agrees, questions), confidence, len(agrees), "chosen questions")
    if scores is not None and undecided is not None:
        _check_scores(scores)
        _check_scores(undecided)
        return _interval(*_powered(agrees, scores, undecided), confidence, len(agrees), "prediction-powered")
    return _interval(float(agrees.mean()), float(len(agrees)), confidence, len(agrees), "exact")


def _interval(
    estimate: float, effective: float, confidence: int | float, asked: int, method: Method
) -> CertifiedAgreement:
    count = round(estimate * effective) if method == "exact" else estimate * effective
    low, high = clopper_pearson(min(count, effective), effective, confidence)
    return CertifiedAgreement(estimate, low, high, float(confidence), asked, effective, method)


def _powered(
    agrees: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"], undecided: Float[np.ndarray, " pool"]
) -> tuple[float, float]:
    """Estimate and effective number of questions."""
    right, asked, others = agrees.astype(np.float64), len(agrees), undecided.astype(np.float64)
    told = scores.astype(np.float64)
    if agrees.all() or not agrees.any():
        return float(right.mean()), float(asked)
    weight = _weight(right, told, 1 + asked / len(others))
    estimate = right.mean() + weight * (others.mean() - told.mean())
    variance = (right - weight * told).var(ddof=1) / asked + weight**2 * others.var() / len(others)
    return _effective(float(estimate), float(variance), asked)


def _by_choice(agrees: Bool[np.ndarray, " n"], questions: Questions) -> tuple[float, float]:
    """Likewise, by the share that disagrees: its weighted sum is what varies little."""
    weights, asked = questions.weights, len(agrees)
    if agrees.all() or not agrees.any():  # every answer counts at least as one at random of so many
        return float(agrees.mean()), asked / max(1.0, float(weights.max()))
    wrong, expected = weights * ~agrees, weights * (1 - questions.scores)
    weight = _weight(wrong, expected, 1.0)
    share = float(wrong.mean() + weight * ((1 - questions.pool).mean() - expected.mean()))
    drawn = (wrong - weight * expected).var(ddof=1) / asked
    share = min(max(share, 0.0), 1.0)
    return _effective(1 - share, float(drawn + share * (1 - share) / len(questions.pool)), asked)


def _weight(values: Float64[np.ndarray, " n"], predictions: Float64[np.ndarray, " n"], inflation: float) -> float:
    """λ of PPI++: how far the predictions are followed, 0 … 1."""
    spread = float(predictions.var(ddof=1))
    if spread == 0:
        return 0.0
    return min(max(float(np.cov(values, predictions)[0, 1]) / (inflation * spread), 0.0), 1.0)


def _effective(estimate: float, variance: float, asked: int) -> tuple[float, float]:
    share = min(max(estimate, 0.0), 1.0)
    binomial = share * (1 - share)
    if binomial == 0 or variance <= 0:
        return share, float(asked)
    return share, min(binomial / variance, float(_CAP * asked))


def _check_lengths(agrees: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " m"] | None) -> None:
    if not len(agrees):
        raise DataError("0 decided images; expected at least one: ask the teacher about some")
    if scores is not None and len(scores) != len(agrees):
        raise DataError(f"{len(agrees)} decided images beside {len(scores)} scores; expected one each")


def _check_scores(scores: Float[np.ndarray, " n"]) -> None:
    if not len(scores):
        raise DataError("0 scores; expected one an image")
    wrong = scores[~((scores >= 0) & (scores <= 1 + 1e-6))]  # NaN too
    if len(wrong):
        raise DataError(f"a score is {wrong[0]:g}; expected a probability, 0 … 1: take the softmax")
