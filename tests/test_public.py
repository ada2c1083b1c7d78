"""The public names: one list, all of them there, cheap to import, and without any extra."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import db3
from db3.cli import COMMANDS
from db3.errors import ConfigError
from db3.extras import needs

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

CHEAP = """
import sys, db3
assert "torch" not in sys.modules and "numpy" not in sys.modules
assert "search_distances" in dir(db3)
"""

# What a missing package does, without uninstalling it.
WITHOUT_EXTRAS = """
import sys
for name in {hidden!r}:
    sys.modules[name] = None
import db3
from db3.cli import COMMANDS
from db3.errors import ConfigError
for name in db3.__all__:
    try:
        getattr(db3, name)
    except (ConfigError, ModuleNotFoundError) as error:
        print(name, "|", error)
"""


@pytest.mark.parametrize("name", db3.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(db3, name) is not None


def test_an_unknown_name_points_to_the_list() -> None:
    with pytest.raises(AttributeError, match=r"db3 has no 'serach'; its public names are in db3.__all__"):
        db3.serach  # type: ignore[attr-defined]  # noqa: B018


def test_the_stub_only_re_exports() -> None:
    nodes = ast.parse((ROOT / "db3" / "__init__.pyi").read_text(encoding="utf-8")).body
    assert all(isinstance(node, ast.ImportFrom) for node in nodes)
    aliases = [alias for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    # A stub re-exports `a as a` alone; under another name type checkers would not see it.
    assert [alias.name for alias in aliases if alias.name != alias.asname] == []
    assert len({alias.name for alias in aliases}) == len(aliases)


def test_import_db3_is_cheap() -> None:
    subprocess.run([sys.executable, "-c", CHEAP], check=True)


def test_names_that_need_an_extra_say_which() -> None:
    hidden = ["torchvision", "PIL", "sklearn", "scipy", "jinja2", "onnx", "onnxruntime", "onnxscript", "httpx2"]
    hidden += ["pydantic", "yaml", "psutil", "matplotlib", "hydra", "dvc", "prefect"]
    code = WITHOUT_EXTRAS.format(hidden=hidden)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    refused = dict(line.split(" | ", 1) for line in done.stdout.splitlines())
    assert refused.keys() == {"OnnxTeacher", "build_report"}
    assert refused["build_report"].endswith("not installed: pip install 'db3[report]'")
    assert refused["OnnxTeacher"].endswith("not installed: pip install 'db3[onnx]'")


def test_a_missing_package_is_told_in_one_line() -> None:
    with pytest.raises(ConfigError) as raised, needs("vision", "dataset digits"):
        import no_such_package  # noqa: F401
    assert str(raised.value) == (
        "dataset digits needs the package no_such_package, which is not installed: pip install 'db3[vision]'"
    )


def test_a_defect_of_db3_is_not_blamed_on_an_extra() -> None:
    with pytest.raises(ModuleNotFoundError), needs("vision", "dataset digits"):
        import db3.no_such_module  # noqa: F401


def test_every_extra_that_an_error_names_exists() -> None:
    named = set[str]()
    for path in (ROOT / "db3").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "needs":
                extra = node.args[0]
                if isinstance(extra, ast.Constant):
                    named.add(str(extra.value))
    named |= {command.extra for command in COMMANDS.values() if command.extra}
    assert {"vision", "report", "pipeline"} <= named <= set(PROJECT["optional-dependencies"])


def test_the_wheel_is_light() -> None:
    names = {requirement.split(">")[0].split("[")[0] for requirement in PROJECT["dependencies"]}
    small = {"safetensors", "jaxtyping", "tqdm", "annotated-types", "typing-extensions", "tenacity"}
    assert names == {"torch", "numpy"} | small
