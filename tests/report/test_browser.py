"""The page in a real browser: silent, alone, and never wider than its window."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db3.report import build_report
from flows.report import read_run

pytestmark = pytest.mark.browser
SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs Chromium on the PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=found, args=SWITCHES)
        yield opened
        opened.close()


@pytest.mark.parametrize(
    "options",
    [
        {"tests": 10_000, "names": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "x" * 40]},
        {"classes": 102, "count": 204, "names": [f"Kniphofia uvaria {k}" for k in range(102)], "local": False},
        {"classes": 16, "count": 64, "labelled": False},
    ],
    ids=["10 classes", "102 classes", "16 classes, unlabelled"],
)  # fmt: skip
def test_the_page_fits_and_is_silent(browser: Any, write_run, options: dict) -> None:  # noqa: ANN001
    out: Path = write_run(**options) / "report/index.html"
    out.parent.mkdir()
    params = {"dataset": {"name": "word" * 40, "digest": "ab" * 60}}
    out.write_text(build_report(read_run(out.parents[1]), params), encoding="utf-8")
    complaints: list[str] = []
    for width in (390, 1280):
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
            context.set_offline(True)
            page = context.new_page()
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url[:80]}"))
            page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else complaints.append(r.url))
            page.goto(out.as_uri())
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
            shown = page.evaluate(
                "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width).length"
            )
            assert shown >= 3
            context.close()
    assert complaints == []
