"""Shared by all tests: shapes checked at run time, one torch thread, the folder of real data where there is one."""

import os
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

# Every db3 module imported after this line has its annotations, array shapes included, checked on every call.
_HOOK = install_import_hook("db3", "beartype.beartype")

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup`: a file's tests share a process, and so do all that share the one Prefect server."""
    for item in items:
        group = "server" if "server" in getattr(item, "fixturenames", ()) else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A folder with MNIST's IDX files and CIFAR-10's JPEGs: DB3_TEST_DATA, else one beside the checkout."""
    folder = Path(os.environ.get("DB3_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "mnist").is_dir():
        pytest.skip(f"needs MNIST's IDX files in {folder}/mnist; set DB3_TEST_DATA")
    return folder
