"""Drift: are the images that come still like those the gate was chosen from?

A conformal test martingale on the student's scores. Each new score is ranked among all seen before it, held-out ones
first; while all are exchangeable, the ranks are uniform and independent of one another, and no bet on them can be
expected to win. The capital of gamblers who bet on ranks that lie too low or too high therefore reaches C with
probability 1/C at most, however long one watches (Ville's inequality): the alarm is raised at 1 / `false_alarm`.

Source: Vovk, Petej, Nouretdinov, Ahlberg, Carlsson, Gammerman, "Retrain or not retrain: conformal test martingales for
change-point detection", COPA 2021, with its linear bets.

Notes: their Simple Jumper moves a fixed share of the capital between bets, and so loses a fixed share with every quiet
image; here further gamblers begin at every image, paid from a reserve that after t images is still log 2 / log(t + 2).
A change after a million quiet images is then found about as soon as one after a thousand.

What it cannot see: a teacher that changes, or images that are other ones at the same scores. Only decisions show that.
"""

import math
from array import array
from bisect import bisect_left, bisect_right, insort

import numpy as np
import torch
from jaxtyping import Float

from db3.errors import DataError
from db3.evaluation.binomial import check_share
from db3.rng import Purpose, uniform

_BETS = (-2.0, -1.0, 1.0, 2.0)  # slopes: a gambler's capital is multiplied by 1 + slope · (rank - 1/2)


class Watch:
    """Watches the scores of images that come, one after the other.

    Memory: 8 bytes for each score seen. Equal scores are ranked by random numbers keyed by (seed, place), so the same
    scores give the same course on every machine.

    Args:
        held_out: scores of the images that the gate was chosen from.
        false_alarm: probability that an alarm is ever raised though nothing has changed; at most.
        seed: of the order of equal scores.

    Attributes:
        seen: scores seen since.
        evidence: the capital, which began as 1.
        most: the largest it ever was.
        alarm_at: number of the image that raised the alarm, from 1 on; None: there was none.

    Raises:
        ConfigError: a false alarm rate outside 0 … 1.
        DataError: no held-out score, or one that is no number.
    """

    def __init__(self, held_out: Float[np.ndarray, " n"], false_alarm: int | float = 0.01, *, seed: int = 0) -> None:
        check_share("false_alarm", false_alarm)
        if not len(held_out):
            raise DataError("0 held-out scores; expected those of the images that the gate was chosen from")
        self._known = array("d", np.sort(_numbers(held_out)).tolist())
        self._level, self._seed = 1 / false_alarm, seed
        self._capital = [0.0] * len(_BETS)
        self.seen, self.evidence, self.most = 0, 1.0, 1.0
        self.alarm_at: int | None = None

    @property
    def alarm(self) -> bool:
        """Whether the scores have been too unlike the held-out ones; it stays once it is raised."""
        return self.alarm_at is not None

    def see(self, scores: Float[np.ndarray, " n"]) -> None:
        """Take in the scores of further images, in the order in which they came; after an alarm nothing is done.

        Raises:
            DataError: a score that is no number.
        """
        numbers = _numbers(scores)
        for score, chance in zip(numbers.tolist(), self._chances(len(numbers)), strict=True):
            if self.alarm:
                return
            self._bet(self._rank(score, chance))
            self.seen += 1
            self.most = max(self.most, self.evidence)
            if self.evidence >= self._level:
                self.alarm_at = self.seen

    def __repr__(self) -> str:
        state = f"alarm at image {self.alarm_at:,}" if self.alarm_at else "no alarm"
        return f"Watch({self.seen:,} seen, evidence {self.evidence:.3g} of {self._level:g}, {state})"

    def _rank(self, score: float, chance: float) -> float:
        """The share of scores that are lower, among all seen; uniform on [0, 1) if nothing has changed."""
        lower, upto = bisect_left(self._known, score), bisect_right(self._known, score)
        rank = (lower + chance * (upto - lower + 1)) / (len(self._known) + 1)
        insort(self._known, score)
        return rank

    def _bet(self, rank: float) -> None:
        reserve = _reserve(self.seen + 1)
        begin = (_reserve(self.seen) - reserve) / len(_BETS)
        self._capital = [
            (had + begin) * (1 + bet * (rank - 0.5)) for had, bet in zip(self._capital, _BETS, strict=True)
        ]
        self.evidence = reserve + sum(self._capital)

    def _chances(self, count: int) -> list[float]:
        places = torch.arange(self.seen, self.seen + count)
        nothing = torch.zeros_like(places)
        chances: list[float] = uniform(self._seed, Purpose.DRIFT, nothing, nothing, places, 1)[:, 0].tolist()
        return chances


def _reserve(seen: int) -> float:
    """Of the first capital of 1, what no gambler has had after so many images."""
    return math.log(2) / math.log(seen + 2)


def _numbers(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    wrong = scores[~np.isfinite(scores)]
    if len(wrong):
        raise DataError(f"a score is {wrong[0]:g}; expected numbers: check the student's output")
    return scores.astype(np.float64)
