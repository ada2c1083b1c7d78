"""Shards: the same result whoever computes them and in whatever order, and nothing finished is lost."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from db3.digest import digest_json
from db3.errors import ConfigError, DataError
from db3.shard_store import Arrays, ShardStore
from flows.config import Runtime
from flows.engine.shards import Shards, map_shards

COUNT = 8
KEYS = [digest_json(["shard", index]) for index in range(COUNT)]
LOCAL = Runtime(runner="local", workers=1, threads=1, device="cpu")
THREADS = Runtime(runner="threads", workers=3, threads=1, device="cpu")


def content(index: int) -> Arrays:
    return {"x": np.random.default_rng(index).normal(size=(index + 1, 2)), "index": np.array(index)}


def run(store: ShardStore, compute: Callable[[int], Arrays] = content, runtime: Runtime = LOCAL) -> Shards:
    return map_shards("test", KEYS, compute, runtime, [10] * COUNT, "samples", store=store)


def bytes_of(store: ShardStore) -> list[bytes]:
    return [store.path(key).read_bytes() for key in KEYS]


@pytest.fixture
def store(tmp_path: Path) -> ShardStore:
    return ShardStore(tmp_path / "shards")


@pytest.fixture
def expected(tmp_path: Path) -> list[bytes]:
    store = ShardStore(tmp_path / "expected")
    for index, key in enumerate(KEYS):
        store.put(key, content(index))
    return bytes_of(store)


@pytest.mark.parametrize("order", ["forward", "reversed", "shuffled"])
@pytest.mark.parametrize("runtime", [LOCAL, THREADS], ids=["local", "threads"])
def test_runner_and_order_change_no_byte(
    store: ShardStore, expected: list[bytes], runtime: Runtime, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB3_SHARD_ORDER", order)
    shards = run(store, runtime=runtime)
    assert bytes_of(store) == expected
    assert [int(shard["index"]) for shard in shards] == list(range(COUNT))
    assert (len(shards), shards.reused) == (COUNT, 0)


@pytest.mark.parametrize(
    ("order", "begun"), [("forward", list(range(COUNT))), ("reversed", list(reversed(range(COUNT))))]
)
def test_shards_are_begun_in_the_order_asked_for(
    store: ShardStore, order: str, begun: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB3_SHARD_ORDER", order)
    seen: list[int] = []
    run(store, lambda index: seen.append(index) or content(index))  # type: ignore[func-returns-value]
    assert seen == begun


def test_an_unknown_order_is_refused(store: ShardStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB3_SHARD_ORDER", "backwards")
    with pytest.raises(ConfigError, match=r"backwards.*forward, reversed or shuffled"):
        run(store)


def test_finished_shards_are_not_computed_again(store: ShardStore) -> None:
    run(store)

    def never(index: int) -> Arrays:
        raise AssertionError(index)

    assert run(store, never).reused == COUNT


def test_a_damaged_shard_is_computed_again_and_only_that_one(store: ShardStore, expected: list[bytes]) -> None:
    run(store)
    store.path(KEYS[3]).write_bytes(store.path(KEYS[3]).read_bytes()[:-100])
    seen: list[int] = []
    shards = run(store, lambda index: seen.append(index) or content(index))  # type: ignore[func-returns-value]
    assert seen == [3]
    assert shards.reused == COUNT - 1
    assert bytes_of(store) == expected


@pytest.mark.parametrize("runtime", [LOCAL, THREADS], ids=["local", "threads"])
@pytest.mark.parametrize("error", [DataError("shard 4 is wrong"), KeyboardInterrupt(), ZeroDivisionError()], ids=repr)
def test_a_run_that_breaks_off_goes_on_where_it_was(
    store: ShardStore, expected: list[bytes], runtime: Runtime, error: BaseException
) -> None:
    def compute(index: int) -> Arrays:
        if index == 4:
            raise error
        return content(index)

    with pytest.raises(type(error)):
        run(store, compute, runtime)
    kept = {index for index, key in enumerate(KEYS) if key in store}
    # One after the other, all before shard 4; three at once, two of them: the third may be interrupted beside it.
    assert len(kept & {0, 1, 2, 3}) >= (4 if runtime is LOCAL else 2)
    assert 4 not in kept
    seen: list[int] = []
    shards = run(store, lambda index: seen.append(index) or content(index), runtime)  # type: ignore[func-returns-value]
    assert shards.reused == COUNT - len(seen)
    assert 4 in seen
    assert bytes_of(store) == expected


def test_what_runs_beside_a_failing_shard_is_finished_and_kept_and_the_rest_not_begun(store: ShardStore) -> None:
    runtime = Runtime(runner="threads", workers=2, threads=1, device="cpu")
    both, failed = threading.Barrier(2, timeout=30), threading.Event()
    begun: list[int] = []

    def compute(index: int) -> Arrays:
        begun.append(index)
        both.wait()
        if index == 0:
            failed.set()
            raise DataError("shard 0 is wrong")
        failed.wait(30)
        return content(index)

    def once(index: int) -> Arrays:
        # A shard begun between the failure and its being noticed may still run; the barrier is for the first two.
        return compute(index) if index < 2 else content(index)

    with pytest.raises(DataError, match="shard 0"):
        run(store, once, runtime)
    assert KEYS[1] in store
    assert sorted(begun) == [0, 1]


def test_every_worker_has_its_number_of_torch_threads(store: ShardStore) -> None:
    seen: list[int] = []

    def compute(index: int) -> Arrays:
        seen.append(torch.get_num_threads())
        return content(index)

    try:
        run(store, compute, Runtime(runner="threads", workers=2, threads=2, device="cpu"))
    finally:
        torch.set_num_threads(1)
    assert set(seen) == {2}


def test_shards_removed_while_in_use_are_named(store: ShardStore) -> None:
    shards = run(store)
    store.path(KEYS[2]).unlink()
    with pytest.raises(DataError, match=r"shard 2 of test.*run again"):
        shards[2]


def test_no_shard_at_all_is_fine(store: ShardStore) -> None:
    shards = map_shards("none", [], content, THREADS, [], "samples", store=store)
    assert (len(shards), list(shards)) == (0, [])


def test_keys_and_sizes_belong_together(store: ShardStore) -> None:
    with pytest.raises(ValueError, match="8 keys but 1 sizes"):
        map_shards("test", KEYS, content, LOCAL, [10], "samples", store=store)
