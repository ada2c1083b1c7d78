"""Every file of a finished run harmed in every way: a proof ends in one line, and what is harmed is never verified.

`TMPDIR=/dev/shm DB3_FUZZ_CASES=10000 python -m pytest -n 0 -s tests/flows/test_verify_fuzz.py` tries more, and says
what it counted (where /dev/shm is memory: a proof waits for the disk longer than it computes).
"""

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
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
    images = cache(lambda digest: draw(config, digest))
    monkeypatch.setattr(verification, "drawn_images", lambda _, digest: images(digest))


@pytest.fixture
def proven_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a stage's proof reads decides its end: one that was proven is not proven again from the very same bytes."""
    for folder, of_data, of_own in (
        ("samples", ("samples", "teacher"), ()),
        ("decisions", ("decisions",), ("samples",)),
        ("transfer", ("transfer",), ("samples", "decisions")),
    ):
        name = f"replay_{folder}"
        replay = remembered(getattr(verification, name), folder, of_data, of_own, tmp_path / "proven")
        monkeypatch.setattr(verification, name, replay)


def remembered(
    replay: Callable[..., Any], folder: str, of_data: tuple[str, ...], of_own: tuple[str, ...], kept: Path
) -> Callable[..., Any]:
    """Proofs that succeeded, by all bytes that they read: what they returned, and the folder that they wrote."""
    done: dict[Any, tuple[Any, Path]] = {}

    def once(config: Config, data: Path, own: Path, *more: Any) -> Any:
        read = [content(base / name) for base, names in ((data, of_data), (own, of_own)) for name in names]
        key = (*(frozenset(files.items()) for files in read), *more)
        if key in done:
            returned, written = done[key]
            shutil.copytree(written, own / folder, dirs_exist_ok=True)
            return returned
        returned = replay(config, data, own, *more)
        done[key] = returned, Path(shutil.copytree(own / folder, kept / f"{folder}-{len(done)}"))
        return returned

    return once


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


def restore(finished: Path, data: Path, names: set[str]) -> None:
    """What lies there under these names, and nothing else, as it was."""
    for name in names:
        path, whole = data / name, finished / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if whole.is_dir():
            shutil.copytree(whole, path)
        elif whole.is_file():
            shutil.copy(whole, path)


@pytest.mark.usefixtures("opened_once", "proven_once", "unchecked")
def test_no_harm_shows_a_traceback_or_is_verified(config: Config, finished: Path, tmp_path: Path) -> None:
    whole = content(finished)
    files = sorted(name for name, held in whole.items() if isinstance(held, bytes))
    folders = sorted({name.partition("/")[0] for name in files})
    assert verdict(config, finished) == "verified"
    counts, data = Counter[str](), Path(shutil.copytree(finished, tmp_path / "case" / "data"))
    try:
        for case in range(CASES):
            draw = random.Random(f"{SEED} {case}")  # noqa: S311
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
                raise AssertionError(
                    f"case {case} of seed {SEED}: {way} of {name}, without teacher {without}"
                ) from error
            assert told in ("refused", "verified"), f"case {case} of seed {SEED}: {way} of {name} is {told}"
            counts[f"{folder}: {told}"] += 1
            wrong = told == "verified" and any(proven(file, whole) for file in changed)
            assert not wrong, f"case {case} of seed {SEED}: {way} of {name} is verified"
            if not changed:
                assert told == "verified", f"case {case} of seed {SEED}: nothing was changed"
            restore(finished, data, {file.partition("/")[0] for file in {*changed, *(["teacher"] if without else [])}})
    finally:  # Ctrl-C ends a long run, and it still says what it counted
        print(f"{counts.total()} cases of seed {SEED}: {dict(sorted(counts.items()))}")  # noqa: T201
