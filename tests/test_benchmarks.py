"""Benchmarks measure the library: they start without the pipeline's packages."""

import subprocess
import sys
from pathlib import Path

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
