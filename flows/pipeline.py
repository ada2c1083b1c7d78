"""The whole pipeline as one Prefect flow: a task per DVC stage, in the order of dvc.yaml's graph.

`python -m flows.pipeline` runs it once: tracked by the server of PREFECT_API_URL when that is set, else by a temporary
server that ends with the run. `python -m flows.ui` serves it to the UI, with a nightly schedule. DVC decides what has
to run; a task's state repeats its word: Completed (ran), Cached (from DVC's cache) or Skipped (nothing changed).
"""

import argparse
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, NoReturn

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import State
from prefect.runtime import flow_run, task_run
from prefect.states import Completed, Failed
from pydantic import WithJsonSchema

from db3.errors import ConfigError, Db3Error, nearest, one_line
from flows.compose import CONF, write_params
from flows.engine.dvc import CACHED, SKIPPED, dvc_environment, failure, start_dvc
from flows.engine.locks import end_with_processes, hold_lock, require_idle
from flows.engine.stage import run_entry_point
from flows.tracking import artifacts
from flows.tracking.server import require_server
from flows.tracking.tables import Table
from flows.yaml_files import read_yaml

# Named defaults: for a parameter that may be null the UI's form shows the choice of a type first.
AS_IT_STANDS = "params.yaml as it stands"
ALL = "the end"


class PipelineError(Db3Error):
    """A stage of the pipeline failed, or dvc.yaml cannot be read."""


def stages(path: Path = Path("dvc.yaml"), until: str | None = None) -> dict[str, list[str]]:
    """Names of dvc.yaml's stages in the order of their graph, each with the stages that it needs.

    Args:
        path: of dvc.yaml.
        until: leave out what this stage does not need.

    Raises:
        PipelineError: dvc.yaml cannot be read, or its stages go in a circle.
        ConfigError: there is no stage `until`.
    """
    try:
        described = read_yaml(path)["stages"]
    except (ConfigError, KeyError, TypeError) as error:
        raise PipelineError(f"cannot read the stages of {path} ({error}); run in the project's root") from error
    outs = {name: _paths(stage, "outs", "metrics", "plots") for name, stage in described.items()}
    needs = {
        name: [other for other in described if other != name and _overlap(_paths(stage, "deps"), outs[other])]
        for name, stage in described.items()
    }
    if until:
        if until not in needs:
            raise ConfigError(f"there is no stage {until!r} in {path}; {nearest(until, needs)}")
        needs = {name: needs[name] for name in _ancestors(until, needs)}
    try:
        return {name: needs[name] for name in TopologicalSorter(needs).static_order()}
    except CycleError as error:
        raise PipelineError(f"the stages of {path} go in a circle: {' -> '.join(error.args[1])}") from error


def _paths(stage: dict[str, Any], *fields: str) -> list[Path]:
    entries = [entry for field in fields for entry in stage.get(field, [])]
    return [Path(next(iter(entry)) if isinstance(entry, dict) else entry) for entry in entries]


def _overlap(deps: Sequence[Path], outs: Sequence[Path]) -> bool:
    return any(dep == out or dep in out.parents or out in dep.parents for dep in deps for out in outs)


def _ancestors(name: str, needs: dict[str, list[str]]) -> set[str]:
    return {name}.union(*(_ancestors(stage, needs) for stage in needs[name]))


def _one_of(title: str, default: str, names: Sequence[str]) -> WithJsonSchema:
    """A list to choose from in the UI's form; the server refuses anything else before it takes a run."""
    return WithJsonSchema({"title": title, "type": "string", "enum": [default, *names]})


def _choices() -> tuple[list[str], list[str]]:
    """Experiments and stages of the project in the current folder."""
    with suppress(Db3Error):
        return sorted(path.stem for path in CONF.glob("experiment/*.yaml")), list(stages())
    return [], []


_EXPERIMENTS, _STAGES = _choices()
Experiment = Annotated[str, _one_of("experiment", AS_IT_STANDS, _EXPERIMENTS)]
Override = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^[+~]?[\w.@/]+(=.*)?$"})]
LastStage = Annotated[str, _one_of("until", ALL, _STAGES)]


