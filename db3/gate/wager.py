"""A wager against a claim: capital that can hardly grow while the claim is true, however long one plays.

Each gambler's capital is multiplied by a factor whose mean is 1 at most while the claim holds. The sum of all capitals
then reaches C with probability 1/C at most, ever (Ville's inequality), so an alarm at 1 / `false_alarm` is false with
that probability at most, though one looks after every play (Ramdas, Grünwald, Vovk, Shafer, "Game-theoretic statistics
and safe anytime-valid inference", Statistical Science 2023).

Further gamblers begin at every play, paid from a reserve that after t plays is still log 2 / log(t + 2) of the first
capital: a change after a million quiet plays is then found about as soon as one after a thousand.
"""

import math
from collections.abc import Sequence

from db3.evaluation.binomial import check_share


class Wager:
    """Capital of several kinds of gamblers.

    Args:
        kinds: of gamblers; each begins with an equal part.
        false_alarm: probability at most that an alarm is ever raised while the claim is true.

    Attributes:
        plays: so far.
        evidence: the capital, which began as 1.
        alarm_at: number of the play that raised the alarm, from 1 on; None: there was none.

    Raises:
        ConfigError: a false alarm rate outside 0 … 1.
    """

    def __init__(self, kinds: int, false_alarm: int | float) -> None:
        check_share("false_alarm", false_alarm)
        self._capital = [0.0] * kinds
        self.level = 1 / false_alarm
        self.plays, self.evidence = 0, 1.0
        self.alarm_at: int | None = None

    def play(self, factors: Sequence[float]) -> None:
        """Multiply the capital of each kind by its factor."""
        reserve = _reserve(self.plays + 1)
        begin = (_reserve(self.plays) - reserve) / len(self._capital)
        self._capital = [(had + begin) * factor for had, factor in zip(self._capital, factors, strict=True)]
        self.evidence = reserve + sum(self._capital)
        self.plays += 1
        if self.alarm_at is None and self.evidence >= self.level:
            self.alarm_at = self.plays

    def __str__(self) -> str:
        state = f"alarm at {self.alarm_at:,}" if self.alarm_at else "no alarm"
        return f"{self.plays:,} seen, evidence {self.evidence:.3g} of {self.level:g}, {state}"


class Alarmed:
    """What plays a wager, and what may be asked of it.

    Attributes:
        _wager: against the claim that nothing is wrong.
    """

    _wager: Wager

    @property
    def evidence(self) -> float:
        """The gamblers' capital, which began as 1."""
        return self._wager.evidence

    @property
    def alarm(self) -> bool:
        """Whether the claim is broken; it stays once it is raised."""
        return self._wager.alarm_at is not None

    @property
    def alarm_at(self) -> int | None:
        """Number of the image that raised the alarm, of those seen, from 1 on; None: there was none."""
        return self._wager.alarm_at


def _reserve(plays: int) -> float:
    """Of the first capital of 1, what no gambler has had after so many plays."""
    return math.log(2) / math.log(plays + 2)
