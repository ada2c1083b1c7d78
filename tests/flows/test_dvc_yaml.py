"""dvc.yaml: each stage lists the parameters it reads and the code it runs, no more and no less."""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from db3.settings.declare import names_of
from flows.config import Config
from tests.flows.modules import ROOT, needed, reached

STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
NAMES = list(STAGES)
_RUNNING = ("locks", "remote_work", "runners", "shards", "stage")
# The machine that stages run in, and files read or written the same whatever is in them. Settings decide nothing that
# the parameters do not say.
MACHINE = {f"flows/engine/{name}.py" for name in _RUNNING} | {
    *(
        "flows/__init__.py",
        "flows/config.py",
        "flows/manifests.py",
        "flows/tracking/server.py",
        "flows/tracking/tasks.py",
    ),
    *(f"db3/{name}.py" for name in ("__init__", "errors", "extras", "files", "memory", "progress", "shard_store")),
    *(f"db3/publish/{name}.py" for name in ("__init__", "sinks")),  # tells trackers what the outs hold
    *(path.relative_to(ROOT).as_posix() for path in (ROOT / "db3/settings").glob("*.py")),
}


NAMED = names_of(Config)
LEAVES = {name for name in NAMED if not any(other.startswith(f"{name}.") for other in NAMED)}


def leaves(names: Iterable[str]) -> set[str]:
    """The parameters that these names stand for; a group stands for all of its own."""
    return {leaf for leaf in LEAVES for name in names if f"{leaf}.".startswith(f"{name}.")}


FREE = leaves(["runtime"])  # they decide how the work is done, not what comes out of it


def test_every_parameter_is_listed_by_a_stage_other_than_the_report() -> None:
    listed = {name for stage, described in STAGES.items() if stage != "report" for name in described["params"]}
    assert leaves(listed) == LEAVES - FREE


def test_the_report_shows_all_of_them() -> None:
    assert leaves(STAGES["report"]["params"]) == LEAVES - FREE


@pytest.mark.parametrize("stage", [stage for stage in NAMES if stage != "report"])
def test_a_stage_lists_the_parameters_that_its_code_names(stage: str) -> None:
    nodes = [
        node
        for path, code in reached(f"flows.{stage}", MACHINE).items()
        if path.parts[0] == "flows" and path.as_posix() not in MACHINE
        for node in code
    ]
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    chains = {_dotted(node) for node in nodes if isinstance(node, ast.Attribute) and id(node) not in inner}
    used = {chain.removeprefix("config.") for chain in chains if chain.startswith("config.")}
    listed = STAGES[stage]["params"]
    assert leaves(used) - FREE == leaves(listed)
    assert set(listed) <= set(NAMED)
    assert not [name for name in listed if leaves([name]) <= leaves(other for other in listed if other != name)]


def _dotted(node: ast.expr) -> str:
    return f"{_dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ast.unparse(node)


@pytest.mark.parametrize("stage", NAMES)
def test_a_stage_lists_the_code_that_it_runs(stage: str) -> None:
    listed = [Path(path) for path in STAGES[stage]["deps"] if not path.startswith("data/")]
    code = {path for path in needed(f"flows.{stage}", MACHINE) if path.as_posix() not in MACHINE}
    missing = {str(path) for path in code if not any(path.is_relative_to(dep) for dep in listed)}
    assert missing == set()
    unused = {str(dep) for dep in listed if not any(path.is_relative_to(dep) for path in code)}
    assert unused == set()
    assert all((ROOT / dep).exists() for dep in listed)


def test_only_distill_and_what_follows_list_the_learning_rate() -> None:
    listing = [stage for stage in NAMES if "distill.lr" in leaves(STAGES[stage]["params"])]
    assert listing == ["distill", "report"]


def test_commands_are_the_stages_modules() -> None:
    assert {stage: described["cmd"] for stage, described in STAGES.items()} == {
        stage: f"python -m flows.{stage}" for stage in NAMES
    }


def test_nothing_runs_always_or_keeps_old_files() -> None:
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert "always_changed" not in text
    assert "persist" not in text
