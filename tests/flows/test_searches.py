"""From the teacher to the transfer set, in this process: every search, uint8 teachers, votes, any cut into shards."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from db3.errors import ConfigError
from db3.search.methods.auto import SurrogateSearch
from db3.teachers.answers.recording import read_whole
from flows.compose import compose
from flows.config import Config, parse_config
from flows.fetch_teacher import fetch_teacher
from flows.query_decisions import query_decisions
from flows.samples import samples
from flows.soft_labels import soft_labels
from tests.flows.modules import ROOT
from tests.flows.written import check_written

SMALL = (
    "experiment=smoke",
    "samples.count=20",
    "dataset.train_limit=300",
    "dataset.test_limit=50",
    "query.budget=9",
    "query.augmented=0",
    "query.surrogate.steps=8",
    "query.surrogate.retrain=4",
    "query.surrogate.networks=2",
    "query.surrogate.synthetic_queries=1",
)


def configured(*overrides: str) -> Config:
    return parse_config(yaml.safe_load(compose([*SMALL, *overrides], ROOT / "conf")))


def manifest(data: Path, folder: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((data / folder / "manifest.json").read_text())
    return content


def searched(data: Path, *overrides: str) -> dict[str, Any]:
    shutil.rmtree(data / "decisions", ignore_errors=True)
    (data / "decisions").mkdir()
    query_decisions(configured(*overrides), data)
    return manifest(data, "decisions")


@pytest.mark.parametrize("method", ["sd", "bd", "mbd", "hopskipjump", "semicircle", "guided", "auto"])
def test_any_search_writes_what_it_counted(data: Path, method: str) -> None:
    told = searched(data, f"query.method={method}")
    folder = data / "decisions"
    asked, distances = np.load(folder / "asked.npy"), np.load(folder / "distances.npy")
    assert asked.max() <= 9
    assert told["queries"]["asked"] == asked.sum() + told["queries"]["synthetic_queries"]
    sealed = [one for file in (folder / "journal").glob("*") for one in read_whole(file.read_bytes(), file)]
    assert sum(len(one.answers) for one in sealed) == told["queries"]["asked"] == told["queries"]["votes"]
    assert told["unfinished"] == 0
    assert not told["spent"]
    assert told["queries"]["synthetic_queries"] == (
        18 if method in ("guided", "auto") else 0
    )  # three rounds of 20 // 3
    pairs, points = np.load(folder / "point_pairs.npy"), np.load(folder / "points.npy")
    assert told["points"] == len(pairs) == len(points)
    images = np.load(data / "samples" / "images.npy")
    apart = np.linalg.norm((points / 255.0 - images[pairs[:, 0]] / 255.0).reshape(len(points), 784), axis=1)
    assert np.allclose(apart, distances[pairs[:, 0], pairs[:, 1]], atol=0.05)
    keys, queried_images = np.load(folder / "queried_keys.npy"), np.load(folder / "queried_images.npy")
    assert len(keys) == len(queried_images) == told["queried_images"] == min(asked.sum(), 20 * 150)
    assert (keys[:, 2] < asked[keys[:, 0], keys[:, 1]]).all()


@pytest.mark.usefixtures("few_steps", "unchecked")
@pytest.mark.parametrize("method", ["semicircle", "guided"])
def test_shards_their_size_order_and_workers_change_no_byte(
    data: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = f"query.method={method}"
    first = searched(data, chosen, "runtime.shard=20", "runtime.runner=local")
    monkeypatch.setenv("DB3_SHARD_ORDER", "reversed")
    second = searched(data, chosen, "runtime.shard=7", "runtime.workers=3")
    assert first["digest"] == second["digest"]
    assert first["queries"] == second["queries"]


RUNS = """
import json, shutil, sys
from pathlib import Path
import yaml
from flows.config import parse_config
from db3.files import read_json
from flows.engine import runners
from flows.query_decisions import query_decisions
from flows.soft_labels import soft_labels

def main():
    values, data = yaml.safe_load(Path("params.yaml").read_text()), Path("data")
    for shard, runner, workers in json.loads(sys.argv[1]):
        values["runtime"] |= {"runner": runner, "workers": workers, "shard": shard}
        config = parse_config(values)
        shutil.rmtree(".db3", ignore_errors=True)
        for stage in (query_decisions, soft_labels):
            shutil.rmtree(data / stage.folder, ignore_errors=True)
            (data / stage.folder).mkdir()
            stage(config, data)
        print(read_json(data / "transfer" / "manifest.json")["digest"])
    runners.close()

if __name__ == "__main__":
    main()
