"""Shards: a stage's work cut into fixed pieces, each computed once and kept in the shard store.

What a shard holds is named by its key, a digest of everything that decides its content, so that results never depend
on the runner, the number of workers or the order of the work.
"""

import os
import random
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from pathlib import Path

from db3.errors import ConfigError
from db3.progress import Progress
from db3.shard_store import Arrays, Shards, ShardStore
from flows.config import Runtime
from flows.engine.remote_work import Work
from flows.engine.runners import open_runner
from flows.engine.threads import set_torch_threads

STORE = Path(".db3/shards")

Compute = Callable[[int], Arrays]


def map_shards(
    what: str,
    keys: Sequence[str],
    compute: Compute,
    runtime: Runtime,
    sizes: Sequence[int],
    unit: str,
    store: ShardStore | None = None,
    named: Callable[[int], str] | None = None,
    costs: Callable[[int], tuple[int, int]] | None = None,
) -> Shards:
    """Compute every shard that the store does not hold yet.

    `runtime.runner` decides who computes: `local` is a plain loop, `threads` a pool of `runtime.workers` threads with
    `runtime.threads` torch threads each, `dask` and `ray` have as many shards at once computed by the workers of a
    cluster, which write them into the store themselves. Inside a Prefect flow run each shard is a task run named
    `WHAT-003` as well; a shard found in the store ends as Cached.

    Args:
        what: the stage's name, for progress and task runs.
        keys: one digest per shard, of everything that decides its content.
        compute: arrays of shard `index`; called from several threads or processes at once, so a teacher (one thread at
            a time) has to be made inside or kept in a `threading.local`.
        runtime: runner, workers and threads; they decide no result.
        sizes: units of work in each shard, for the progress.
        unit: name of that unit, e.g. "samples".
        store: where shards are kept; `.db3/shards` of the current folder when not given.
        named: asked for a shard's key again once it is computed, where that shows only then.
        costs: queries asked and sent of a finished shard; None where none are asked.

    Raises:
        Whatever `compute` raises, once; shards already running are finished and kept, later ones are not begun.
        KeyboardInterrupt: at once; finished shards are kept.
    """
    if len(keys) != len(sizes):
        raise ValueError(f"{len(keys)} keys but {len(sizes)} sizes; expected one of each per shard")
    store = ShardStore(STORE) if store is None else store
    found = frozenset(index for index, key in enumerate(keys) if key in store)
    order = _order(len(keys))
    todo = [index for index in order if index not in found]

    def work(index: int) -> None:
        arrays = compute(index)
        store.put(named(index) if named else keys[index], arrays)

    staging = store.root.parent / f"{store.root.name}-staging"
    with open_runner(work, runtime, staging) if todo else nullcontext(work) as run:
        if keys and _in_flow_run():
            from flows.tracking.tasks import run_as_tasks

            run_as_tasks(what, keys, sizes, unit, order, found, run, costs, runtime.threads)
        else:
            with Progress(what, sum(sizes[index] for index in todo), unit) as progress:
                _run_all(todo, run, lambda index: progress.advance(sizes[index]), runtime)
    return Shards(what, [named(index) for index in range(len(keys))] if named else keys, store, len(found))


def _run_all(todo: Sequence[int], run: Work, done: Work, runtime: Runtime) -> None:
    if runtime.runner != "local":
        _run_in_threads(todo, run, done, runtime)
        return
    for index in todo:
        run(index)
        done(index)


def _run_in_threads(todo: Sequence[int], run: Work, done: Work, runtime: Runtime) -> None:
    pool = ThreadPoolExecutor(runtime.workers, "shard", initializer=set_torch_threads, initargs=(runtime.threads,))
    futures = {pool.submit(run, index): index for index in todo}
    wait = True
    try:
        for future in as_completed(futures):
            future.result()
            done(futures[future])
    except KeyboardInterrupt:
        wait = False  # whoever presses Ctrl-C gets the prompt back; only the shards still running are lost
        raise
    finally:
        pool.shutdown(wait, cancel_futures=True)


def _in_flow_run() -> bool:
    """Whether a Prefect flow run is going on here; never imports Prefect, which costs more than a second."""
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None


def _order(count: int) -> list[int]:
    """The order in which shards are begun; DB3_SHARD_ORDER lets a test prove that it changes no result."""
    order, name = list(range(count)), os.environ.get("DB3_SHARD_ORDER", "forward")
    if name == "reversed":
        order.reverse()
    elif name == "shuffled":
        random.Random(count).shuffle(order)  # noqa: S311 - an order of work, no secret
    elif name != "forward":
        raise ConfigError(f"DB3_SHARD_ORDER is {name!r}; expected forward, reversed or shuffled")
    return order
