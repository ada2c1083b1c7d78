"""Choose a gate: the laxest threshold whose promise held-out decisions prove.

Thresholds are tested from strict to lax, as in Learn then Test (Angelopoulos, Bates, Candès, Jordan, Lei, "Learn then
Test: calibrating predictive algorithms to achieve risk control", 2021), on a fixed grid of ranks of the held-out
scores. The p-value of a rank is an exact binomial tail: of the images with a higher score, how likely would so few
disagreements be if the promise were broken? Testing many thresholds is paid for by the fallback procedure (Wiens, "A
fixed sequence Bonferroni procedure for testing multiple endpoints", Pharmaceutical Statistics 2003): where there are
images enough, two ranks begin with a half of 1 − confidence each, and a threshold that is proven hands what it had on
to the next laxer one. So some unlucky disagreements among the surest images do not end the search.

Why ranks are allowed, though the scores are data: call a threshold bad if fewer than `agreement` agree above it.
Between two thresholds at which the agreement passes through the promise, exactly the promised share agrees. So given
how many held-out scores lie between these, it is fixed which ranks are bad, and above a bad rank disagreements are at
least as many as Binomial(images above it, 1 − agreement). Every bad rank's p-value is then valid, and the fallback
procedure holds its level whatever their dependence. This needs images that are exchangeable with those to come and
scores without ties. Tied scores are answered or left together; the promise then also takes for granted that agreement
does not fall where the score rises.
"""

import functools
import math

import numpy as np
from jaxtyping import Bool, Float, Int

from db3.errors import DataError, Db3Error
from db3.evaluation.binomial import binomial_tail, check_share, clopper_pearson
from db3.gate.calibration import fit_temperature
from db3.gate.gate import Gate

_RANKS = 25  # thresholds tested
_BEND = 1.5  # of their steps: closer to one another where they are strict
_MANY = 4  # times the fewest images that prove anything: from there on the level is halved between two starts
_MOST = 1_000_000  # decided images: beyond it a promise is out of reach
_STEP = 1.2  # between two numbers of images that are tried

_Counts = list[tuple[int, int]]
"""Of each threshold tested, strict to lax: images above it, and disagreements among them."""


def choose_gate(
    scores: Float[np.ndarray, " n"],
    agrees: Bool[np.ndarray, " m"],
    agreement: int | float = 0.99,
    confidence: int | float = 0.95,
    *,
    temperature: float = 1.0,
) -> Gate:
    """The gate that answers most images, of those that the held-out decisions prove.

    Args:
        scores: the student's largest probability for each held-out image; the higher, the surer.
        agrees: whether student and teacher decide the image alike.
        agreement: to promise of the images answered.
        confidence: of the promise, the choice of the threshold included.
        temperature: to be kept in the gate.

    Raises:
        ConfigError: an agreement or a confidence outside 0 … 1.
        DataError: arrays that do not belong together, or a score that is no probability.
        Db3Error: the images cannot prove the promise; says how many it would take.
    """
    check_share("agreement", agreement)
    check_share("confidence", confidence)
    _check(scores, agrees)
    least = least_images(agreement, confidence)
    held_out = len(scores)
    if held_out < least:
        raise Db3Error(
            f"{held_out} decided images cannot promise {agreement:g} agreement with confidence {confidence:g}; "
            f"expected {least} or more held out, of which the student decides {least} without one disagreement: decide "
            f"{least - held_out} more, or promise less"
        )
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    wrongs = np.concatenate([[0], np.cumsum(~agrees[order])])
    counts = [(k, int(wrongs[k])) for k in _whole_ties(_ranks(held_out, agreement, confidence), ranked)]
    proven = _proven(counts, held_out, agreement, confidence)
    if proven is None:
        raise _out_of_reach(counts, wrongs, agreement, confidence)
    chosen, wrong = counts[proven]
    return Gate(
        # Just above the highest score that is left: above it lie the very images that the test counted.
        threshold=float(np.nextafter(ranked[chosen], math.inf)) if chosen < held_out else 0.0,
        agreement=agreement,
        confidence=confidence,
        coverage=chosen / held_out,
        agreed=1 - wrong / chosen,
        held_out=held_out,
        temperature=temperature,
    )


def fit_gate(
    probabilities: Float[np.ndarray, "n k"],
    decisions: Int[np.ndarray, " m"],
    agreement: int | float = 0.99,
    confidence: int | float = 0.95,
) -> Gate:
    """The gate and the temperature of a student, from its probabilities on decided images that it never learnt from.

    The temperature is fitted on the same images; the threshold does not use it, so the promise stays exact.

    Args:
        probabilities: the student's, each row summing to 1.
        decisions: the teacher's.
        agreement: see `choose_gate`.
        confidence: see `choose_gate`.

    Raises:
        DataError: probabilities and decisions that do not belong together.
        ConfigError: an agreement or a confidence outside 0 … 1.
        Db3Error: the images cannot prove the promise; says how many it would take.
    """
    temperature = fit_temperature(probabilities, decisions)
    agrees = probabilities.argmax(axis=1) == decisions
    return choose_gate(probabilities.max(axis=1), agrees, agreement, confidence, temperature=temperature)


