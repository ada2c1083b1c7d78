"""Work in pieces: keys name all that decides a piece, and a plain loop brings it about."""

from dataclasses import dataclass

import numpy as np
import pytest

from db3.images import augmented
from db3.search.methods import auto
from db3.teachers import decide
from db3.work import Arrays, Work, cut, run_here
from db3.zero_shot import rounds, zsdb3
from tests.flows.modules import needed

CODE = ("rng",)


@dataclass(frozen=True)
class Settings:
    image: np.ndarray  # type: ignore[type-arg]
    steps: int = 3


def work(*decided_by: object, name: str = "doubling", machine_bound: bool = False) -> Work:
    def compute(index: int) -> Arrays:
        return {"doubled": np.array([2 * index])}

    return Work(name, compute, lambda index: [index, *decided_by], [1, 1, 1], CODE, machine_bound)


def test_a_plain_loop_computes_every_piece_in_order() -> None:
    assert [int(piece["doubled"][0]) for piece in run_here(work())] == [0, 2, 4]


def test_keys_differ_wherever_something_decides() -> None:
    image = np.zeros((2, 2), np.uint8)
    works = [
        work(),
        work(name="other"),
        work(range(3)),
        work(range(1, 3)),
        work(image),
        work(image.astype(np.int8)),
        work(image + np.uint8(1)),
        work(Settings(image)),
        work(Settings(image + np.uint8(1))),
        work([Settings(image, 4)]),
        work({"settings": Settings(image, 4)}),
    ]
    keys = [key for one in works for key in one.keys]
    assert len(set(keys)) == 3 * len(works)
    assert work(Settings(image.copy())).keys == work(Settings(image)).keys


def test_the_machine_is_part_of_a_key_only_where_bits_follow_it() -> None:
    assert work().keys_on("cuda", 8) == work().keys
    bound = work(machine_bound=True)
    keys = {bound.keys, bound.keys_on("cpu", 1), bound.keys_on("cpu", 2), bound.keys_on("cuda", 1)}
    assert len(keys) == 4


def test_keys_are_made_only_for_a_runner_that_wants_them() -> None:
    def never(_: int) -> list[object]:
        raise AssertionError("nobody wants a key")

    assert len(run_here(Work("plain", lambda _: {}, never, [1, 2], CODE))) == 2


@pytest.mark.parametrize(
    ("count", "size", "ends"), [(0, 5, []), (5, 5, [5]), (6, 5, [5, 6]), (6, None, [6]), (0, None, [])]
)
def test_a_cut_covers_every_place_once(count: int, size: int | None, ends: list[int]) -> None:
    parts = cut(count, size)
    assert [part.stop for part in parts] == ends
    assert [place for part in parts for place in part] == list(range(count))


# Decide no array: names of files and of errors, digests, the contract itself; a type of two arrays; the types of
# settings, whose values are in the keys; what is said where a package is missing, what is shown on the way, where
# memory comes from, and where pieces are kept.
NEUTRAL = {
    *("digest.py", "errors.py", "extras.py", "files.py", "memory.py", "progress.py", "settings", "shard_store.py"),
    *("types.py", "work.py"),
}


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("db3.search.pairs", auto.CODE),
        ("db3.zero_shot.rounds", rounds._CODE),
        ("db3.zero_shot.zsdb3", zsdb3._CODE),
        ("db3.images.augmented", augmented._CODE),
        ("db3.teachers.decide", decide._CODE),
    ],
)
def test_a_key_covers_all_code_that_its_piece_reaches(module: str, code: tuple[str, ...]) -> None:
    reached = {path.parts[1] for path in needed(module)} - NEUTRAL
    assert {name.removesuffix(".py") for name in reached} - set(code) == set()
