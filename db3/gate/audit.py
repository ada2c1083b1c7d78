"""Audit: is the promise still kept? Some of the images that the student answers are put to the teacher all the same.

Drift of the scores tells that images have changed (`db3.gate.watch`); only decisions tell that the teacher has, or that
the student is wrong where it is sure. While at least the promised share of the answered images agrees, and those
audited are drawn at random, no bet on disagreements can be expected to win (`db3.gate.wager`).
"""

import numpy as np
import torch
from jaxtyping import Bool

from db3.evaluation.binomial import check_share
from db3.gate.wager import Alarmed, Wager
from db3.rng import Purpose, uniform

_STAKES = (0.02, 0.05, 0.1, 0.3)  # shares of a gambler's capital that are put on «they disagree» each time


class Audit(Alarmed):
    """Draws answered images to ask about, and weighs what comes of them.

    Args:
        agreement: promised of the images that the student answers: `gate.agreement`.
        share: of these images that are asked about, above 0 and below 1.
        false_alarm: probability at most that an alarm is ever raised though the promise is kept.
        seed: of the draw.

    Attributes:
        agreed: audited images that student and teacher decided alike.

    Raises:
        ConfigError: an agreement, a share or a false alarm rate outside 0 … 1.
    """

    def __init__(
        self, agreement: float, share: int | float = 0.01, false_alarm: int | float = 0.01, *, seed: int = 0
    ) -> None:
        check_share("agreement", agreement)
        check_share("share", share)
        self._wager = Wager(len(_STAKES), false_alarm)
        self._odds = agreement / (1 - agreement)
        self._share, self._seed, self._answered = share, seed, 0
        self.agreed = 0

    @property
    def asked(self) -> int:
        """Answered images that the teacher was asked about."""
        return self._wager.plays

    def draw(self, count: int) -> Bool[np.ndarray, " n"]:
        """Which of the next `count` answered images to ask about: each with the same chance, keyed by its number."""
        places = torch.arange(self._answered, self._answered + count)
        self._answered += count
        nothing = torch.zeros_like(places)
        drawn: Bool[np.ndarray, " n"] = (
            uniform(self._seed, Purpose.AUDIT, nothing, nothing, places, 1)[:, 0] < self._share
        ).numpy()
        return drawn

    def see(self, agrees: Bool[np.ndarray, " n"]) -> None:
        """Take in whether student and teacher decide each audited image alike, in their order."""
        for alike in agrees.tolist():
            # At the promised agreement the mean is 1: a stake wins its odds when they disagree, else it is lost.
            self._wager.play([1 - stake if alike else 1 + stake * self._odds for stake in _STAKES])
            self.agreed += alike

    def __repr__(self) -> str:
        return f"Audit({self.agreed:,} of {self.asked:,} agreed; {self._wager})"
