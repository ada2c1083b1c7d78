"""Benchmarks measure the library: they start without the pipeline's packages."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import benchmarks

# `scaling` measures the pipeline's runners, `serving` and its like need a server's packages.
MODULES = (
    "answers",
    "counting",
    "engine",
    "gate",
    "generator",
    "memory",
    "priors",
    "students",
    "studies.__main__",
    "throughput",
    "zero_shot",
    "zero_shot_curve",
    "zsdb3",
)
PROGRAM = """
import importlib, sys
sys.modules.update(dict.fromkeys(("prefect", "dvc", "hydra", "pydantic", "matplotlib")))
for name in sys.argv[1:]:
    importlib.import_module(f"benchmarks.{name}")
print(*(name for name in sys.modules if name.split(".")[0] == "flows"))
"""


def test_benchmarks_need_no_package_of_the_pipeline() -> None:
    folder = Path(benchmarks.__file__).parent
    assert all(folder.joinpath(*name.split(".")).with_suffix(".py").is_file() for name in MODULES)
    done = subprocess.run([sys.executable, "-c", PROGRAM, *MODULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_litserve_reads_the_request_from_its_body() -> None:
    """LitServe hands the parameter's annotation to FastAPI, to which `Any` is a parameter of the query."""
    from fastapi.dependencies.utils import get_dependant

    script = ast.parse((Path(benchmarks.__file__).parent / "served/litserve_server.py").read_text())
    (method,) = (node for node in ast.walk(script) if getattr(node, "name", "") == "decode_request")
    kind = eval(ast.unparse(method.args.args[1].annotation), {"Any": Any})  # type: ignore[attr-defined]  # noqa: S307

    def endpoint(request: Any) -> None:
        pass

    endpoint.__annotations__["request"] = kind
    dependant = get_dependant(path="/predict", call=endpoint)
    assert ([each.name for each in dependant.body_params], dependant.query_params) == (["request"], [])


@pytest.mark.parametrize(
    ("preset", "told"),
    [
        ("bentml", "unknown preset 'bentml'; did you mean bentoml?"),
        ("mlflow", "mlflow is missing; expected an environ"),
    ],
)
def test_a_server_that_is_not_there_is_one_line(preset: str, told: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.servers", preset]
    more = {**os.environ, "DB3_TEST_SERVERS": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=more)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert told in done.stderr
