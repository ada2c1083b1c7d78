"""Schedules that people added, paused or resumed in Prefect's UI: to deploy prefect.yaml again would undo that."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate


@contextmanager
def schedules_kept() -> Iterator[None]:
    """Deploy within this block. Schedules of prefect.yaml have a slug, by which they are known again."""
    with get_client(sync_client=True) as client:
        before = {found.id: found.schedules for found in client.read_deployments()}
        yield
        for deployment, former in before.items():
            there = {_name(each): each for each in client.read_deployment_schedules(deployment)}
            for each in former:
                if now := there.get(_name(each)):
                    if now.active != each.active:
                        client.update_deployment_schedule(deployment, now.id, active=each.active)
                elif not each.slug:
                    lost = DeploymentScheduleCreate(
                        schedule=each.schedule, active=each.active, parameters=each.parameters
                    )
                    client.create_deployment_schedules(deployment, [lost])


def _name(schedule: DeploymentScheduleCreate) -> str:
    """What a schedule is known by."""
    return schedule.slug or f"{schedule.schedule!r} {schedule.parameters!r}"
