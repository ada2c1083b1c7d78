"""Shards inside a Prefect flow run: a task run each, and artifacts that tell how far the stage is."""

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from prefect import Flow, get_client, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.flow_engine import run_flow
from prefect.futures import as_completed
from prefect.states import Cancelled, Completed, Pending

from flows.engine.remote_work import Work
from flows.engine.threads import set_torch_threads
from flows.tracking.tables import Table

RETRIES = 2
BACK_OFF = (5, 30)  # seconds before the first and the second retry
EVERY = 5.0  # seconds between two versions of an artifact: each is a call to the server


def run_linked(flow: Flow[..., Any], parameters: dict[str, Any]) -> str:
    """Run a stage's flow below the task of the pipeline that started this process (DB3_TASK_RUN), where there is one:
    the two are different processes with DVC between them, and Prefect links only what one process calls.
    """
    parent = os.environ.get("DB3_TASK_RUN")
    if not parent:
        return str(flow(**parameters))
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(flow, parameters=parameters, parent_task_run_id=UUID(parent), state=Pending())
    return str(run_flow(flow, run, parameters))


def run_as_tasks(
    what: str,
    keys: Sequence[str],
    sizes: Sequence[int],
    unit: str,
    order: Sequence[int],
    found: frozenset[int],
    run: Work,
    costs: Callable[[int], tuple[int, int]] | None,
    threads: int,
) -> None:
    """Submit one task run per shard and wait for all; on an error those not begun end as Cancelled."""
    stop = threading.Event()
    artifacts = ShardArtifacts(what, sizes, unit, costs)
    shard = _shard_task(what, found, run, threads, stop)
    futures = {shard.submit(index=index, key=keys[index]): index for index in order}
    try:
        for future in as_completed(list(futures)):
            future.result()
            index = futures[future]
            artifacts.done(index, "in the store" if index in found else "computed")
    finally:
        stop.set()
        for future in futures:
            future.wait()
        artifacts.show(last=True)


def _shard_task(what: str, found: frozenset[int], run: Work, threads: int, stop: threading.Event) -> Any:
    """How a shard is submitted to Prefect.

    The store alone says what is done already: Prefect keeps no result of its own that could disagree. Parameters and
    results of a task run stay small (Prefect stores them as JSON): an index and a key. Only a connection that broke is
    tried again: whatever else failed would fail again, and might pay the teacher twice.
    """

    def shard(index: int, key: str) -> Any:
        if stop.is_set():
            return Cancelled(message="not begun: another shard failed, or the run was interrupted")
        if index in found:
            return Completed(name="Cached", message=f"shard {key} is in the store")
        set_torch_threads(threads)
        run(index)
        return key

    return task(
        name=what,
        task_run_name=f"{what}-{{index:03d}}",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=RETRIES,
        retry_delay_seconds=list(BACK_OFF),
        retry_jitter_factor=0.5,
        retry_condition_fn=_may_be_tried_again,
    )(shard)


def _may_be_tried_again(_task: Any, _run: Any, state: Any) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, ConnectionError | TimeoutError)


class ShardArtifacts:
    """Progress and table of the shards of one stage, shown in the UI while it runs.

    Args:
        what: the stage, or the round of it.
        sizes: units of work in each shard; where queries are asked, the most that it may ask.
        unit: of the sizes.
        costs: queries asked and sent of a finished shard; None where the stage asks nothing.
    """

    def __init__(
        self, what: str, sizes: Sequence[int], unit: str, costs: Callable[[int], tuple[int, int]] | None
    ) -> None:
        self._what, self._sizes, self._unit, self._costs = what, sizes, unit, costs
        self._rows: dict[int, dict[str, Any]] = {}
        self._key = re.sub(r"[^a-z0-9]+", "-", what.lower()).strip("-")
        self._begun = self._shown = time.monotonic()
        self._table = Table(f"{self._key}-shards")
        self._artifact = create_progress_artifact(0.0, f"{self._key}-progress", f"{what}: 0 of {len(sizes)} shards")

    def done(self, index: int, how: str) -> None:
        """Shard `index` is finished; call it from the thread of the flow."""
        row: dict[str, Any] = {"shard": index, "state": how, f"{self._unit} at most": self._sizes[index]}
        if self._costs:
            asked, sent = self._costs(index)
            row |= {"asked": asked, "sent now": 0 if how == "in the store" else sent, "after s": self._elapsed()}
        self._rows[index] = row
        if time.monotonic() - self._shown >= EVERY:
            self.show()

    def show(self, last: bool = False) -> None:
        """Bring the artifacts up to date."""
        self._shown = time.monotonic()
        count, total = len(self._rows), len(self._sizes)
        said = f"{self._what}: {count:,} of {total:,} shards{self._spent()}, {self._elapsed()} s"
        update_progress_artifact(self._artifact, 100.0 * count / max(1, total), said)
        if total and (last or count < total):
            rows = [self._rows[index] for index in sorted(self._rows)]
            self._table.show(rows, said)

    def _spent(self) -> str:
        if not sum(self._sizes) or not any("asked" in row for row in self._rows.values()):
            return ""
        asked = sum(row.get("asked", 0) for row in self._rows.values())
        sent = sum(row.get("sent now", 0) for row in self._rows.values())
        return f"; {asked:,} queries asked of {sum(self._sizes):,} at most, {sent:,} sent now, the rest known"

    def _elapsed(self) -> int:
        return round(time.monotonic() - self._begun)
