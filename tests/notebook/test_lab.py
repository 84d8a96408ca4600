"""JupyterLab as `make lab` opens it: start page, from it quickstart and explore, run by the menu in a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import perflib
from tests.support.browsing import LAB, browser, picture, run_all, served

__all__ = ["browser"]  # a fixture


@pytest.mark.slow
@pytest.mark.browser
def test_the_start_page_leads_to_quickstart_and_explore_and_both_run(browser: Any, tmp_path: Path) -> None:
    with served(tmp_path, *LAB) as url:
        quickstart = tmp_path / "notebooks" / "quickstart.ipynb"
        quickstart.write_text(quickstart.read_text().replace("duration_s = 10 ", "duration_s = 2 "))
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.goto(url)  # opens the start page by itself
        page.get_by_role("heading", name="perflib", exact=False).first.wait_for(timeout=60_000)
        page.locator(".jp-RenderedMarkdown a", has_text="quickstart").click()
        page.get_by_role("heading", name="Quickstart: your first load tests").first.wait_for(timeout=60_000)
        saved = _ran(page, quickstart)
        assert [_kinds(cell) for cell in saved if "charts." in "".join(cell["source"])] == [{"image/png"}] * 3
        run = perflib.open_run("latest", tmp_path / "data")
        assert (run.suite.name, run.status) == ("in-kernel", "complete")
        picture(page, "lab-quickstart")

        page.goto(f"{url}/lab/tree/notebooks/index.ipynb?reset")
        _ran(page, tmp_path / "notebooks" / "index.ipynb")
        page.get_by_role("button", name=run.id).first.click()
        page.get_by_role("button", name="Compare with the run before").click()
        page.get_by_text("there is no earlier run of in-kernel").wait_for(timeout=30_000)
        picture(page, "lab-start")

        page.locator(".jp-RenderedMarkdown a", has_text="explore").click()
        page.get_by_role("heading", name="Explore a run").first.wait_for(timeout=60_000)
        _ran(page, tmp_path / "notebooks" / "explore.ipynb")
        charts = page.locator(".jupyter-matplotlib-canvas-div canvas").last
        charts.scroll_into_view_if_needed()
        whole = _readouts(page)
        _drag(page, charts.bounding_box(), (0.20, 0.25), (0.35, 0.25))  # over the response times
        page.wait_for_function(
            "was => [...document.querySelectorAll('.widget-readout')].map(e => e.innerText).join() != was", arg=whole
        )
        brushed = _readouts(page)
        box = charts.bounding_box()
        page.mouse.click(box["x"] + 0.65 * box["width"], box["y"] + 0.25 * box["height"])  # the percentile curve
        page.wait_for_function(
            "was => [...document.querySelectorAll('.widget-readout')].map(e => e.innerText).join() != was", arg=brushed
        )
        page.locator(".perflib-slow", has_text="Requests from").wait_for()
        page.wait_for_timeout(2_000)
        picture(page, "lab-explore")
        page.close()


def _ran(page: Any, notebook: Path) -> list[dict[str, Any]]:
    """The code cells of the notebook that is open, run by the menu and saved: each without an error."""
    run_all(page)
    for _ in range(120):
        page.wait_for_timeout(1_000)
        page.keyboard.press("Control+s")
        cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
        if all(cell["execution_count"] for cell in cells):
            break
    assert [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"] == []
    assert all(cell["execution_count"] for cell in cells), "not every cell was run"
    return cells


def _readouts(page: Any) -> str:
    return ",".join(page.locator(".widget-readout").all_inner_texts())


def _drag(page: Any, box: dict[str, float], start: tuple[float, float], stop: tuple[float, float]) -> None:
    (x, y), (to_x, to_y) = ((box["x"] + at[0] * box["width"], box["y"] + at[1] * box["height"]) for at in (start, stop))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move((x + to_x) / 2, y, steps=5)
    page.mouse.move(to_x, to_y, steps=5)
    page.mouse.up()


def _kinds(cell: dict[str, Any]) -> set[str]:
    return {kind for output in cell["outputs"] for kind in output.get("data", ()) if kind.startswith("image")}
