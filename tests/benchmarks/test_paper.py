"""The paper's table: its rows, its page, and a run that is stopped and goes on."""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.paper import __main__ as paper
from benchmarks.paper.page import NO_DATA, NOT_RUN, page, spread
from benchmarks.paper.project import _Clock
from benchmarks.paper.record import identity
from benchmarks.paper.rows import SMALL, Row, Table, absent_sets, choose, source, tables
from db3.errors import ConfigError
from flows.compose import compose
from tests.flows.conftest import until

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
EXPERIMENTS = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
ROWS = [row for table in tables() for row in table.rows]


def record(name: str, learns: str = "decisions and images asked", **more: Any) -> dict[str, Any]:
    """As a run writes it, of invented numbers."""
    found = {"accuracy": {"mean": 0.9878, "sd": 0.0008}, "agreement": {"mean": 0.99, "sd": 0.001}}
    return {
        "row": name,
        "about": name,
        "published": None,
        "teacher": {"accuracy": 0.99, "architecture": "lenet5", "parameters": 1},
        "ours": found | {"learns": learns},
        "kd": {"accuracy": {"mean": 0.9841, "sd": 0.0005}},
        "hard": {"accuracy": {"mean": 0.9463, "sd": 0.0026}},
        "samples": {"count": 1000, "method": "real"},
        "queries": {"per_sample": 144.2, "sent": 1234567},
        "transfer": {"digest": "fee98d449505aaaa"},
        "seeds": 3,
        "seconds": {"total": 700.0, "stages": {}, "shared": ["fetch_teacher"]},
        "provenance": {
            "command": f"python -m benchmarks.paper --only {name} --seeds 3",
            **{"commit": "0123456789abcdef", "changed": False, "device": "cpu", "machine": "x", "date": "2026-11-28"},
            **{"cores": 2, "load": 1.5},
        },
    } | more


def test_each_row_is_an_experiment_and_each_experiment_of_two_sizes_a_row() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    assert {row.experiment for row in ROWS} <= EXPERIMENTS
    small = {name for name in EXPERIMENTS if name.endswith(SMALL)}
    assert small <= set(names)
    assert {name.removesuffix(SMALL) for name in small} <= set(names)
    for row in ROWS:
        if row.overrides:
            assert compose([f"experiment={row.experiment}", *row.overrides], CONF)


def test_rows_are_chosen_by_name_and_by_pattern() -> None:
    assert [row.name for row in choose(["mnist_small", "cifar10_*_quarter"])] == [
        *("mnist_small", "cifar10_sd_quarter", "cifar10_bd_quarter", "cifar10_mbd_quarter")
    ]
    assert choose(["smoke"]) == [Row("smoke", "smoke")]
    with pytest.raises(ConfigError, match=r"'mnist_smal'.*did you mean mnist_small\?"):
        choose(["mnist_smal"])


def test_published_numbers_belong_to_the_whole_set() -> None:
    whole, small = choose(["mnist_mbd", "mnist_mbd_small"])
    assert whole.published is not None
    assert small.published is not None
    assert (whole.published.accuracy, whole.published.kd, whole.published.same_setup) == (0.9952, 0.9933, True)
    assert (small.published.accuracy, small.published.same_setup) == (0.9952, False)
    assert choose(["mnist_bd"])[0].published is None


