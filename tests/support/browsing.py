"""A headless Chromium and a real JupyterLab for tests; a picture of what they show where PERFLIB_PICTURES says."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
ROOT = Path(__file__).parents[2]
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


@contextlib.contextmanager
def served(folder: Path, *command: str) -> Iterator[str]:
    """`perflib COMMAND` on a copy of the notebooks in this folder, at a free port; its URL."""
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", dirs_exist_ok=True)
    port = free_port()
    log = (folder / "server.log").open("wb")
    options = [option.replace("PORT", str(port)) for option in command]
    own = {f"JUPYTERLAB_{kind}_DIR": str(folder / ".lab" / kind) for kind in ("WORKSPACES", "SETTINGS")}
    server = subprocess.Popen(
        [sys.executable, "-m", "perflib", *options],
        cwd=folder,
        stdout=log,
        stderr=log,
        env={**os.environ, **own, "PYTHONPATH": str(ROOT)},
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/nothing")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def run_all(page: Any) -> None:
    """Run the notebook that JupyterLab has opened, once its kernel is there."""
    page.locator(".jp-Notebook .jp-Cell:visible").first.wait_for(timeout=60_000)
    page.get_by_text("| Idle").wait_for(timeout=60_000)
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).click()


LAB = ("lab", "--no-browser", "--allow-root", "--port=PORT", "--IdentityProvider.token=", "--ServerApp.password=")


def free_port() -> int:
    """A port of this machine that nothing listened to a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for(url: str) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return  # it answers, and a page that is not there starts no kernel
        except OSError:
            assert time.monotonic() < until, f"nothing at {url}"
            time.sleep(0.2)
