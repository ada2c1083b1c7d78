"""The proof of a transfer set: nothing but the samples and the sealed journals is needed, and no byte may differ."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db3.errors import DataError
from db3.files import write_json
from db3.teachers.answers.recording import read_whole
from flows.soft_labels import soft_labels
from flows.verify import verify
from tests.flows.damage import forge_first
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


@pytest.mark.usefixtures("few_steps", "unchecked")
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


SEARCH = "decisions/journal/search.journal"


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        ({"sent": 0}, r"search.journal is not what the journal gives: piece 0's sent is 0, expected \d+"),
        ({"sent": 999_999}, r"piece 0's sent is 999999, expected \d+"),
        ({"classes": 3}, r"search.journal"),
        ({"teacher": None}, r"search.journal: its header's teacher is missing"),
        ({"teacher": 7}, r"search.journal: its header's teacher is 7: "),
        ({"more": 1}, r"search.journal: its header's more is 1: "),
        ({"piece": 7}, r"search.journal, piece 7 of search: \d+ of its \d+ answers were never asked|ends after 0"),
        ({"work": "augmented"}, r"search.journal holds piece 0 of 'augmented'"),
        ({"spent": True}, r"piece 0's spent is True, expected None"),
    ],
    ids=str,
)
def test_a_forged_header_is_refused_by_name(data: Path, forged: dict[str, Any], message: str) -> None:
    forge_first(data / SEARCH, **forged)
    with pytest.raises(DataError, match=message):
        verify(configured(*CHOSEN), data)


def test_answers_of_another_teacher_are_refused(data: Path) -> None:
    teacher = next(read_whole((data / SEARCH).read_bytes(), data / SEARCH)).header["teacher"]
    forge_first(data / SEARCH, teacher={**teacher, "identity": "00" * 32})
    with pytest.raises(
        DataError, match=r"search.journal, piece 0: teacher.identity is 0000.*, but the samples' teacher"
    ):
        verify(configured(*CHOSEN), data)


def test_where_the_teacher_is_at_hand_all_answers_have_to_be_its_own(data: Path, taught: Path) -> None:
    shutil.copytree(taught / "teacher", data / "teacher")
    assert str(verify(configured(*CHOSEN), data)) == manifest(data, "transfer")["digest"]
    journal = data / "samples/journal/samples.journal"
    teacher = next(read_whole(journal.read_bytes(), journal)).header["teacher"]
    forge_first(journal, teacher={**teacher, "identity": "00" * 32})
    with pytest.raises(DataError, match=r"samples/journal was answered by the teacher \(.*000000\), but"):
        verify(configured(*CHOSEN), data)


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        ("samples/manifest.json", "method", "priors"),
        ("samples/manifest.json", "flips", {"changed": 3, "compared": 9, "rate": 0.3}),
        ("decisions/manifest.json", "queries", None),
        ("transfer/manifest.json", "spent", True),
    ],
)
def test_every_field_of_a_manifest_is_proven(data: Path, file: str, name: str, value: object) -> None:
    write_json(data / file, {**json.loads((data / file).read_text()), name: value})
    with pytest.raises(DataError, match=rf"{file} is not what the journal gives: {name} is "):
        verify(configured(*CHOSEN), data)


@pytest.mark.parametrize("text", ["[]", "{}", "null", "7", "[" * 100_000, '{"count": null}', "\ud800"])
@pytest.mark.parametrize("folder", ["samples", "decisions", "transfer"])
def test_a_manifest_that_is_none_is_told_in_one_line(data: Path, folder: str, text: str) -> None:
    (data / folder / "manifest.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(DataError, match=rf"{folder}/manifest.json"):
        verify(configured(*CHOSEN), data)


def test_nothing_else_may_lie_there(data: Path) -> None:
    stray = data / "samples" / "journal" / ".hidden"
    stray.mkdir()
    with pytest.raises(
        DataError, match=r"journal/.hidden is nothing that these parameters and answers give; remove it"
    ):
        verify(configured(*CHOSEN), data)
    stray.rmdir()
    file = data / "transfer" / "images.npy"
    file.rename(data / "images.npy")
    file.symlink_to(data / "images.npy")
    with pytest.raises(DataError, match=r"transfer/images.npy is a link or no plain file; .* .dvc unprotect"):
        verify(configured(*CHOSEN), data)


def test_a_journal_twice_in_its_file_is_refused(data: Path) -> None:
    journal = data / SEARCH
    journal.write_bytes(journal.read_bytes() * 2)
    with pytest.raises(DataError, match=r"search.journal holds piece 0 of 'search'; expected each piece"):
        verify(configured(*CHOSEN), data)


def test_without_the_dataset_real_images_are_taken_as_given_and_that_is_said(data: Path, tmp_path: Path) -> None:
    chosen = (*CHOSEN, "dataset.name=mnist", f"runtime.data_root={tmp_path / 'none'}")
    told = verify(configured(*chosen), data)
    assert told.digest == manifest(data, "transfer")["digest"]
    assert "the real images and their places (" in str(told)
    changed(data / "samples" / "images.npy")
    with pytest.raises(DataError, match=r"samples: images.npy and decisions.npy are not those of manifest.json"):
        verify(configured(*chosen), data)


def test_a_set_of_another_version_or_arithmetic_is_told_as_that(data: Path) -> None:
    path = data / "samples" / "manifest.json"
    held = json.loads(path.read_text())
    write_json(path, {name: value for name, value in held.items() if name not in ("edition", "class_names")})
    with pytest.raises(
        DataError, match=r"is of edition 1, and this db3 proves edition 3: it was made by another version"
    ):
        verify(configured(*CHOSEN), data)
    write_json(path, held)
    decided = data / "decisions" / "manifest.json"
    write_json(decided, {**json.loads(decided.read_text()), "arithmetic": "float32"})
    with pytest.raises(DataError, match=r"made with query.surrogate.arithmetic: float32, but params.yaml says exact"):
        verify(configured(*CHOSEN, "query.method=auto"), data)


def test_float32_surrogates_of_another_kind_of_machine_are_told_as_that(data: Path) -> None:
    """Other surrogates ask other images: here those of other parameters stand for another machine's."""
    with pytest.raises(DataError, match=r"query.surrogate.arithmetic: float32, which asks .* make one with arithmetic"):
        verify(configured(*CHOSEN, "query.method=auto", "query.surrogate.arithmetic=float32"), data)


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