def test_the_page_tells_what_ran_and_what_did_not() -> None:
    rows = tuple(choose(["mnist_mbd", "mnist_mbd_small", "mnist_small", "flowers102_bd"]))
    text = page(
        [Table("Rows", "About.", rows)], {"mnist_small": record("mnist_small")}, [], "a paper", ["flowers"], None
    )
    lines = {row.name: next(line for line in text.splitlines() if f"(`{row.name}`)" in line) for row in rows}
    assert "| 99.33 | 99.52 |" in lines["mnist_mbd"]
    assert f"| {NOT_RUN} |" in lines["mnist_mbd"]
    assert "| (99.33) | (99.52) |" in lines["mnist_mbd_small"]
    assert f"| {NO_DATA} |" in lines["flowers102_bd"]
    for told in ("99.00", "98.41 ± 0.05", "94.63 ± 0.26", "**98.78 ± 0.08**", "99.00 ± 0.10", "144", "12 min"):
        assert f"| {told} |" in lines["mnist_small"]
    assert len({line.count("|") for line in lines.values()}) == 1
    (source,) = (line for line in text.splitlines() if "`fee98d449505`" in line)
    assert "`python -m benchmarks.paper --only mnist_small --seeds 3`" in source
    for told in ("1,234,567", "0123456789ab |", "fetch_teacher shared", "2 cores at load 1.5"):
        assert told in source
    assert "Not run: `python -m benchmarks.paper --curve digits" in text
    assert "](" not in text


def test_the_page_shows_the_curve() -> None:
    points = [record(f"digits@{count}", samples={"count": count, "method": "real"}) for count in (25, 100)]
    text = page([], {}, points, "a paper", [], "images/x.png")
    assert "`digits` with nothing changed but `samples.count`" in text
    assert "| samples | KD | hard | student | agreement | queries |" in text
    assert "](images/x.png)" in text
    assert "| 25 | 98.41 ± 0.05 | 94.63 ± 0.26 | **98.78 ± 0.08** | 99.00 ± 0.10 | 144 |" in text


def test_the_committed_page_is_the_benchmarks() -> None:
    """Its words and its rows; the numbers are those of records that are not kept here."""
    committed = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    text = page(tables(), {}, [], source(), absent_sets(), None)
    assert committed.startswith(text.partition("## ")[0])
    assert all(f"(`{row.name}`)" in committed for row in ROWS)


def test_a_spread_is_told_in_per_cent() -> None:
    assert spread({"mean": 0.98784, "sd": 0.00084}, 3) == "98.78 ± 0.08"
    assert spread({"mean": 0.98784, "sd": 0.0}, 1) == "98.78"
    assert spread(None, 3) == ""


def test_the_clock_adds_up_what_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    now = [0.0]
    monkeypatch.setattr("benchmarks.paper.project.time.monotonic", lambda: now[0])

    def run(lines: Sequence[str], *, ended: bool) -> Any:
        clock = _Clock()
        for line in lines:
            clock.hear(line)
            now[0] += 10
        clock.stop(ended=ended)
        return json.loads(Path("seconds.json").read_text())

    run(["Running stage 'samples':", "samples: done", "Running stage 'distill':"], ended=False)
    told = run(["Stage 'samples' didn't change, skipping", "Running stage 'distill':"], ended=True)
    assert {name: entry["seconds"] for name, entry in told.items()} == {"samples": 20.0, "distill": 20.0}
    told = run(
        ["Stage 'samples' is cached - skipping run, checking out outputs", "Running stage 'distill':"], ended=True
    )
    assert told["samples"] == {"seconds": 0.0, "ended": True, "cached": True}
    assert told["distill"]["seconds"] == 10.0


def test_what_is_known_already_is_not_run_again(tmp_path: Path) -> None:
    """A record of another machine, for the same parameters and code; of other ones it is no use."""
    options = argparse.Namespace(folder=tmp_path, seeds=2, set=[], download=False, data_root=tmp_path)
    params = compose(["experiment=smoke", "evaluate.seeds=2"], CONF)
    known = {"row": "smoke", "provenance": {"commit": "of another machine", **identity(params)}}
    (tmp_path / "smoke.json").write_text(json.dumps(known))
    (row,) = choose(["smoke"])
    assert paper._bring(row, options) == known
    assert not (tmp_path / "projects").exists()
    assert identity(compose(["experiment=smoke"], CONF))["parameters"] != identity(params)["parameters"]
    workers = compose(["experiment=smoke", "evaluate.seeds=2", "runtime.workers=7"], CONF)
    assert identity(workers) == identity(params)


