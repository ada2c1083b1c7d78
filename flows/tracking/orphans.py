"""Runs that nobody watches any more, as after a killed worker: the server would show them as running for ever."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

LOST = "the worker ended before this run; start it again: stages that are done are skipped, finished shards are kept"


def close_orphans(pool: str) -> int:
    """Say of every unfinished run of a work pool without a worker that it crashed; how many they were.

    Nobody else would: a run's process that is killed, or ends after its server, cannot tell, and its place among the
    deployment's concurrent runs stays taken, so that the next run would wait for ever. A run that was being cancelled
    ends as Cancelled. Stages and shards below the run end with it.
    """
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter

    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({"state": _unfinished()}),
            work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
        )
        _close(client, runs)
    return len(runs)


def _close(client: "SyncPrefectClient", runs: "Sequence[FlowRun]") -> None:
    from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled, Crashed

    for run in runs:
        cancelled = run.state_type == StateType.CANCELLING
        state = Cancelled(message="cancelled, then the worker ended") if cancelled else Crashed(message=LOST)
        below = {"parent_flow_run_id": {"any_": [run.id]}, "state": _unfinished()}
        _close(client, client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(below)))
        tasks = client.read_task_runs(
            flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [run.id]}}),
            task_run_filter=TaskRunFilter.model_validate({"state": _unfinished()}),
        )
        for task in tasks:
            client.set_task_run_state(task.id, state, force=True)
        client.set_flow_run_state(run.id, state)


def _unfinished() -> dict[str, Any]:
    return {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}
