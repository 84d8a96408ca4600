"""A rendered page as PDF, printed by the Chromium that is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from perflib.errors import ReportError, SuiteError

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
TIMEOUT_S: Final = 120


def pdf(page: Path) -> Path:
    """Print an HTML page beside itself, report.html as report.pdf; the file.

    Raises SuiteError where no browser is installed, ReportError where it fails.
    """
    browser = next((found for name in NAMES if (found := shutil.which(name))), None)
    if browser is None:
        mend = f"install Chromium, or print {page.name} from a browser"
        raise SuiteError("a PDF needs Chromium, and there is none here", where="--pdf", mend=mend)
    made = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory() as profile:
        unfinished = Path(profile) / made.name
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--no-pdf-header-footer",
            f"--user-data-dir={profile}",
            f"--print-to-pdf={unfinished}",
        ]
        # Chromium's own sandbox does not start for root; the page is ours, and so is its one script.
        command += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        try:
            done = subprocess.run(
                [*command, page.resolve().as_uri()], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ReportError(
                f"Chromium did not print: {error}", where=str(page), mend="print it from a browser"
            ) from None
        if not unfinished.is_file():
            said = (done.stderr.strip().splitlines() or ["nothing was said"])[-1][:200]
            raise ReportError(f"Chromium did not print: {said}", where=str(page), mend="print it from a browser")
        shutil.move(unfinished, made)
    return made
