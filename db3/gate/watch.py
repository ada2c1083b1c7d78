"""Drift: are the images that come still like those the gate was chosen from?

A conformal test martingale on the student's scores. Each new score is ranked among all seen before it, held-out ones
first; while all are exchangeable, the ranks are uniform and independent of one another, and no bet on them can be
expected to win. Gamblers bet that ranks lie too low or too high (`db3.gate.wager`), and an alarm is raised when they
have won too much.

Source: Vovk, Petej, Nouretdinov, Ahlberg, Carlsson, Gammerman, "Retrain or not retrain: conformal test martingales for
change-point detection", COPA 2021, with its linear bets.

Notes: their Simple Jumper moves a fixed share of the capital between bets, and so loses a fixed share with every quiet
image; here new gamblers begin instead.

What it cannot see: a teacher that changes, or images that are other ones at the same scores. Only decisions show that:
`db3.gate.audit`.
"""

from array import array
from bisect import bisect_left, bisect_right, insort

import numpy as np
import torch
from jaxtyping import Float

from db3.errors import DataError
from db3.gate.wager import Alarmed, Wager
from db3.rng import Purpose, uniform

_SLOPES = (-2.0, -1.0, 1.0, 2.0)  # a gambler's capital is multiplied by 1 + slope · (rank - 1/2)


class Watch(Alarmed):
    """Watches the scores of images that come, one after the other.

    Memory: 8 bytes for each score seen. Equal scores are ranked by random numbers keyed by (seed, place), so the same
    scores give the same course on every machine.

    Args:
        held_out: scores of the images that the gate was chosen from.
        false_alarm: probability at most that an alarm is ever raised though nothing has changed.
        seed: of the order of equal scores.

    Raises:
        ConfigError: a false alarm rate outside 0 … 1.
        DataError: no held-out score, or one that is no number.
    """

    def __init__(self, held_out: Float[np.ndarray, " n"], false_alarm: int | float = 0.01, *, seed: int = 0) -> None:
        self._wager = Wager(len(_SLOPES), false_alarm)
        if not len(held_out):
            raise DataError("0 held-out scores; expected those of the images that the gate was chosen from")
        self._known = array("d", np.sort(_numbers(held_out)).tolist())
        self._seed = seed

    @property
    def seen(self) -> int:
        """Scores taken in."""
        return self._wager.plays

    def see(self, scores: Float[np.ndarray, " n"]) -> None:
        """Take in the scores of further images, in the order in which they came; after an alarm nothing is done.

        Raises:
            DataError: a score that is no number; none of them is taken in.
        """
        numbers = _numbers(scores)
        for score, chance in zip(numbers.tolist(), self._chances(len(numbers)), strict=True):
            if self.alarm:
                return
            rank = self._rank(score, chance)
            self._wager.play([1 + slope * (rank - 0.5) for slope in _SLOPES])

    def __repr__(self) -> str:
        return f"Watch({self._wager})"

    def _rank(self, score: float, chance: float) -> float:
        """The share of scores that are lower, among all seen; uniform on [0, 1) if nothing has changed."""
        lower, upto = bisect_left(self._known, score), bisect_right(self._known, score)
        rank = (lower + chance * (upto - lower + 1)) / (len(self._known) + 1)
        insort(self._known, score)
        return rank

    def _chances(self, count: int) -> list[float]:
        places = torch.arange(self.seen, self.seen + count)
        nothing = torch.zeros_like(places)
        chances: list[float] = uniform(self._seed, Purpose.DRIFT, nothing, nothing, places, 1)[:, 0].tolist()
        return chances


def _numbers(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    wrong = scores[~np.isfinite(scores)]
    if len(wrong):
        raise DataError(f"a score is {wrong[0]:g}; expected numbers: check the student's output")
    return scores.astype(np.float64)