def test_the_page_keeps_records_of_other_days(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "results.md"
    kept, runs = page.with_suffix(""), tmp_path / "runs"
    kept.mkdir(parents=True)
    runs.mkdir()
    (kept / "mnist_small.json").write_text(json.dumps(record("mnist_small")))
    (kept / "digits.json").write_text(json.dumps(record("digits", learns="what is out of date")))
    (runs / "digits.json").write_text(json.dumps(record("digits", learns="what was run now")))
    paper._write(argparse.Namespace(write=page, folder=runs, curve=None))
    text = page.read_text()
    assert "what was run now" in text
    assert "out of date" not in text
    assert "--only mnist_small --seeds 3" in text
    assert json.loads((kept / "digits.json").read_text())["ours"]["learns"] == "what was run now"


def call(*arguments: str, **options: Any) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DB3_", "DVC_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.paper", *arguments],
        cwd=ROOT,
        env=kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "expected --only ROW, --curve ROW, --write PAGE or --list"),
        (["--only", "smoke", "--set", "query.budget=1"], "a row's other parameters are its experiment's"),
    ],
)
def test_a_wrong_command_is_one_line(arguments: list[str], told: str, tmp_path: Path) -> None:
    process = call(*arguments, "--folder", str(tmp_path))
    assert told in process.communicate(timeout=120)[1].splitlines()[-1]
    assert process.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--seeds", "0"], "error: smoke: the composed parameters: evaluate.seeds is 0; expected a whole number of 1"),
        (["--json", "{file}/x.json"], "x.json: File exists; name another file"),
        (["--write", "{folder}"], "Is a directory; name another file"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_runs(arguments: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    given = [word.format(file=tmp_path / "file", folder=tmp_path) for word in arguments]
    process = call("--only", "smoke", "--folder", str(tmp_path / "runs"), *given)
    (line,) = process.communicate(timeout=120)[1].splitlines()
    assert told in line
    assert process.returncode == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_row_is_stopped_and_goes_on(tmp_path: Path) -> None:
    arguments = [
        "--only",
        "smoke",
        "--seeds",
        "2",
        "--folder",
        str(tmp_path / "runs"),
        "--json",
        str(tmp_path / "x.json"),
    ]
    first = call(*arguments)
    told: list[str] = []
    assert first.stdout is not None
    for line in first.stdout:
        told.append(line)
        if "Running stage 'query_decisions'" in line:
            break
    begun = psutil.Process(first.pid).children(recursive=True)
    assert begun
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=120)
    assert first.returncode == 130
    until(lambda: not any(process.is_running() for process in begun))
    assert not list((tmp_path / "runs").glob("*.json"))
    second = call(*arguments)
    out, errors = second.communicate(timeout=900)
    assert second.returncode == 0, errors
    assert "Running stage 'fetch_teacher'" not in out
    found = json.loads((tmp_path / "x.json").read_text())["smoke"]
    project = tmp_path / "runs/projects/smoke"
    metrics = json.loads((project / "data/evaluation/metrics.json").read_text())
    assert found["transfer"]["digest"] == metrics["transfer"]["digest"]
    assert found["ours"]["accuracy"] == found["queried_images"]["accuracy"] == metrics["student"]["accuracy"]
    assert found["kd"]["accuracy"] == metrics["baselines"]["kd"]["accuracy"]
    assert {"hard", "inverse", "augmented"} <= found.keys()
    assert (found["seeds"], found["published"], found["queries"]["sent"] > 0) == (2, None, True)
    assert found["provenance"]["command"] == "python -m benchmarks.paper --only smoke --seeds 2"
    assert found["seconds"]["stages"].keys() >= {"fetch_teacher", "distill"}
    third = call(*arguments, "--write", str(tmp_path / "page.md"))
    assert "Running stage" not in third.communicate(timeout=300)[0]
    assert (
        f"(`mnist_small`) | (99.33) | (99.52) |  |  |  |  |  |  |  | {NOT_RUN} |" in (tmp_path / "page.md").read_text()
    )
