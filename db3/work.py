"""Work in pieces: what a function of db3 wants computed, and the runner that brings it about.

A function that asks a teacher about many images takes `run`, which is `run_here`, a plain loop, unless the caller has
a better one: the pipeline's keeps every piece on the disk, resumes, shares out a budget and sends pieces to other
processes. The contract between the two:

* **A piece is pure.** Its arrays depend on what its key names and on the teacher's answers, on nothing else: not on
  the other pieces of the same work, on their order, on the process or the moment. It changes nothing outside.
* **A key names all that decides a piece** but the machine: parameters, images, the teacher's identity, the source code.
  Where networks are trained in float32 (`Work.machine_bound`), the last bits also follow the device and the number of
  threads: a runner that keeps pieces longer than the process lives takes `keys_on(device, threads)`.
* **A runner may** compute the pieces in any order, at once, in threads or other processes; leave out those whose arrays
  it has kept under their keys; and give the arrays back from a file, anew whenever they are looked at.
* **A runner may not** change an array, leave a piece out, or return before all pieces are there.
* **The teacher** is called from within the pieces, by the thread that computes one or by a thread in a copy of its
  context (`contextvars`). A runner that computes pieces at once comes with a teacher that serves each piece apart. A
  teacher that raises `BudgetSpent` ends a piece early; where the piece has something to show for it, it returns that.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache, cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from db3.digest import digest_array, digest_code, digest_json

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Work:
    """Pieces of work that do not depend on each other.

    Attributes:
        name: for people, and for the file that the pipeline seals the answers in.
        compute: arrays of piece i; may be called from several threads at once.
        decided_by: all that decides piece i, but the teacher's answers, the code and the machine: JSON values, ranges,
            arrays and dataclasses of them. Looked at only by a runner that wants keys.
        maximum: queries of each piece, about: for progress, and to share out a budget.
        code: files and folders of db3 whose source decides the arrays.
        machine_bound: whether the last bits follow the device and the number of threads, as of trained weights.
        follows: whether the pieces build on the work run before: where the budget has ended that, they are others.
    """

    name: str
    compute: Callable[[int], Arrays]
    decided_by: Callable[[int], Sequence[object]]
    maximum: Sequence[int]
    code: tuple[str, ...]
    machine_bound: bool = False
    follows: bool = False

    def __len__(self) -> int:
        """How many pieces there are."""
        return len(self.maximum)

    @cached_property
    def scopes(self) -> tuple[str, ...]:
        """Digest of what each piece is, whatever code computes it: the account that its queries are booked on."""
        return tuple(digest_json([self.name, _plain(self.decided_by(i))]) for i in range(len(self)))

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Digest of all that decides each piece, but for the machine."""
        code = _code(self.code)
        return tuple(digest_json([scope, code]) for scope in self.scopes)

    def keys_on(self, device: str, threads: int) -> tuple[str, ...]:
        """Digest of all that decides each piece on such a machine."""
        return tuple(digest_json([key, device, threads]) for key in self.keys) if self.machine_bound else self.keys


@runtime_checkable
class Pieces(Protocol):
    """The arrays of a work's pieces, in order; may be read anew whenever they are looked at."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Arrays]: ...

    def __getitem__(self, index: int, /) -> Arrays: ...


Run = Callable[[Work], Pieces]
"""A runner: brings every piece of a work about."""


def run_here(work: Work) -> list[Arrays]:
    """One piece after the other, all kept in memory."""
    return [work.compute(index) for index in range(len(work))]


def cut(count: int, size: int | None) -> list[range]:
    """Places 0 … count − 1 in pieces of `size` at most; None: in one."""
    size = size or max(1, count)
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


_code = cache(lambda names: digest_code(*names))  # of what is imported here, should the files change meanwhile


def _plain(value: Any) -> Any:
    """As JSON that says the same: arrays by their digest."""
    if isinstance(value, np.ndarray):
        return digest_array(value)
    if isinstance(value, range):
        return [value.start, value.stop, value.step]
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
