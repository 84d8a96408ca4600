"""A page as PDF, printed by the Chromium that is installed, without a window and without the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from perflib.errors import PerflibError, RunError

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
TIMEOUT_S: Final = 120
_QUIET: Final = ("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--no-pdf-header-footer")  # fmt: skip


def print_pdf(page: Path) -> Path:
    """report.html as report.pdf beside it. Raises RunError where there is no browser, or it cannot print."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise _failed(page, "no Chromium to print the PDF with", "install chromium or google-chrome, or print the page by hand")  # fmt: skip
    target = page.with_suffix(".pdf")
    # Chromium's sandbox refuses to start for root, as in a container.
    alone = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    with tempfile.TemporaryDirectory() as profile:
        made = Path(profile) / "page.pdf"
        command = [browser, *_QUIET, *alone, f"--user-data-dir={profile}", f"--print-to-pdf={made}", page.resolve().as_uri()]  # fmt: skip
        try:
            subprocess.run(command, capture_output=True, check=True, timeout=TIMEOUT_S)
            shutil.move(made, target)
        except (OSError, subprocess.SubprocessError) as error:
            raise _failed(page, f"{Path(browser).name} did not print it ({type(error).__name__})", "print the page by hand") from None  # fmt: skip
    return target


def _failed(page: Path, what: str, mend: str) -> PerflibError:
    return RunError(what, where=str(page), mend=f"{mend}; all other files are written")
