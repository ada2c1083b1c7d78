"""Progress of long loops: a bar with rate and ETA in a terminal, plain periodic lines elsewhere.

Nothing is shown before `show_progress` asks for it: a library is silent.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
_shown = False


def show_progress(shown: bool = True) -> None:
    """Show the progress of loops that begin from now on, in this process; False: show none, as at the start."""
    global _shown  # noqa: PLW0603 - one switch for the process, like the root logger's level
    _shown = shown


class Progress:
    """Count units of work on stderr, where `show_progress` asked for it; use it as a context manager.

    In a terminal it is a tqdm bar. Elsewhere (DVC's output in a log, CI) it prints one line every `every` seconds
    and one at the end, so that a log stays readable and a long silence never looks like a hang.

    Args:
        what: is being done.
        total: units in all; None: unknown.
        unit: name of one.
        every: seconds between two lines.
        inner: a part of something longer, which may be short and may come often: nothing is shown of one that ends
            within `every` seconds, and a terminal keeps no bar of it.
    """

    def __init__(
        self, what: str, total: int | None, unit: str = "it", every: float = 10.0, *, inner: bool = False
    ) -> None:
        self._what, self._total, self._unit, self._every, self._inner = what, total, unit, every, inner
        terminal = sys.stderr.isatty()
        self._plain = _shown and not terminal
        self._bar = tqdm(
            total=total,
            desc=what,
            unit=unit,
            unit_scale=True,
            disable=not (_shown and terminal),
            leave=not inner,
            delay=every if inner else 0.0,
        )
        self._start = self._last = time.monotonic()
        self._count = self._told = 0

    def advance(self, count: int = 1) -> None:
        """Say that `count` more units are done; safe to call from several threads."""
        self._count += count
        self._bar.update(count)
        now = time.monotonic()
        if self._plain and now - self._last >= self._every:
            self._last = now
            self._line(now)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        now = time.monotonic()
        if (
            self._plain
            and kind is None
            and self._count != self._told
            and (not self._inner or now - self._start >= self._every)
        ):
            self._line(now)

    def over(self, items: Sequence[T]) -> Iterator[T]:
        """The items one after the other, each counted when the next is asked for: by its length where it has one."""
        for item in items:
            yield item
            self.advance(len(item) if isinstance(item, Sized) else 1)

    def _line(self, now: float) -> None:
        elapsed, self._told = now - self._start, self._count
        rate = self._count / elapsed if elapsed > 0 else 0.0
        of = f"/{self._total}" if self._total else ""
        left = (self._total - self._count) / rate if self._total and rate else 0.0
        eta = f", {tqdm.format_interval(left)} left" if left > 0 else ""
        text = f"{self._what}: {self._count}{of} {self._unit}, {tqdm.format_sizeof(rate)}{self._unit}/s{eta}"
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


@contextmanager
def counted(what: str, steps: int, on_step: Callable[[], object] | None = None) -> Iterator[Callable[[], object]]:
    """What to call after each step of a long loop: `on_step` of a caller who shows them, else an inner progress."""
    if on_step:
        yield on_step
        return
    with Progress(what, steps, "step", inner=True) as progress:
        yield progress.advance
