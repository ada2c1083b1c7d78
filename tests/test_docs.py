"""The documentation holds together: links and anchors lead somewhere, files that it names exist, its Python runs."""

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from db3.settings.teacher import PLACEHOLDERS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# `db3/rng.py`, `tests/contracts/teacher.py`, `conf/query/`: a path from the root, as pages and comments write it.
NAMED = re.compile(
    r"(?<![\w./(-])((?:db3|flows|tests|benchmarks|conf|docs|examples)/[\w./-]*(?:\.(?:pyi?|ya?ml|md|png)|/))(?![\w*])"
)
# What a reader is told to add: docs/architecture.md's walk through a new method and a new adapter.
INVENTED = {
    *("db3/search/methods/walk.py", "conf/query/walk.yaml"),
    *("db3/teachers/adapters/toy.py", "conf/teacher/toy.yaml"),
}


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The ids that headings get on the site."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings]
    return {re.sub(r"[\s-]+", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{target}: no such file"
        assert other.is_relative_to(ROOT), f"{target}: outside the repository"
        if anchor:
            assert anchor in anchors(other), f"{target}: no such heading; there are {sorted(anchors(other))}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_named_in_prose_exist(page: Path) -> None:
    named = {name for name in NAMED.findall(prose(page)) if name not in INVENTED}
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_files_named_in_code_exist() -> None:
    """Comments and docstrings point to pages of the documentation; whoever moves one moves the pointers."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.pyi", "*.yaml", "*.yml", "*.toml", "Makefile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    lost = {
        (name, page)
        for name in listed
        if name != "tests/test_docs.py" and (ROOT / name).is_file()
        for page in re.findall(r"\bdocs/[\w/-]+\.(?:md|png)", (ROOT / name).read_text(encoding="utf-8"))
        if not (ROOT / page).is_file()
    }
    assert lost == set()


def test_every_page_is_in_the_navigation() -> None:
    described = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def leaves(node: object) -> set[str]:
        if isinstance(node, str):
            return {node}
        parts = node.values() if isinstance(node, dict) else node
        return set().union(*(leaves(part) for part in parts))  # type: ignore[attr-defined]

    pages = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert leaves(described["nav"]) == pages


def test_every_public_name_is_in_the_reference() -> None:
    stub = ast.parse((ROOT / "db3" / "__init__.pyi").read_text(encoding="utf-8"))
    public = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    shown = re.findall(r"^::: db3\.(\w+)$", (ROOT / "docs/reference/api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(shown) == sorted(public)


def test_every_picture_is_used() -> None:
    used = {(page.parent / target).resolve() for page in PAGES for target in LINK.findall(prose(page))}
    assert {picture for picture in (ROOT / "docs/images").iterdir() if picture not in used} == set()


def test_every_decision_record_is_listed_and_numbered_once() -> None:
    records = sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))
    listed = LINK.findall((ROOT / "docs/decisions/index.md").read_text(encoding="utf-8"))
    assert listed == records
    assert [int(name[:4]) for name in records] == list(range(1, len(records) + 1))
    for name in records:
        assert (ROOT / "docs/decisions" / name).read_text(encoding="utf-8").startswith(f"# {name[:4]}: ")


def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ten lines, on a small set of images and with a function in the vendor's place."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    told: list[int] = []

    def classify(seen: np.ndarray) -> np.ndarray:
        told.append(len(seen))
        return seen[:, 0, :2, :5].reshape(len(seen), 10).argmax(axis=1)

    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(f"photos/{number}.png")
    small = {
        "queries=20_000": "queries=200, settings=quick, held_out=40",
        "agreement=0.99": "agreement=0.001, confidence=0.01",
    }
    for long, short in small.items():
        assert long in code
        code = code.replace(long, short)
    quick = {"distill.steps": 2, "distill.warmup": 1, "samples.rounds.count": 1, "samples.rounds.steps": 1}
    known: dict[str, Any] = {"classify": classify, "quick": quick}
    exec(code, known)  # noqa: S102 - it is our own page
    assert known["result"].queries.asked == 200
    assert known["result"].queries.sent == sum(told)
    assert Path("student.onnx").is_file()
    assert len(known["cascade"].decide(known["images"].images)) == 60


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_no_shell_reads_a_placeholder(page: Path) -> None:
    """Within double quotes it would make nothing of `$labels`."""
    names = "|".join(PLACEHOLDERS)
    assert re.findall(rf'-S "(?:\\.|[^"\\])*\$(?:{names})\b', page.read_text(encoding="utf-8")) == []
