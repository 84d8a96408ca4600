"""`python -m tools.animation`: docs/pictures/notebook.gif, the quickstart being run in JupyterLab, in half a minute."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

ROOT: Final = Path(__file__).parents[1]
ANIMATION: Final = ROOT / "docs" / "pictures" / "notebook.gif"
LARGEST: Final = 900_000
CELLS: Final = 8  # code cells that are run: from the parameters to the table of percentiles
WIDTH, HEIGHT, SHOWN = 1100, 760, 800
EVERY_S, LAST_S = 0.5, 3.0
VIVID: Final = 20  # how far apart red, green and blue are in a vivid colour, of 255
VIVID_COLOURS, GREY_COLOURS = 96, 64


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        frames = recorded(Path(folder))
    small = [frame.resize((SHOWN, frame.height * SHOWN // frame.width), Image.Resampling.LANCZOS) for frame in frames]
    colours = palette(small)
    coloured = [frame.quantize(palette=colours, dither=Image.Dither.NONE) for frame in small]
    lasting = [round(EVERY_S * 1e3)] * (len(coloured) - 1) + [round(LAST_S * 1e3)]
    coloured[0].save(ANIMATION, save_all=True, append_images=coloured[1:], duration=lasting, loop=0, optimize=True)
    print(f"{len(frames)} frames, {ANIMATION.stat().st_size:,} bytes  {ANIMATION.relative_to(ROOT)}")
    if ANIMATION.stat().st_size > LARGEST:
        sys.exit(f"more than {LARGEST:,} bytes: use fewer colours, or a smaller width")


def palette(frames: list[Image.Image]) -> Image.Image:
    """The colours for all frames: those of pale and grey pixels, and as good a choice for the few that are vivid."""
    pixels = np.concatenate([np.asarray(frame).reshape(-1, 3) for frame in frames])
    vivid = np.ptp(pixels, axis=1) > VIVID
    chosen: list[int] = []
    for some, count in ((pixels[vivid], VIVID_COLOURS), (pixels[~vivid], GREY_COLOURS)):
        row = Image.fromarray(some[None])
        chosen += (row.quantize(count, Image.Quantize.MEDIANCUT).getpalette() or [])[: 3 * count]
    made = Image.new("P", (1, 1))
    made.putpalette(chosen)
    return made


def recorded(folder: Path) -> list[Image.Image]:
    """What the screen shows while the cells are run one after the other; frames that are the same are left out."""
    from playwright.sync_api import sync_playwright

    (folder / "notebooks").mkdir()
    notebook = (ROOT / "notebooks" / "quickstart.ipynb").read_text("utf-8")
    (folder / "notebooks" / "quickstart.ipynb").write_text(notebook.replace("duration_s = 10 ", "duration_s = 5 "))
    server, url = serve(folder)
    try:
        with sync_playwright() as playwright:
            options: dict[str, Any] = {"executable_path": shutil.which("chromium"), "args": ["--no-sandbox"]}
            page = playwright.chromium.launch(**options).new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(f"{url}/doc/tree/notebooks/quickstart.ipynb")  # one notebook, without side bars
            page.get_by_role("heading", name="Quickstart: your first load tests").first.wait_for(timeout=60_000)
            page.get_by_text("| Idle").wait_for(timeout=60_000)
            return run_cells(page)
    finally:
        server.terminate()
        server.wait(20)


def run_cells(page: Any) -> list[Image.Image]:
    """Run the cells with Shift+Enter, as the notebook's first sentences say."""
    frames: list[Image.Image] = []
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.keyboard.press("Escape")
    done = 0
    while done < CELLS:
        running = page.locator(".jp-Notebook .jp-Cell.jp-mod-active").element_handle()
        is_code = "jp-CodeCell" in (running.get_attribute("class") or "")
        page.keyboard.press("Shift+Enter")
        done += is_code
        until = time.monotonic() + 60
        while is_code and time.monotonic() < until:
            is_over = "[*]" not in (running.query_selector(".jp-InputPrompt").text_content() or "")
            page.wait_for_timeout(EVERY_S * 1e3)  # for what it shows to be there
            running.evaluate("cell => cell.scrollIntoView({ block: 'center' })")
            frame = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            if not frames or frame.tobytes() != frames[-1].tobytes():
                frames.append(frame)
            if is_over:
                break
    return frames


def serve(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """JupyterLab on this folder, and its URL, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=", "--ServerApp.password="]
    own = {f"JUPYTERLAB_{kind}_DIR": str(folder / ".lab" / kind) for kind in ("WORKSPACES", "SETTINGS")}
    server = subprocess.Popen(
        [sys.executable, "-m", "perflib", "lab", *options], cwd=folder, env={**os.environ, **own},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{url}/nothing", timeout=2).close()
        except urllib.error.HTTPError:
            break
        except OSError:
            time.sleep(0.2)
    return server, url


if __name__ == "__main__":
    main()
