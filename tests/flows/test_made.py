"""Made samples in the pipeline: from the teacher to a transfer set that the journal alone proves."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from db3.errors import ConfigError
from db3.search.catalogue import resolve_search
from flows.compose import compose
from flows.config import Config, parse_config
from flows.distill import distill
from flows.fetch_teacher import fetch_teacher
from flows.query_decisions import query_decisions
from flows.samples import samples
from flows.soft_labels import soft_labels
from flows.verify import verify
from tests.flows.modules import ROOT
from tests.flows.written import check_written

PRIORS = ("samples=priors", "samples.budget=150", "samples.rounds.count=2", "samples.rounds.steps=4")
AUGMENTED = ("samples=augmented", "samples.count=20", *PRIORS[1:])
PSEUDO = ("samples=zsdb3", "samples.count=20", "samples.budget=4000", "samples.zsdb3.iterations=2")
TEACHER = ("experiment=smoke", "dataset.train_limit=300", "dataset.test_limit=50")


def configured(*overrides: str) -> Config:
    return parse_config(yaml.safe_load(compose([*TEACHER, "query=none", *overrides, "query.budget=0"], ROOT / "conf")))


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("made") / "data"
    (data / "teacher").mkdir(parents=True)
    fetch_teacher(configured("teacher.steps=150"), data)
    return data


@pytest.fixture
def data(taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(taught, tmp_path / "data"))


def made(data: Path, config: Config) -> dict[str, Any]:
    for stage in (samples, query_decisions, soft_labels):
        (data / stage.folder).mkdir(parents=True, exist_ok=True)
        stage(config, data)
    manifest: dict[str, Any] = json.loads((data / "samples" / "manifest.json").read_text())
    return manifest


@pytest.mark.parametrize("chosen", [PRIORS, AUGMENTED, PSEUDO], ids=["priors", "augmented", "zsdb3"])
def test_made_samples_are_counted_and_follow_from_the_journal(data: Path, chosen: tuple[str, ...]) -> None:
    config = configured(*chosen)
    manifest = made(data, config)
    images, decisions = (np.load(data / "samples" / f"{name}.npy") for name in ("images", "decisions"))
    assert len(images) == len(decisions) == manifest["count"]
    assert manifest["queries"]["asked"] == manifest["queries"]["votes"] <= config.samples.budget
    if chosen != PSEUDO:
        assert manifest["queries"]["asked"] == manifest["count"] == sum(manifest["sources"].values()) == 150
        assert (manifest["sources"]["real"] > 0) == (chosen == AUGMENTED)
    transfer = json.loads((data / "transfer" / "manifest.json").read_text())
    assert transfer["mapping"] == "hard"
    own = {PRIORS: {"rounds", "sources"}, AUGMENTED: {"index", "rounds", "sources"}}
    kept = own.get(chosen, {"margins", "snapshots", "pictured"}) | {"images", "decisions"}
    assert {f"samples/{name}.npy" for name in kept} == {name for name in check_written(data) if "samples/" in name}
    shutil.rmtree(data / "teacher")  # neither its weights nor anything else of it is needed any more
    assert verify(config, data).digest == transfer["digest"]


def test_a_second_run_pays_nothing_and_writes_the_same_bytes(data: Path) -> None:
    config = configured(*PRIORS, "runtime.answers=.db3/answers.sqlite")
    first = made(data, config)
    assert json.loads((data / "queries.json").read_text())["samples"]["sent"] == 150
    before = {path.name: path.read_bytes() for path in (data / "samples").iterdir() if path.is_file()}
    shutil.rmtree(data / "samples")
    shutil.rmtree(data.parent / ".db3" / "shards")  # the answers stay
    assert made(data, config) == first
    assert {path.name: path.read_bytes() for path in (data / "samples").iterdir() if path.is_file()} == before
    costs = json.loads((data / "queries.json").read_text())["samples"]
    assert (costs["asked"], costs["known"], costs["sent"], costs["sent_in_all"]) == (150, 150, 0, 150)


@pytest.mark.parametrize("chosen", [PRIORS, PSEUDO], ids=["priors", "zsdb3"])
def test_a_budget_below_the_samples_own_is_refused_before_anything_is_paid(data: Path, chosen: tuple[str, ...]) -> None:
    (data / "samples").mkdir()
    with pytest.raises(ConfigError, match=r"budget.total is 40.*samples.budget"):
        samples(configured(*chosen, "budget.total=40"), data)
    assert not (data.parent / ".db3" / "answers.sqlite").exists()


@pytest.mark.parametrize("method", ["priors", "augmented", "zsdb3"])
def test_made_samples_need_a_budget(method: str) -> None:
    with pytest.raises(ConfigError, match="budget"):
        configured(f"samples={method}", "samples.budget=null")


def test_auto_searches_nothing_after_images_made_by_rounds(data: Path) -> None:
    config = configured(*PRIORS, "query=auto")
    made(data, config)
    told = json.loads((data / "decisions" / "manifest.json").read_text())
    assert (told["method"], told["budget"], told["queries"]["asked"]) == ("none", 0, 0)

    def search_name(config: Config) -> str:
        return resolve_search(config.query, config.samples.method).method

    assert search_name(configured("query=auto")) == search_name(configured(*PSEUDO, "query=auto")) == "auto"
    assert search_name(configured(*PRIORS, "query=bd")) == "bd"


def test_assistants_label_images_that_nobody_was_asked_about(data: Path) -> None:
    assistants = ("networks=2", "steps=4", "images=60", "architecture=lenet5_fifth")
    variants = ("distill.baselines=[hard]", "distill.folds=2")
    config = configured(*PRIORS, *(f"distill.assistants.{given}" for given in assistants), *variants)
    manifest = made(data, config)
    (data / "student").mkdir()
    distill(config, data)
    choice = json.loads((data / "student" / "choice.json").read_text())
    assert "candidates" not in choice
    assert "descend from each other" in choice["reason"]
    student, plain, *curve = json.loads((data / "student" / "variants.json").read_text())
    assert "assistants" in student["title"]
    assert "assistants" not in plain["title"]
    assert student["queries_per_sample"] == plain["queries_per_sample"] == 1
    weights = [(data / "student" / variant["files"][0]).read_bytes() for variant in (student, plain)]
    assert weights[0] != weights[1]
    assert manifest["queries"]["asked"] == 150
    rounds = np.load(data / "samples" / "rounds.npy")
    for variant in curve:  # whole rounds, and the teacher assistants learn nothing else
        count = int(variant["name"].removeprefix("student@"))
        assert rounds[count - 1] < rounds[count]
        assert variant["queries_per_sample"] == pytest.approx(count / 150, abs=1e-6)
        assert "assistants" in variant["title"]
    assert len(curve) == 2
