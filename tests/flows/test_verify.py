"""The proof of a transfer set: nothing but the samples and the sealed journals is needed, and no byte may differ."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from db3.errors import DataError
from flows.soft_labels import soft_labels
from flows.verify import verify
from tests.flows.modules import ROOT
from tests.flows.test_searches import SMALL, configured, manifest, searched

GIVEN = "; not at hand, so taken as given: the class names (no data/teacher)"
CHOSEN = ("query.method=bd", "query.augmented=30", "runtime.shard=10")


def make(taught: Path, folder: Path, *chosen: str) -> Path:
    """A data folder as far as the transfer set, its teacher gone."""
    data = Path(shutil.copytree(taught, folder / "data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        searched(data, *chosen)
        (data / "transfer").mkdir()
        soft_labels(configured(*chosen), data)
    shutil.rmtree(data / "teacher")
    return data


@pytest.fixture(scope="module")
def made(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(taught, tmp_path_factory.mktemp("made"), *CHOSEN)


@pytest.fixture
def data(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(made, tmp_path / "data"))


def test_without_the_teacher_the_digest_is_that_of_the_transfer_set(data: Path) -> None:
    assert verify(configured(*CHOSEN), data).digest == manifest(data, "transfer")["digest"]
    assert not Path(".db3").exists()


@pytest.mark.parametrize("method", ["sd", "auto"])
def test_a_search_that_asks_nothing_and_one_that_trains_surrogates_are_proved_too(
    taught: Path, tmp_path: Path, method: str
) -> None:
    chosen = (f"query.method={method}", "runtime.shard=10")
    data = make(taught, tmp_path, *chosen)
    assert verify(configured(*chosen), data).digest == manifest(data, "transfer")["digest"]


def changed(path: Path) -> None:
    """One bit, in the last byte."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("samples/images.npy", "samples/images.npy is not what the journal gives: row 19 of 20 is the first"),
        ("samples/decisions.npy", "samples/decisions.npy is not what the journal gives: row 19 of 20 is the first"),
        ("samples/index.npy", "samples/index.npy is not what the journal gives: row 19 of 20 is the first"),
        ("samples/journal/samples.journal", "samples.journal is damaged at byte"),
        ("decisions/journal/search.journal", "search.journal is damaged at byte"),
        ("decisions/distances.npy", r"distances.npy is not what the journal gives: row 19 of 20 is the first"),
        ("decisions/augmented.npy", r"augmented.npy is not what the journal gives: row 29 of 30 is the first"),
        ("transfer/soft_labels.npy", r"transfer/soft_labels.npy is not what the journal gives: row"),
        ("transfer/queried_images.npy", r"transfer/queried_images.npy is not what the journal gives: row"),
    ],
)
def test_the_first_difference_is_named(data: Path, file: str, message: str) -> None:
    changed(data / file)
    with pytest.raises(DataError, match=message) as raised:
        verify(configured(*CHOSEN), data)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_missing_or_too_many_is_named(data: Path) -> None:
    np.save(data / "transfer" / "more.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"more.npy is nothing that these parameters and answers give"):
        verify(configured(*CHOSEN), data)
    (data / "transfer" / "more.npy").unlink()
    (data / "transfer" / "soft_labels.npy").unlink()
    with pytest.raises(DataError, match=r"soft_labels.npy is missing"):
        verify(configured(*CHOSEN), data)
    (data / "decisions" / "journal" / "search.journal").unlink()
    with pytest.raises(DataError, match=r"ends after 0 answers, but the search asks for more"):
        verify(configured(*CHOSEN), data)
    shutil.rmtree(data / "samples" / "journal")
    with pytest.raises(DataError, match=r"samples/journal holds no journal; run the stage that writes it, or dvc pull"):
        verify(configured(*CHOSEN), data)


def test_other_parameters_do_not_fit_the_journal(data: Path) -> None:
    with pytest.raises(DataError, match=r"augmented.journal, call 0: .* these are the answers to other queries"):
        verify(configured(*CHOSEN, "query.seed=1"), data)
    with pytest.raises(DataError, match=r"search.journal, call 0: 64 images were asked, .* now it is 32"):
        verify(configured(*CHOSEN, "runtime.shard=4"), data)


@pytest.mark.parametrize("command", [["-m", "flows.verify"], ["-c", "from db3.cli import main; main()", "replay"]])
def test_from_the_command_line(data: Path, command: list[str]) -> None:
    for part in ("db3", "flows", "conf"):
        (data.parent / part).symlink_to(ROOT / part)
    overrides = [*SMALL, *CHOSEN]
    subprocess.run([sys.executable, "-m", "flows.compose", *overrides], cwd=data.parent, check=True, timeout=120)

    def told() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *command], cwd=data.parent, capture_output=True, text=True, timeout=300, check=False
        )

    done = told()
    assert (done.returncode, done.stdout) == (0, f"verify: {manifest(data, 'transfer')['digest']}{GIVEN}\n"), (
        done.stderr
    )
    changed(data / "transfer" / "images.npy")
    done = told()
    assert done.returncode == 1
    assert "transfer/images.npy is not what the journal gives" in done.stderr.splitlines()[-1]
