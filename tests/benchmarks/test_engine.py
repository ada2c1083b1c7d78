"""The benchmark of the searches, at toy size on the bundled digits."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import engine, local_teacher, throughput

TINY = ["--dataset", "digits", "--steps", "30", "--pairs", "10", "--decisions", "250", "--budget", "25"]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Few steps and few queries: the same code, much sooner."""
    monkeypatch.setattr(engine, "_TRAINED", {0: (4, 2, 3)})
    monkeypatch.setattr(throughput, "_QUERIES", 500)
    monkeypatch.setattr(throughput, "_FEWEST_PAIRS", 9)
    monkeypatch.setattr(local_teacher, "KEPT", tmp_path / "teachers")
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)


def run(path: Path, *more: str) -> dict[str, Any]:
    engine.main([*TINY, "--json", str(path), *more])
    result: dict[str, Any] = json.loads(path.read_text())
    return result


@pytest.mark.usefixtures("short", "few_steps", "unchecked")
def test_the_file_tells_what_was_measured(tmp_path: Path) -> None:
    named = ["--surrogates", "lenet5_fifth,compact_half", "--networks", "2", "--seed", "3"]
    result = run(tmp_path / "a.json", "--algorithms", "bd,auto", *named)
    assert result["pairs"] == 18  # whole samples
    assert (result["seed"], result["device"], result["decisions"]) == (3, "cpu", 250)
    assert result["networks"] == 2
    assert result["surrogates"] == ["lenet5_fifth", "compact_half"]
    assert len(result["teacher"]) == 64
    assert result["throughput_share"].keys() == {"lenet5_cpu"}
    assert result["ratio"].keys() == {"bd", "auto"}
    assert all(ratios.keys() == {"25"} and ratios["25"] > 0.9 for ratios in result["ratio"].values())
    assert result["training"]["bd"] == 0 < result["training"]["auto"] < result["seconds"]["auto"]
    more = run(tmp_path / "a.json", "--algorithms", "semicircle", "--no-throughput", *named)
    assert more["teacher"] == result["teacher"]
    assert more["ratio"].keys() == {"bd", "auto", "semicircle"}
    with pytest.raises(SystemExit, match="of another problem"):
        run(tmp_path / "a.json", "--algorithms", "bd", "--no-throughput")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--algorithms", "bd,atuo"], "unknown algorithm 'atuo'; did you mean auto?"),
        (["--pairs", "0"], "--pairs is 0; expected 1 or more"),
        (["--budget", "7"], "--budget is 7; expected 25 or more"),
        (["--networks", "0"], "networks is 0; expected a whole number of 1 or more, 64 at most"),
        (["--surrogates", "lenet"], "unknown architecture 'lenet'"),
        (["--surrogates", "lenet5_half,"], "architecture"),
        (["--teacher", "nowhere"], "nowhere"),
        (["--json", "/dev/null/a.json"], "cannot write"),
        (["--decisions", "30"], "raise --decisions"),
    ],
)
@pytest.mark.usefixtures("short")
def test_a_mistake_is_one_line(wrong: list[str], told: str) -> None:
    with pytest.raises(SystemExit) as failure:
        engine.main([*TINY, *wrong])
    message = str(failure.value)
    assert message.startswith("error: ")
    assert "\n" not in message
    assert told in message
