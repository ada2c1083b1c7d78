"""Pictures of benchmarks: drawn from the files that the benchmarks write, and refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.plot import plot
from benchmarks.zero_shot_curve import main, read_curves

PNG = b"\x89PNG"


def _file(path: Path, *runs: dict[str, Any]) -> Path:
    run = {"dataset": "mnist", "samples": "priors", "assistants": 0, "real": 0, "student_parameters": 9}
    path.write_text(json.dumps({"runs": [{**run, **each} for each in runs]}))
    return path


def test_a_point_is_the_mean_of_its_seeds_and_a_line_a_student(tmp_path: Path) -> None:
    first = _file(
        tmp_path / "a.json",
        {"student": "compact", "asked": 200, "accuracy": 0.5},
        {"student": "compact", "asked": 100, "accuracy": 0.25},
        {"student": "compact", "asked": 100, "accuracy": 0.75},
    )
    second = _file(tmp_path / "b.json", {"student": "compact", "asked": 100, "accuracy": 1.0, "assistants": 2})
    curves = read_curves([first, second])
    assert curves == {
        "compact (9)": {100: 50.0, 200: 50.0},
        "compact (9), teacher assistants": {100: 100.0},
    }
    assert list(curves["compact (9)"]) == [100, 200]


def test_wrong_files_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(SystemExit, match=r"none\.json holds no runs; expected"):
        main([str(tmp_path / "none.json"), "--plot", str(tmp_path / "p.png")])
    run = {"student": "compact", "asked": 1, "accuracy": 1.0}
    both = [_file(tmp_path / f"{name}.json", {**run, "dataset": name}) for name in ("mnist", "cifar10")]
    with pytest.raises(SystemExit, match="of cifar10, mnist; expected one dataset"):
        main([*map(str, both), "--plot", str(tmp_path / "p.png")])
    with pytest.raises(SystemExit, match="--published is 'much'; expected QUESTIONS=ACCURACY"):
        main([str(both[0]), "--plot", str(tmp_path / "p.png"), "--published", "much"])


def test_both_pictures_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib (the extra bench)")
    file = _file(tmp_path / "a.json", {"student": "compact", "asked": 100, "accuracy": 0.5})
    main([str(file), "--plot", str(tmp_path / "curve.png"), "--published", "50=20.5,100=30"])
    assert (tmp_path / "curve.png").read_bytes().startswith(PNG)
    described = {"pairs": 3, "decisions": 100, "ratio": {"auto": {"25": 1.2, "50": 1.1}, "foolbox": {"25": 2.0}}}
    plot(described, tmp_path / "distances.png")
    assert (tmp_path / "distances.png").read_bytes().startswith(PNG)
