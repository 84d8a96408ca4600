"""`python -m tests.picture FOLDER`: a small picture of the opening of FOLDER/report.html, as FOLDER/report.png, for the README."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 1000}, color_scheme="light")
        page.goto((folder / "report.html").as_uri())
        page.evaluate("document.querySelectorAll('details')[1].open = true")
        page.screenshot(path=folder / "report.png", full_page=True)
        top = page.evaluate("document.querySelectorAll('.charts')[1].getBoundingClientRect().top + window.scrollY")
        browser.close()
    whole = Image.open(folder / "report.png").convert("RGB")
    opening, charts = whole.crop((0, 0, 1200, 470)), whole.crop((0, int(top), 1200, int(top) + 610))
    made = Image.new("RGB", (1200, 470 + 610), "white")
    made.paste(opening, (0, 0))
    made.paste(charts, (0, 470))
    made.quantize(160).save(folder / "report.png", optimize=True)


if __name__ == "__main__":
    main()
