"""A run while it is made: its tail, the panel in JupyterLab and its Stop button, lines where papermill runs it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

import perflib
from perflib.load.progress import Bar, Progress
from perflib.notebook.panel import html
from perflib.store.live import Now, Tail
from tests.support.browsing import LAB, browser, picture, run_all, served
from tests.support.suites import suite
from tests.support.written import latencies, written

__all__ = ["browser"]  # a fixture

CELL = """
import perflib
from perflib import Load, Operation, Scenario, Suite, Target

target = Target(kind="callable", function="time:sleep")
operations = [Operation(name="sleep", args=[0.005])]
loads = {{"warm": 1, "steady": {seconds}}}
scenarios = [
    Scenario(
        name=name, target="here", operations=operations, load=Load(model="closed", concurrency=2, duration_s=s)
    )
    for name, s in loads.items()
]
run = perflib.run(Suite(name="live", targets={{"here": target}}, scenarios=scenarios), data="data")
print("it is", run.status, len(run.rows(phase=None)) > 0)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> perflib.Run:
    """500 requests a second for eight seconds, with failures and 300 MB."""
    return written(
        tmp_path_factory.mktemp("made"), latencies(4000, 1), failed=np.arange(4000) % 100 == 7, memory_mb=300
    )


def test_the_tail_says_what_the_rows_say(made: perflib.Run) -> None:
    now, rows = Tail(made.path).look(over=True), made.rows(phase=None)
    assert (now.scenario, now.requests, now.errors) == ("one", len(rows), 40)
    assert now.errors_by_class == (("http_5xx", 40),)
    good = rows["response_ns"][rows["ok"]] / 1e6
    for shown, q in ((now.p50_ms, 0.5), (now.p95_ms, 0.95), (now.p99_ms, 0.99)):
        assert shown == pytest.approx(np.quantile(good, q, method="inverted_cdf"), rel=0.006)
    assert (sum(now.rates), sum(now.failures)) == (len(rows), 40)
    assert now.memory_mb == pytest.approx(300, rel=0.01)


def test_the_tail_reads_each_part_once_as_it_comes(made: perflib.Run, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    (tmp_path / "rows").mkdir()
    (part,) = (made.path / "rows").glob("*.parquet")
    rows, tail, seen = pq.read_table(part), Tail(tmp_path), []
    for number, first in enumerate(range(0, len(rows), 1000)):
        pq.write_table(rows.slice(first, 1000), tmp_path / "rows" / f"part-0000-{number:06d}.parquet")
        seen.append(tail.look(over=True).requests)
    assert seen == [1000, 2000, 3000, 4000]
    assert tail.look(over=True) == tail.look(over=True)
    assert tail.look().seconds[-1] < tail.look(over=True).seconds[-1], "the last second is not whole yet"


def test_the_panel_escapes_what_others_wrote() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    shown = html(Now(scenario=hostile, errors=1, errors_by_class=((hostile, 1),)), hostile, 0.5, hostile)
    assert "<img" not in shown
    assert "&lt;img" in shown


def test_the_bar_names_p95_and_memory(made: perflib.Run) -> None:
    out = io.StringIO()
    progress = Progress(suite().scenarios, Bar(made.path, out))
    progress.begin()
    progress.show("one", 1, 0)
    progress.close("one", [])
    assert "p95 " in out.getvalue()
    assert "300 MB" in out.getvalue()


def test_papermill_logs_a_line_for_each_scenario_and_stores_no_widget(tmp_path: Path) -> None:
    import papermill

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL.format(seconds=1))])
    nbformat.write(notebook, tmp_path / "in.ipynb")
    done = papermill.execute_notebook(
        str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), kernel_name="python3", progress_bar=False
    )
    text = "".join(output.get("text", "") for output in done.cells[-1].outputs)
    assert [line.split(":")[0] for line in text.splitlines()] == ["warm", "steady", "it is complete True"]
    assert "widget" not in json.dumps(done.cells)


@pytest.mark.browser
def test_the_panel_is_live_in_jupyterlab_and_its_button_ends_the_run(browser: Any, tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(CELL.format(seconds=60))],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    with served(tmp_path, *LAB) as url:
        nbformat.write(notebook, tmp_path / "live.ipynb")
        page = browser.new_page(viewport={"width": 1200, "height": 700})
        page.goto(f"{url}/lab/tree/live.ipynb")
        run_all(page)
        page.locator(".perflib-live strong", has_text="steady").wait_for(timeout=60_000)
        page.wait_for_function(
            "document.querySelectorAll('.perflib-live polyline')[1].points.length > 2", timeout=30_000
        )
        first = page.locator(".perflib-live .tiles").inner_text()
        page.wait_for_timeout(2_500)
        assert page.locator(".perflib-live .tiles").inner_text() != first
        picture(page, "panel")
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("it is interrupted True").wait_for(timeout=20_000)
        page.locator(".perflib-live .head", has_text="interrupted").wait_for()
        assert page.get_by_role("button", name="Stop").count() == 0
        picture(page, "panel-stopped")
        page.close()
    run = perflib.open_run("latest", tmp_path / "data")
    assert run.status == "interrupted"
    assert run.manifest.reasons == ["interrupted by the user"]
