"""Each tracker is told of a run, and tells it again through its own interface."""

import time
from pathlib import Path

import pytest

from db3.errors import ConfigError
from db3.publish.sinks import RunRecord, check_sinks, flat, numbers, tell_sinks


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    file = tmp_path / "metrics.json"
    file.write_text("{}")
    parameters = flat({"distill": {"lr": 0.002, "weights": {"ce": 0.0}, "baselines": ["hard"]}, "teacher": None})
    measured = numbers({"student": {"accuracy": {"mean": 0.95, "sd": 0.01}, "digest": "0a"}, "test_images": 597})
    return RunRecord("fee98d449505", parameters, measured, {"loss": [(8, 2.5), (16, 0.5)]}, [file])


def test_names_are_dotted_and_only_numbers_are_measured(record: RunRecord) -> None:
    assert record.parameters == {"distill.lr": 0.002, "distill.weights.ce": 0.0, "teacher": None}
    assert record.metrics == {"student.accuracy.mean": 0.95, "student.accuracy.sd": 0.01, "test_images": 597.0}


@pytest.mark.filterwarnings("ignore")
def test_mlflow_tells_it_again(record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow")
    place = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    monkeypatch.setattr("db3.publish.sinks._logger.warning", lambda *words: told.append(str(words)))
    tell_sinks([f"mlflow:{place}"] * 2, record)
    assert told == []
    client = mlflow.MlflowClient(tracking_uri=place)
    runs = client.search_runs([client.get_experiment_by_name("db3").experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    run = runs[0]
    assert run.data.tags["mlflow.runName"] == record.name
    assert run.data.params["distill.lr"] == "0.002"
    assert run.data.metrics["student.accuracy.mean"] == 0.95
    assert [(row.step, row.value) for row in client.get_metric_history(run.info.run_id, "loss")] == record.curves[
        "loss"
    ]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["metrics.json"]


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_tells_it_again(record: RunRecord, tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    tell_sinks([f"tensorboard:{tmp_path / 'logs'}"], record)
    events = accumulator.EventAccumulator(str(tmp_path / "logs" / record.name))
    events.Reload()
    assert [(row.step, row.value) for row in events.Scalars("loss")] == record.curves["loss"]
    assert events.Scalars("student.accuracy.mean")[0].value == pytest.approx(0.95)
    assert "distill.lr | 0.002" in events.Tensors("parameters/text_summary")[0].tensor_proto.string_val[0].decode()


@pytest.mark.filterwarnings("ignore")
def test_dvclive_tells_it_again(record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dvclive = pytest.importorskip("dvclive", reason="needs dvclive")
    from dvclive.utils import parse_metrics

    monkeypatch.chdir(tmp_path)
    tell_sinks(["dvclive:live"], record)
    history, latest = parse_metrics(dvclive.Live("live", resume=True, save_dvc_exp=False, dvcyaml=None, report=None))
    ((_, rows),) = history.items()
    assert [(int(row["step"]), float(row["loss"])) for row in rows] == record.curves["loss"]
    assert latest["student.accuracy.mean"] == 0.95
    assert "distill.lr: 0.002" in (tmp_path / "live" / "params.yaml").read_text()


def test_a_function_is_a_sink_and_one_that_fails_ends_nothing(record: RunRecord) -> None:
    told: list[RunRecord] = []

    def fails(_: RunRecord) -> None:
        raise ConnectionError("no server")

    check_sinks([fails, told.append])
    tell_sinks([fails, told.append], record)
    assert told == [record]


def test_what_cannot_be_is_refused_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"unknown sink 'mlfow'; did you mean mlflow\?"):
        check_sinks(["mlfow"])
    monkeypatch.setattr("db3.publish.sinks.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"the sink dvclive needs the package dvclive, .*: pip install dvclive"):
        check_sinks(["dvclive:live"])


@pytest.mark.filterwarnings("ignore")
def test_a_server_that_is_down_is_given_up_soon(record: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="needs mlflow")
    told: list[str] = []
    monkeypatch.setattr("db3.publish.sinks._logger.warning", lambda *words: told.append(str(words)))
    begun = time.monotonic()
    tell_sinks(["mlflow:http://127.0.0.1:9"], record)
    assert len(told) == 1
    assert time.monotonic() - begun < 60
