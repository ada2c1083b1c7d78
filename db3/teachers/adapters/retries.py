"""Which failed attempts are made again, when and how often: one policy for functions and remote teachers.

Two kinds of failures may pass. Of one that the teacher may have worked for, as many attempts are made as
`Link.attempts` says, since each may be billed. One that says that there is no teacher at the moment (a refused
connection, a server that is starting) is waited out by time, `Link.outage`. Between attempts the pauses grow.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from db3.errors import TeacherError
from db3.settings.teacher import Link

T = TypeVar("T")
_BACKOFF = wait_random_exponential(multiplier=0.25, max=20.0)


class RetryableError(TeacherError):
    """A failure that may pass: the attempt is made again.

    Attributes:
        after: seconds that the server asked to wait.
        down: whether there is no teacher at the moment.
    """

    def __init__(self, reason: str, after: float = 0.0, down: bool = False) -> None:
        super().__init__(reason)
        self.after, self.down = after, down


class Policy:
    """The limits of one request: `stop` and `wait` as tenacity asks for them.

    Args:
        link: `attempts` and `outage`.
        stopped: nothing is tried again once it is true.

    Attributes:
        tried: attempts made.
    """

    def __init__(self, link: Link, stopped: Callable[[], bool] = lambda: False) -> None:
        self._link, self._stopped = link, stopped
        self._taken = self.tried = 0
        self._ends: float | None = None  # of the outage under way

    def stop(self, state: RetryCallState) -> bool:
        error = _error(state)
        self.tried += 1
        if error.down:
            self._ends = time.monotonic() + self._left() + error.after
            return self._stopped() or self._left() <= error.after
        self._ends = None
        self._taken += 1
        return self._stopped() or self._taken >= self._link.attempts

    def wait(self, state: RetryCallState) -> float:
        error, pause = _error(state), _BACKOFF(state)
        return max(error.after, min(pause, max(0.0, self._left())) if error.down else pause)

    def _left(self) -> float:
        """Seconds of the outage under way, or of one that begins now."""
        return self._link.outage if self._ends is None else self._ends - time.monotonic()

    def told(self, error: RetryableError) -> str:
        """How long it was tried, for a message."""
        return f"for {self._link.outage:g} s" if error.down else f"in {self.tried} attempts"


def retry(attempt: Callable[[], T], link: Link) -> T:
    """Call `attempt` until it returns, or raises something else than RetryableError.

    Raises:
        TeacherError: the attempts are spent.
    """
    try:
        return attempt()  # tenacity takes 60 µs, as long as a small network needs for two images: after a failure only
    except RetryableError as error:
        failed = [error]

    def again() -> T:
        if failed:
            raise failed.pop()
        return attempt()

    policy = Policy(link)
    retrying = Retrying(
        retry=retry_if_exception_type(RetryableError),
        stop=policy.stop,
        wait=policy.wait,
        sleep=time.sleep,
        reraise=True,
    )
    try:
        return retrying(again)
    except RetryableError as error:
        raise TeacherError(f"{error} ({policy.told(error)})") from error.__cause__


def _error(state: RetryCallState) -> RetryableError:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, RetryableError) else RetryableError("")
