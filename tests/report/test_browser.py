"""In a real browser: the report opens without asking anybody for anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import perflib
from perflib.errors import SuiteError
from perflib.report.render import report
from tests.support.browsing import browser, picture

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.browser


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_report_opens_offline(browser: Any, small_run: perflib.Run, tmp_path: Path, colours: str) -> None:
    out = report(small_run, out=tmp_path / "out")
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=colours)
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto((out / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert [url for url in asked if not url.startswith("data:")] == [(out / "report.html").as_uri()]
    assert said == []
    assert page.locator("h1").inner_text() == "Performance of tested"
    broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth || !i.alt).length"
    assert page.evaluate(broken) == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    picture(page, f"report-{colours}")
    page.close()


def test_a_report_is_printed_as_pdf(browser: Any, small_run: perflib.Run, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "perflib", "report", str(small_run.path), "--out", str(tmp_path / "out"), "--pdf"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "out" / "report.pdf").read_bytes()
    pages = made.count(b"/Type /Page\n") + made.count(b"/Type /Page ")
    assert made.startswith(b"%PDF") and len(made) > 20_000 and pages >= 2, "the scenarios are unfolded"


def test_a_pdf_without_chromium_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from perflib.report.pdf import pdf

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SuiteError, match="a PDF needs Chromium, and there is none here"):
        pdf(tmp_path / "report.html")