def _run_name() -> str:
    """What a run is about, in place of Prefect's two random words: experiment, parameters, last stage."""
    given = flow_run.parameters
    words = [str(given["experiment"]), *map(str, given["overrides"])]
    words += [f"until {given['until']}"] if given["until"] != ALL else []
    return one_line(", ".join([*words, "forced"] if given["force"] else words), 120)


@flow(name="db3-pipeline", flow_run_name=_run_name, persist_result=False)
def pipeline(
    experiment: Experiment = AS_IT_STANDS,
    overrides: Sequence[Override] = (),
    until: LastStage = ALL,
    force: bool = False,
) -> Any:
    """Bring every stage of dvc.yaml up to date.

    Args:
        experiment: a file of conf/experiment, composed into params.yaml first.
        overrides: parameters to compose into params.yaml, e.g. `distill.lr=0.001`; all others get the default's or
            the experiment's values.
        until: the last stage to run.
        force: run stages although nothing changed.
    """
    if "PREFECT__FLOW_RUN_ID" in os.environ:  # started by a worker: nobody else would end this run when it is gone
        end_with_processes([os.getppid()])
    try:
        with hold_lock("the pipeline", "run"):
            if experiment != AS_IT_STANDS or overrides:
                chosen = [f"experiment={experiment}"] if experiment != AS_IT_STANDS else []
                _say(write_params([*chosen, *overrides]))
            return _all(stages(until=None if until == ALL else until), force)
    except Db3Error as error:
        return Failed(message=str(error))


def _all(graph: dict[str, list[str]], force: bool) -> State[Any]:
    """One stage after the other; the first that fails ends it."""
    states: dict[str, State[Any]] = {}
    seconds: dict[str, float] = {}
    table = Table("pipeline-stages")
    for name, before in graph.items():
        begun = time.monotonic()
        run = repro.with_options(name=name, task_run_name=name)
        states[name] = run(name, force, wait_for=[states[stage] for stage in before], return_state=True)
        seconds[name] = time.monotonic() - begun
        table.show(*artifacts.progress(list(graph), states, seconds))
        if not states[name].is_completed():
            return Failed(message=f"{name}: {states[name].message}")
    return Completed(message=", ".join(f"{name} {state.name}".lower() for name, state in states.items()))


@task(cache_policy=NO_CACHE, persist_result=False)
def repro(name: str, force: bool = False) -> Any:
    """Run `dvc repro --single-item` for one stage; its state says what DVC found."""
    arguments = ["repro", "--single-item", *(["--force"] if force else []), name]
    part_of = {"DB3_RUN": str(os.getpid()), "DB3_TASK_RUN": str(task_run.id or "")}
    lines: list[str] = []
    with start_dvc(arguments, dvc_environment(**part_of)) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            _say(lines[-1])
    state = outcome(name, process.returncode, lines)
    if state.is_completed():
        artifacts.show_stage(name)
    else:
        artifacts.show_failure(name, state.message or "", lines)
    return state


def outcome(name: str, status: int, lines: Sequence[str]) -> State[Any]:
    """The Prefect state that the exit status and the output of `dvc repro --single-item NAME` stand for."""
    if status != 0:
        return Failed(message=failure(status, lines))
    if any(map(CACHED.search, lines)):
        return Completed(name="Cached", message="outs checked out from DVC's cache")
    if any(map(SKIPPED.search, lines)):
        return Completed(name="Skipped", message="nothing it depends on has changed")
    return Completed(message=next((line for line in reversed(lines) if line.startswith(f"{name}: ")), "ran"))


def main() -> NoReturn:
    parser = argparse.ArgumentParser(
        prog="python -m flows.pipeline", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", help="experiment=NAME or group.key=value")
    parser.add_argument("--until", metavar="STAGE", default=ALL, help="the last stage to run")
    parser.add_argument("--force", action="store_true", help="run stages although nothing changed")
    given = parser.parse_args()

    def work() -> str:
        require_idle("the pipeline")  # before a temporary server is started for nothing
        if os.environ.get("PREFECT_API_URL"):
            require_server()
        state: Any = pipeline(overrides=given.overrides, until=given.until, force=given.force, return_state=True)
        if not state.is_completed():
            raise PipelineError(state.message or state.name)
        return f"pipeline: {state.message}"

    run_entry_point(work)


def _say(line: str) -> None:
    """To the terminal, and to the run's log in the UI."""
    print(line, flush=True)
    get_run_logger().info(line)


if __name__ == "__main__":
    main()
