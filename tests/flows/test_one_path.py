"""The library's plain loop and the pipeline's shards bring the same bytes about: it is one path."""

from pathlib import Path

import numpy as np
import pytest

import db3
from db3.digest import digest_arrays
from db3.images.augmented import decide_augmented
from db3.search import search_pairs
from db3.search.catalogue import resolve_search
from db3.search.surrogate.surrogate import surrogates_of
from db3.settings.declare import to_json
from db3.teachers.folder import open_teacher
from db3.work import cut
from flows.inputs import transfer_images
from flows.soft_labels import soft_labels
from tests.flows.test_searches import configured, manifest, searched

pytestmark = pytest.mark.usefixtures("few_steps", "unchecked")
FIELDS = ("distances", "asked", "points", "point_pairs", "queried_images", "queried_decisions", "queried_keys")


@pytest.mark.parametrize("method", ["bd", "guided"])
def test_a_search_without_the_pipeline_gives_the_pipelines_bytes(data: Path, method: str) -> None:
    chosen = (f"query.method={method}", "runtime.shard=7", "query.augmented=25", "runtime.threads=1")
    config = configured(*chosen)
    told = searched(data, *chosen)
    teacher, pool = open_teacher(data / "teacher"), transfer_images(data)
    surrogate = surrogates_of(config.query)
    found = search_pairs(
        teacher, pool, resolve_search(config.query, config.samples.method), cut(len(pool.images), 9), surrogate
    )
    assert told["queries"]["synthetic_queries"] == len(found.synthetic_answers)
    for field in FIELDS:
        mine = np.concatenate([getattr(part, field) for part in found])
        assert digest_arrays({field: mine}) == digest_arrays({field: np.load(data / "decisions" / f"{field}.npy")})
    augmented = decide_augmented(teacher, pool, range(25), config.query.seed)
    assert np.array_equal(augmented, np.load(data / "decisions" / "augmented.npy"))


@pytest.mark.parametrize(("method", "variations"), [("bd", 0.5), ("auto", 0.0), ("auto", 1.0)])
def test_the_front_door_gives_the_pipelines_transfer_set(
    data: Path, tmp_path: Path, method: str, variations: float
) -> None:
    chosen = (f"query.method={method}", f"query.variations={variations}", "runtime.threads=1")
    config = configured(*chosen)
    searched(data, *chosen)
    (data / "transfer").mkdir(exist_ok=True)
    soft_labels(config, data)
    groups = {name: to_json(getattr(config, name)) for name in ("samples", "query", "soft_labels", "distill")}
    groups["samples"] |= {"count": None}
    groups["query"] |= {"augmented": 0}
    found = db3.distill(
        db3.teacher(data / "teacher"),
        np.load(data / "samples" / "images.npy"),
        queries=10_000,
        held_out=0,
        folder=tmp_path / "run",
        settings=groups,
        progress=False,
    )
    assert found.digest == manifest(data, "transfer")["digest"]
