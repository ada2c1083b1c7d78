"""Who may import whom: the library knows nothing of its orchestration, and nobody goes in circles."""

import subprocess
import sys
from graphlib import TopologicalSorter

from tests.flows.modules import imports, module_files

ORCHESTRATION = ("prefect", "dvc", "hydra", "omegaconf", "ray", "dask", "flows")

IMPORT_ALL = """
import importlib, pkgutil, sys
import db3
for module in pkgutil.walk_packages(db3.__path__, "db3."):
    importlib.import_module(module.name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_the_library_imports_no_orchestration() -> None:
    result = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert {"db3", "torch"} <= loaded
    assert loaded.isdisjoint(ORCHESTRATION)


def test_only_the_stages_know_the_parameters() -> None:
    files = module_files()
    users = {name for name in files if "flows.config" in imports(files[name])}
    assert users
    assert {name for name in users if not name.startswith("flows")} == set()


def test_nothing_is_imported_in_a_circle() -> None:
    files = module_files()
    graph = {name: imports(path).keys() - {name} for name, path in files.items()}
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) == set(files)


def test_a_stage_without_a_server_never_imports_prefect() -> None:
    code = (
        "import sys, flows.engine.stage, flows.engine.shards, flows.tracking.server; sys.exit('prefect' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
