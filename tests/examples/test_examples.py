"""The scripts under examples/ run as a reader would run them, and use nothing but public names."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import db3

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))


def output(name: str, tmp_path: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / name)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []  # an example leaves nothing behind
    return done.stdout


def told(text: str) -> tuple[int, float]:
    """Queries asked, and the agreement in per cent."""
    asked, agreement = re.findall(r"([\d,]+) queries asked; the student agrees .* on ([\d.]+)%", text)[0]
    return int(asked.replace(",", "")), float(agreement)


def test_the_parts_by_hand(tmp_path: Path) -> None:
    text = output("boundary_search.py", tmp_path)
    asked, agreement = told(text)
    assert 200 < asked <= 200 + 200 * 3 * 8
    assert agreement > 60  # four classes: 25 by chance
    assert float(re.findall(r"nearest boundary: ([\d.]+)", text)[0]) > 0


@pytest.mark.parametrize(("name", "queries"), [("python_function", 1500), ("zero_shot", 1000), ("endpoint", 1000)])
def test_a_student_learns_from_so_many_queries(name: str, queries: int, tmp_path: Path) -> None:
    text = output(f"{name}.py", tmp_path)
    asked, agreement = told(text)
    assert asked == queries
    assert agreement > 60
    assert "missing" not in text or "missing: ()" in text


def test_an_onnx_file_becomes_a_smaller_one(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    text = output("onnx_file.py", tmp_path)
    per_class = [
        int(count) for count in re.findall(r"\d+", text.partition("decisions per class:")[2].partition("]")[0])
    ]
    assert sum(per_class) == 1160
    assert all(per_class)
    before, after = re.findall(r"([\d,]+) parameters became ([\d,]+)", text)[0]
    assert int(after.replace(",", "")) < int(before.replace(",", ""))
    assert told(text)[1] > 60


def test_a_cascade_keeps_its_promise_and_saves(tmp_path: Path) -> None:
    text = output("cascade.py", tmp_path)
    together = float(re.findall(r"together agree with the teacher on ([\d.]+)%", text)[0])
    alone = float(re.findall(r"the student alone: ([\d.]+)% agreement", text)[0])
    assert together > max(95, alone)
    asked, images = re.findall(r"(\d+) of (\d+) images asked of the teacher", text)[0]
    assert 0 < int(asked) < int(images) == 500


def test_the_notebook_runs_on_fewer_images(tmp_path: Path) -> None:
    """Its cells one after the other, as a notebook runs them."""
    notebook = json.loads((ROOT / "examples" / "default_experiment.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    code, numbers = "\n".join(cells), 'SAMPLES, TEACHER_STEPS, STUDENT_STEPS, FOLDER = 100, 600, 400, "digits-run"'
    assert numbers in code
    code = code.replace(numbers, 'SAMPLES, TEACHER_STEPS, STUDENT_STEPS, FOLDER = 40, 150, 60, "run"')
    code = code.replace('"query.method": "auto"', '"query.method": "bd"').replace("agreement=0.95", "agreement=0.5")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "student and teacher together" in done.stdout
    assert "transfer set " in done.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_only_public_names_are_used(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not {name for name in modules if name.startswith(("db3.", "flows", "benchmarks"))}
    used = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "db3"
    }
    assert used
    assert used <= set(db3.__all__)
