"""What a run tells an experiment tracker: MLflow, TensorBoard, DVCLive, or a function of yours.

A sink is named `KIND` or `KIND:PLACE`; none is a dependency of db3. All that is told lies in the run's own files too.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from db3.errors import ConfigError, one_line, unknown_name

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunRecord:
    """What is told of a run.

    Attributes:
        name: of the run.
        parameters: by their dotted names.
        metrics: by name; shares, counts and milliseconds.
        curves: by name, rows of (step, value).
        files: worth keeping beside the numbers.
    """

    name: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    files: Sequence[Path] = ()


Sink = str | Callable[[RunRecord], object]


def check_sinks(sinks: Iterable[Sink]) -> None:
    """Refuse a sink that cannot be, before anything is asked.

    Raises:
        ConfigError: an unknown name, or the tracker's package is not installed.
    """
    for sink in sinks:
        if isinstance(sink, str):
            kind = sink.partition(":")[0]
            if kind not in _SINKS:
                raise unknown_name("sink", kind, _SINKS)
            module, package, _ = _SINKS[kind]
            if find_spec(module) is None:
                raise ConfigError(
                    f"the sink {kind} needs the package {package}, which is not installed: pip install {package}"
                )


def tell_sinks(sinks: Iterable[Sink], record: RunRecord) -> None:
    """Tell each of a run. One that fails is warned of and no more: the run is done, and lies in its files."""
    for sink in sinks:
        try:
            if callable(sink):
                sink(record)
            else:
                kind, _, place = sink.partition(":")
                _SINKS[kind][2](record, place)
        except Exception as error:  # whatever a tracker or its server raises
            _logger.warning("the sink %s was not told of the run: %s", sink, one_line(error))


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters or metrics by their dotted names; those of lists are left out."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        elif not isinstance(value, list | tuple):
            found[f"{prefix}{name}"] = value
    return found


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of nested values that are numbers, by their dotted names."""
    return {
        name: float(value)
        for name, value in flat(values).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _mlflow(record: RunRecord, place: str) -> None:
    """As a run of the experiment `db3`; `place` is the tracking URI, else MLflow's own choice."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # a server that is down: seconds, not four minutes
    mlflow = import_module("mlflow")
    client = mlflow.MlflowClient(tracking_uri=place or None)
    entities = import_module("mlflow.entities")
    found = client.get_experiment_by_name("db3")
    experiment = found.experiment_id if found else client.create_experiment("db3")
    run = client.create_run(experiment, tags={"mlflow.runName": record.name}).info.run_id
    for name, value in record.parameters.items():
        client.log_param(run, name, str(value)[:500])
    for name, value in record.metrics.items():
        client.log_metric(run, name, value)
    for name, rows in record.curves.items():
        points = [entities.Metric(name, value, 0, step) for step, value in rows]
        client.log_batch(run, metrics=points)
    for path in record.files:
        client.log_artifact(run, str(path))
    client.set_terminated(run)


def _tensorboard(record: RunRecord, place: str) -> None:
    """As scalars and a text; `place` is the folder of logs, else `runs`."""
    writer = import_module("torch.utils.tensorboard").SummaryWriter(str(Path(place or "runs") / record.name))
    with writer:
        rows = "\n".join(f"| {name} | {value} |" for name, value in record.parameters.items())
        writer.add_text("parameters", f"| | |\n|---|---|\n{rows}")
        for name, value in record.metrics.items():
            writer.add_scalar(name, value)
        for name, points in record.curves.items():
            for step, value in points:
                writer.add_scalar(name, value, step)


def _dvclive(record: RunRecord, place: str) -> None:
    """As the files of DVCLive; `place` is their folder, else `dvclive`. No experiment of DVC is made of it."""
    os.environ.setdefault("DVC_NO_ANALYTICS", "true")
    live = import_module("dvclive").Live(place or "dvclive", save_dvc_exp=False, dvcyaml=None, report=None)
    with live:
        live.log_params({name: "null" if value is None else value for name, value in record.parameters.items()})
        for name, points in record.curves.items():
            for step, value in points:
                live.step = step
                live.log_metric(name, value)
        live.summary |= dict(record.metrics)
        live.make_summary()


# Each by name: the module that has to be there, its package, and how it is told.
_SINKS: dict[str, tuple[str, str, Callable[[RunRecord, str], None]]] = {
    "mlflow": ("mlflow", "mlflow", _mlflow),
    "tensorboard": ("tensorboard", "tensorboard", _tensorboard),
    "dvclive": ("dvclive", "dvclive", _dvclive),
}