def least_images(agreement: float, confidence: float) -> int:
    """Decided images without one disagreement that prove a promise, e.g. 299 for 0.99 at confidence 0.95."""
    return math.ceil(math.log(1 - confidence) / math.log(agreement) - 1e-9)


def _check(scores: Float[np.ndarray, " n"], agrees: Bool[np.ndarray, " m"]) -> None:
    if len(scores) != len(agrees) or not len(scores):
        raise DataError(
            f"{len(scores)} scores beside {len(agrees)} agreements; expected one of each a held-out image, and "
            "one at least"
        )
    wrong = scores[~((scores >= 0) & (scores <= 1 + 1e-6))]  # NaN too
    if len(wrong):
        raise DataError(f"a score is {wrong[0]:g}; expected the largest probability of a row, 0 … 1: take the softmax")


def _starts(held_out: int, agreement: int | float, confidence: int | float) -> int:
    return 2 if held_out >= _MANY * least_images(agreement, confidence) else 1


def _ranks(held_out: int, agreement: int | float, confidence: int | float) -> list[int]:
    """How many images lie above each threshold: from the fewest that prove anything to all, strict to lax.

    Where there are images enough, the first threshold leaves room for one disagreement.
    """
    starts = _starts(held_out, agreement, confidence)
    first = _fewest(starts - 1, 1 - agreement, (1 - confidence) / starts)
    way = np.linspace(0, 1, _RANKS) ** _BEND
    steps: list[int] = np.unique((first + (held_out - first) * way).round().astype(np.int64)).tolist()
    return steps


@functools.lru_cache(64)
def _fewest(wrong: int, broken: float, level: float) -> int:
    """Images of which so many may disagree, and the promise is proven."""
    few, many = wrong, wrong + 1
    while binomial_tail(wrong, many, broken) > level:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if binomial_tail(wrong, middle, broken) <= level else (middle, many)
    return many


def _whole_ties(ranks: list[int], ranked: Float[np.ndarray, " n"]) -> list[int]:
    """The ranks, each moved down to where the score changes."""
    rising = -ranked  # sorted upwards
    return sorted({int(np.searchsorted(rising, rising[k - 1], side="right")) for k in ranks})


def _proven(counts: _Counts, held_out: int, agreement: int | float, confidence: int | float) -> int | None:
    """The laxest threshold that the fallback procedure proves; None: none."""
    starts = _starts(held_out, agreement, confidence)
    begins = set(np.linspace(0, len(counts), starts, endpoint=False).astype(int).tolist())
    carried, found = 0.0, None
    for place, (images, wrong) in enumerate(counts):
        allowed = carried + ((1 - confidence) / len(begins) if place in begins else 0.0)
        if allowed and binomial_tail(wrong, images, 1 - agreement) <= allowed:
            carried, found = allowed, place
        else:
            carried = 0.0
    return found


def _out_of_reach(
    counts: _Counts, wrongs: Int[np.ndarray, " n1"], agreement: int | float, confidence: int | float
) -> Db3Error:
    asked = f"{len(wrongs) - 1} decided images cannot promise {agreement:g} agreement with confidence {confidence:g}"
    needed = _needed(wrongs, agreement, confidence)
    if needed is not None:
        return Db3Error(
            f"{asked}; about {needed:,} held out would, if disagreements lie among them as among these: decide more, "
            "or promise less"
        )
    best, wrong = max(counts, key=lambda count: 1 - count[1] / count[0])
    hope = clopper_pearson(best - wrong, best, confidence)[1] >= agreement
    more = "too few to tell whether more would do" if hope else "and more images would not change that"
    return Db3Error(
        f"{asked}: of the {best} that the student is surest of, {1 - wrong / best:.4g} agree, {more}; promise less, or "
        "train a better student"
    )


def _needed(wrongs: Int[np.ndarray, " n1"], agreement: int | float, confidence: int | float) -> int | None:
    """Held-out images that would prove some threshold, did disagreements lie among them as they do here."""
    here = len(wrongs) - 1
    images = here
    while images < _MOST:
        images = math.ceil(images * _STEP)
        ranks = _ranks(images, agreement, confidence)
        found = np.interp(np.array(ranks) * here / images, np.arange(here + 1), wrongs) * images / here
        counts = list(zip(ranks, np.ceil(found - 1e-9).astype(int).tolist(), strict=True))
        if _proven(counts, images, agreement, confidence) is not None:
            return images
    return None