"""


def transfer_digests(data: Path, runs: list[tuple[int, str, int]], *prefix: str, **environment: str) -> list[str]:
    """The transfer set's digest for each (samples a shard, runner, workers), the journal and the store begun anew."""
    # A process of its own: functions that this one checks at run time cannot be sent to workers.
    (data.parent / "params.yaml").write_text(compose([*SMALL, "query.method=guided"], ROOT / "conf"))
    (data.parent / "runs.py").write_text(RUNS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [*prefix, sys.executable, "runs.py", json.dumps(runs)],
        cwd=data.parent,
        env=kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    digests = done.stdout.split()
    assert [len(digest) for digest in digests] == [64] * len(runs)
    return digests


def test_the_transfer_set_is_the_same_whoever_computes_its_shards(data: Path) -> None:
    assert len(set(transfer_digests(data, [(20, "local", 1), (5, "threads", 8), (6, "dask", 2)]))) == 1


@pytest.mark.slow
def test_the_transfer_set_is_the_same_when_ray_computes_its_shards(
    data: Path, isolated: tuple[str, ...], tmp_path: Path
) -> None:
    home = tmp_path / "home"  # Ray writes a token there
    home.mkdir()
    runs = [(20, "local", 1), (6, "ray", 2)]
    assert len(set(transfer_digests(data, runs, *isolated, HOME=str(home)))) == 1


@pytest.mark.usefixtures("few_steps", "unchecked")
def test_a_guided_search_goes_on_where_it_was_interrupted(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = searched(data, "query.method=guided")
    shutil.rmtree(".db3")
    run, calls = SurrogateSearch._shard, 0

    def failing(self: SurrogateSearch, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise KeyboardInterrupt
        return run(self, *arguments)

    monkeypatch.setattr(SurrogateSearch, "_shard", failing)
    with pytest.raises(KeyboardInterrupt):
        searched(data, "query.method=guided", "runtime.runner=local", "runtime.shard=10")
    monkeypatch.undo()
    monkeypatch.chdir(data.parent)
    kept = len(list(Path(".db3/shards").rglob("*.npz")))
    assert kept == 5  # the surrogate, two shards, the surrogate retrained, one shard
    assert searched(data, "query.method=guided", "runtime.shard=10")["digest"] == whole["digest"]


def test_the_transfer_set_holds_what_the_recipe_says(data: Path) -> None:
    searched(data, "query.method=bd", "query.variations=0.25")
    (data / "transfer").mkdir()
    chosen = ("soft_labels.mapping=margin", "soft_labels.boundary_points=0.25", "soft_labels.queried_images=0.25")
    soft_labels(configured(*chosen), data)
    points = {f"transfer/boundary_points{name}.npy" for name in ("", "_soft_labels", "_pairs")}
    assert points | {f"decisions/variation_{name}.npy" for name in ("images", "decisions", "keys")} <= check_written(
        data
    )
    told = manifest(data, "transfer")
    assert told["recipe"] == {
        "mapping": "margin",
        "gap": 2.0,
        "temperature": 8.0,
        "boundary_points": 0.25,
        "smoothing": 0.0,
        "queried_images": 0.25,
    }
    assert told["samples_of"]["images"] == 20
    labels, pairs = (np.load(data / "transfer" / f"boundary_points_{name}.npy") for name in ("soft_labels", "pairs"))
    assert (
        len(labels) == len(np.load(data / "transfer" / "boundary_points.npy")) == told["samples_of"]["boundary_points"]
    )
    decisions = np.load(data / "samples" / "decisions.npy")
    row = np.arange(len(pairs))
    # A boundary point belongs to both of its classes alike.
    assert np.allclose(labels[row, pairs[:, 1]], labels[row, decisions[pairs[:, 0]]])
    soft_labels(configured("soft_labels=margin"), data)
    assert manifest(data, "transfer")["digest"] != told["digest"]


def test_votes_and_rechecks_are_counted_and_a_steady_teacher_never_flips(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ("teacher.votes=3", "teacher.quantise=uint8", "samples.recheck=10")
    for stage in (fetch_teacher, samples):
        shutil.rmtree(data / stage.folder)
        (data / stage.folder).mkdir()
        stage(configured(*chosen), data)
    told = manifest(data, "samples")
    assert told["queries"] == {"asked": 30, "votes": 60}
    assert told["flips"] == {"compared": 40, "changed": 0, "rate": 0.0}
    found = searched(data, "query.method=bd", *chosen)
    assert found["queries"]["votes"] == 2 * found["queries"]["asked"]
    assert found["flips"]["compared"] == found["queries"]["asked"]
    assert "warning" not in capsys.readouterr().err
    # Whoever computed a shard, its votes were sent: a run that finds all of them says the same.
    assert searched(data, "query.method=bd", *chosen) == found


def test_augmented_images_alone_get_what_the_searches_might_ask(data: Path) -> None:
    told = searched(data, "query.variations=1", "query.budget=3")
    folder, classes = data / "decisions", len(manifest(data, "samples")["decided"])
    assert told["method"] == "none"
    assert told["queries"] | {"votes": 0} == {
        "asked": 20 * (classes - 1) * 3,
        "votes": 0,
        "synthetic_queries": 0,
        "augmented": 0,
        "per_sample": (classes - 1) * 3.0,
        "per_pair": 3.0,
        "variations": 20 * (classes - 1) * 3,
    }
    assert not (folder / "starts.npy").exists()

    (data / "transfer").mkdir()
    soft_labels(configured("query.variations=1", "query.budget=3"), data)
    transfer = manifest(data, "transfer")
    assert transfer["samples_of"] == {"images": 20, "queried_images": told["queries"]["asked"]}
    assert transfer["recipe"]["mapping"] == "hard"
    # The first of those that a run with searches asks: whoever changes the share pays for none of them twice.
    first = np.load(folder / "variation_images.npy")[:20]
    searched(data, "query.method=bd", "query.budget=3", "query.variations=0.5")
    assert np.array_equal(np.load(folder / "variation_images.npy")[:20], first)


def test_augmented_images_need_a_budget_of_a_search() -> None:
    with pytest.raises(ConfigError, match="variations is 1, but pairs of method none with budget 9 have no query"):
        configured("query=none", "query.variations=1")
