"""The floors of the house (docs/architecture.md): a folder imports only what stands below it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the ground up. Files directly below db3/ are the ground; nothing there imports a folder.
FLOORS = (
    *("db3/settings", "db3/arithmetic", "db3/datasets", "db3/networks", "db3/training", "db3/teachers", "db3/images"),
    *("db3/soft_labels", "db3/search", "db3/zero_shot", "db3/students", "db3/evaluation", "db3/gate"),
    *("db3/report", "db3/publish", "db3/api", "db3/testing"),
    *("flows/config", "flows/engine", "flows", "examples", "benchmarks"),
)


def floor_of(name: str) -> str:
    """The folder that a module stands in, as FLOORS names it; `ground` for a file of db3/ itself."""
    parts = name.split(".")
    if name.startswith(("flows.config", "flows.yaml_files")):
        return "flows/config"
    if parts[0] != "db3":
        return "/".join(parts[:2]) if parts[0] == "flows" and parts[1:2] in (["engine"], ["tracking"]) else parts[0]
    if len(parts) == 1:  # `import db3`: its public names, from every floor
        return "db3/testing"
    return "db3/" + parts[1] if (ROOT / "db3" / parts[1]).is_dir() else "ground"


def imported(path: Path) -> set[str]:
    """Modules of this project that a file names in its imports, those under `if TYPE_CHECKING` included."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("db3", "flows", "benchmarks", "examples")}


FILES = [path for top in ("db3", "flows", "benchmarks", "examples") for path in sorted((ROOT / top).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_arrow_runs_back_up(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if name == "db3.__init__":  # the list of what is public looks at every floor
        return
    here = floor_of(name)
    wrong = {other for other in imported(path) if not _below(floor_of(other), here)}
    assert wrong == set()


def _below(other: str, here: str) -> bool:
    if other in (here, "ground"):
        return True
    if here == "ground":
        return False
    if "flows/tracking" in (other, here):
        return other.startswith(("db3", "flows")) and here.startswith("flows")
    return FLOORS.index(other) < FLOORS.index(here)


def test_every_folder_has_a_floor() -> None:
    folders = {path.parent.relative_to(ROOT).as_posix() for path in FILES if path.name != "__init__.py"}
    tops = {"/".join(folder.split("/")[:2]) if folder.startswith("db3/") else folder for folder in folders}
    named = {*FLOORS, "db3", "flows/tracking"}
    assert {top for top in tops if top not in named and not top.startswith("benchmarks")} == set()
