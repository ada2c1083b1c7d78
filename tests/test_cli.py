"""The command `db3`: a table of names, a man page, and one line where something is missing."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from db3.cli import ALIASES, COMMANDS, help_text

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str, cwd: Path, before: str = "pass") -> "subprocess.CompletedProcess[str]":
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {before}; from db3.cli import main; main()"
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_has_its_function(name: str) -> None:
    module, _, function = COMMANDS[name].function.partition(":")
    assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize("name", [*COMMANDS, *ALIASES])
def test_every_command_shows_its_own_help(name: str, tmp_path: Path) -> None:
    done = run(name, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: db3 {ALIASES.get(name, name)}" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("asked", ["--help", "-h", "help"])
def test_the_help_reads_like_a_man_page_and_names_every_command(asked: str, tmp_path: Path) -> None:
    done = run(asked, cwd=tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", help_text())
    titles = [line for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert titles == ["NAME", "SYNOPSIS", "COMMANDS", "FILES", "ENVIRONMENT", "EXIT STATUS", "EXAMPLES"]
    assert all(name in done.stdout for name in (*COMMANDS, *ALIASES))
    assert max(map(len, done.stdout.splitlines())) <= 110


def test_the_version_is_told(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path).stdout.startswith("db3 ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [([], "db3: expected a command"), (["replya"], "db3: unknown command 'replya'; did you mean replay?")],
)
def test_a_wrong_command_is_told_with_the_nearest(arguments: list[str], told: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{told}\nusage: db3 COMMAND [ARGUMENT ...]; `db3 --help` lists the commands\n"


def test_verify_elsewhere_than_in_a_project_says_where_to_run_it(tmp_path: Path) -> None:
    done = run("verify", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == ("error: cannot read params.yaml: No such file or directory; run in the project's root\n")


def test_what_is_installed_runs_and_not_what_lies_around(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").write_text("raise SystemExit('foreign code')\n", encoding="utf-8")
    assert "usage: db3 verify" in run("verify", "--help", cwd=tmp_path).stdout


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.extra])
def test_a_command_without_its_extra_says_which(name: str, tmp_path: Path) -> None:
    extra = COMMANDS[name].extra
    module = {"pipeline": "ruamel.yaml", "report": "jinja2"}[extra]
    done = run(name, cwd=tmp_path, before=f"sys.modules['{module}'] = None")
    assert done.returncode == 2
    package, who = module.partition(".")[0], {"report": "the report"}.get(name, name)
    assert done.stderr == (
        f"db3: {who} needs the package {package}, which is not installed: pip install 'db3[{extra}]'\n"
    )
