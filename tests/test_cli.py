"""The command `db3`: without the pipeline at hand it says what is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from db3.cli import main; main()"
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), ([], 2), (["replya"], 2)])
def test_usage(arguments: list[str], status: int, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == status
    assert "usage: db3 replay" in (done.stderr if status else done.stdout)


def test_replay_outside_a_clone_says_where_to_run_it(tmp_path: Path) -> None:
    done = run("replay", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"db3: replay finds no pipeline in {tmp_path}; expected a clone of db3's repository, with flows/ and "
        "params.yaml: run it there, with 'db3[pipeline]' installed\n"
    )


def test_replay_without_the_extra_says_which(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").touch()
    (tmp_path / "flows" / "verify.py").write_text("import no_such_package\n", encoding="utf-8")
    done = run("replay", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "db3: replay needs the package no_such_package, which is not installed: pip install 'db3[pipeline]'\n"
    )


def test_replay_shows_the_pipelines_own_help() -> None:
    done = run("replay", "--help", cwd=ROOT)
    assert done.returncode == 0
    assert "usage: db3 replay" in done.stdout
