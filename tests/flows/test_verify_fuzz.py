"""Every file of a finished run harmed in every way: a proof ends in one line, and what is harmed is never verified.

`DB3_FUZZ_CASES=10000 python -m pytest tests/flows/test_verify_fuzz.py -s` tries more, and says what it counted.
"""

import os
import random
import shutil
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import flows.verify as verification
from db3.errors import Db3Error
from flows.config import Config
from flows.distill import distill
from flows.evaluate import evaluate
from flows.fetch_teacher import fetch_teacher
from flows.query_decisions import query_decisions
from flows.report import report
from flows.samples import samples
from flows.soft_labels import soft_labels
from tests.flows.damage import harm
from tests.flows.test_searches import configured

CASES = int(os.environ.get("DB3_FUZZ_CASES", "150"))
SEED = int(os.environ.get("DB3_FUZZ_SEED", "0"))
TINY = (
    *("samples.count=6", "samples.recheck=2", "dataset.train_limit=100", "dataset.test_limit=20", "teacher.steps=5"),
    *("query.method=bd", "query.budget=3", "query.checkpoints=[2]", "query.augmented=4", "runtime.shard=3"),
    *("distill.architecture=lenet5_fifth", "distill.steps=2", "distill.batch=32", "distill.warmup=1"),
    *("distill.baselines=[hard]", "distill.curve=false", "evaluate.seeds=1", "runtime.runner=local"),
    *("runtime.latency_runs=0",),
)
PROVEN = ("samples", "decisions", "transfer")
WEIGHTS = ("teacher/teacher.safetensors", "student/student.safetensors", "student/student.onnx", "student/variants/")


def proven(name: str, whole: dict[str, Any]) -> bool:
    """Whether no byte of a file may be another one, or nothing else may lie there; weights have digests in cards."""
    return name.startswith(tuple(f"{folder}/" for folder in PROVEN)) or (name in whole and name.startswith(WEIGHTS))


@pytest.fixture(scope="module")
def config() -> Config:
    return configured(*TINY)


@pytest.fixture(scope="module")
def finished(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages of the smoke experiment, smaller still."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stage in (fetch_teacher, samples, query_decisions, soft_labels, distill, evaluate, report):
            (folder / "data" / stage.folder).mkdir(parents=True)
            stage(config, folder / "data")
    return folder / "data"


@pytest.fixture
def opened_once(monkeypatch: pytest.MonkeyPatch, config: Config) -> None:
    """The dataset takes longer to open than a proof of six samples takes: its images are drawn once for all cases."""
    draw = verification.drawn_images
    images = cache(lambda digest: draw(config, None if digest is None else {"dataset": {"digest": digest}}))
    monkeypatch.setattr(
        verification, "drawn_images", lambda _, card: images(card["dataset"]["digest"] if card else None)
    )


def content(data: Path) -> dict[str, Any]:
    """What lies in a folder, by its place."""
    found: dict[str, Any] = {}
    for path in data.rglob("*"):
        name = path.relative_to(data).as_posix()
        found[name] = path.read_bytes() if path.is_file() else "folder" if path.is_dir() else "nothing"
        if path.is_symlink():
            found[f"{name} is a link"] = True
    return found


def verdict(config: Config, data: Path) -> str:
    try:
        verification.verify(config, data)
    except Db3Error as error:
        return "refused" if 20 < len(str(error)) < 1500 else f"refused in {len(str(error))} characters"
    return "verified"


@pytest.mark.usefixtures("opened_once")
def test_no_harm_shows_a_traceback_or_is_verified(config: Config, finished: Path, tmp_path: Path) -> None:
    whole = content(finished)
    files = sorted(name for name, held in whole.items() if isinstance(held, bytes))
    folders = sorted({name.partition("/")[0] for name in files})
    assert verdict(config, finished) == "verified"
    counts = Counter[str]()
    for case in range(CASES):
        draw = random.Random(f"{SEED} {case}")  # noqa: S311
        data = tmp_path / f"{case}" / "data"
        shutil.copytree(finished, data)
        folder = draw.choice(PROVEN if draw.random() < 0.7 else folders)
        name = draw.choice([file for file in files if file.partition("/")[0] == folder])
        without = draw.random() < 0.3
        if without and not name.startswith("teacher"):
            shutil.rmtree(data / "teacher")
        before = content(data)
        way = harm(draw, data, data / name)
        after = content(data)
        changed = {file for file in before.keys() | after.keys() if before.get(file) != after.get(file)}
        try:
            told = verdict(config, data)
        except Exception as error:
            raise AssertionError(f"case {case} of seed {SEED}: {way} of {name}, without teacher {without}") from error
        assert told in ("refused", "verified"), f"case {case} of seed {SEED}: {way} of {name} is {told}"
        counts[told] += 1
        counts[f"{folder}: {told}"] += 1
        wrong = told == "verified" and any(proven(file, whole) for file in changed)
        assert not wrong, f"case {case} of seed {SEED}: {way} of {name} is verified"
        if not changed:
            assert told == "verified", f"case {case} of seed {SEED}: nothing was changed"
        shutil.rmtree(data.parent)
    print(  # noqa: T201
        f"{CASES} cases of seed {SEED}: {dict(sorted(counts.items()))}"
    )
