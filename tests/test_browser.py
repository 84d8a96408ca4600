"""In a real browser: the report opens without asking anybody for anything; JupyterLab opens and runs a notebook."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import perflib
from perflib.errors import SuiteError
from perflib.report import report

pytestmark = pytest.mark.browser
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ROOT = Path(__file__).parents[1]
PICTURES = Path(os.environ.get("PERFLIB_PICTURES", "")).resolve() if os.environ.get("PERFLIB_PICTURES") else None


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


def picture(page: Any, name: str) -> None:
    """Keep a screenshot where PERFLIB_PICTURES says, to be looked at."""
    if PICTURES:
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png")


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


@pytest.mark.slow
def test_jupyterlab_runs_the_quickstart(browser: Any, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=", "--ServerApp.password="]
    lab = subprocess.Popen(
        [sys.executable, "-m", "perflib", "lab", *options],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/api")
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_role("heading", name="Quickstart: load a function").wait_for(timeout=60_000)
        assert page.locator(".jp-Dialog").count() == 0
        page.get_by_text("Run", exact=True).first.click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.wait_for_function("document.querySelectorAll('.jp-OutputArea-output img').length >= 1", timeout=90_000)
        page.wait_for_timeout(12_000)
        picture(page, "lab-quickstart")
        assert (
            page.locator("[data-mime-type='application/vnd.jupyter.stderr'], .jp-RenderedText")
            .filter(has_text="Traceback")
            .all_inner_texts()
            == []
        )
        page.close()
    finally:
        lab.terminate()
        lab.wait(20)
    assert len(list((tmp_path / "data" / "runs").iterdir())) == 2


def wait_for(url: str) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            assert time.monotonic() < until, f"nothing at {url}"
            time.sleep(0.2)


def test_a_report_is_printed_as_pdf(browser: Any, small_run: perflib.Run, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "perflib", "report", str(small_run.path), "--out", str(tmp_path / "out"), "--pdf"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "out" / "report.pdf").read_bytes()
    pages = made.count(b"/Type /Page\n") + made.count(b"/Type /Page ")
    assert made.startswith(b"%PDF") and len(made) > 20_000 and pages >= 2, (
        "the scenario is on a page of its own, unfolded"
    )


def test_a_pdf_without_chromium_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from perflib.pdf import pdf

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SuiteError, match="a PDF needs Chromium, and there is none here"):
        pdf(tmp_path / "report.html")
