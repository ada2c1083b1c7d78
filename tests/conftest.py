"""Shared by all tests: shapes checked at run time, one torch thread, the folder of real data where there is one."""

import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
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


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As users run it: for tests of many surrogate steps, of which the checks of every call's shapes are half the time.

    Each of these functions is called in tests of its own, which do check them.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        yield


@pytest.fixture
def few_steps() -> Iterator[None]:
    """Attacks on surrogates end after five steps instead of thirty: the same code, much sooner."""
    from db3.search.methods import guided
    from db3.search.surrogate import surrogate

    with pytest.MonkeyPatch.context() as patch:
        for steps in (guided.FIRST, guided.LATER, surrogate._SYNTHETIC_STEPS):
            patch.setitem(vars(steps), "count", 5)
        yield
