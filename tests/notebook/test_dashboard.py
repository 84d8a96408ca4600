"""The dashboard in a real browser, served by Voilà: the runs there are, one in detail, a running one live, and nothing
from elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import perflib
from perflib.notebook import runs_table
from perflib.notebook.dashboard import Dashboard, Live, trends
from tests.support.browsing import ROOT, browser, picture, served
from tests.support.written import latencies, written

__all__ = ["browser"]  # a fixture

RUN = """
import perflib
from perflib import Load, Operation, Scenario, Suite, Target

target = Target(kind="callable", function="time:sleep")
load = Load(model="closed", concurrency=2, duration_s=60)
scenario = Scenario(name="napping", target="here", operations=[Operation(name="sleep", args=[0.005])], load=load)
perflib.run(Suite(name="naps", targets={"here": target}, scenarios=[scenario]), data="data", progress=False)
"""


@pytest.mark.browser
def test_the_dashboard_shows_runs_and_follows_one_that_is_made_elsewhere(
    browser: Any, small_run: perflib.Run, tmp_path: Path
) -> None:
    shutil.copytree(small_run.path, tmp_path / "data" / "runs" / small_run.id)
    with served(tmp_path, "dashboard", "--port=PORT", "--no-browser") as url:
        page = browser.new_page(viewport={"width": 1240, "height": 1500})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        made = subprocess.Popen([sys.executable, "-c", RUN], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            page.goto(url, timeout=60_000)
            page.get_by_text("napping", exact=True).wait_for(timeout=60_000)
            page.locator("td", has_text=small_run.id).first.wait_for(timeout=30_000)
            assert page.locator("tr", has_text=small_run.id).locator("td").last.inner_text().endswith(small_run.verdict)
            first = page.locator(".perflib-live .tiles").inner_text()
            page.wait_for_function(
                "was => document.querySelector('.perflib-live .tiles').innerText != was", arg=first, timeout=15_000
            )
            page.locator("select").select_option(small_run.id)
            page.get_by_text("missing: error rate < 1 %").first.wait_for(timeout=30_000)
            picture(page, "dashboard")
        finally:
            made.terminate()
            made.wait(20)
        page.get_by_text("No run is in progress.").wait_for(timeout=20_000)
        page.close()
    assert [
        address for address in asked if not address.startswith((url, url.replace("http", "ws"), "data:", "blob:"))
    ] == []


def test_runs_are_listed_newest_first_with_what_they_came_to(small_run: perflib.Run, tmp_path: Path) -> None:
    shutil.copytree(small_run.path, tmp_path / "runs" / small_run.id)
    broken = written(tmp_path, latencies(200, 1), name="<b>x", status="invalid", reasons=["<b>"])
    (tmp_path / "runs" / "29990101-000000-not-yet").mkdir()
    assert [run.id for run in runs_table.newest(tmp_path)] == [broken.id, small_run.id]
    page = str(runs_table.runs(tmp_path))
    assert page.index(broken.id) < page.index(small_run.id)
    assert page.index("! invalid") < page.index(small_run.id) < page.rindex(small_run.verdict)
    assert str(runs_table.runs(tmp_path, judge=False)).count("! invalid") < page.count("! invalid")  # the status alone
    assert "no runs yet" in str(runs_table.runs(tmp_path / "empty"))
    assert runs_table.running(tmp_path) is None and "No run is in progress" in Live(tmp_path).html()


def test_trends_begin_with_the_second_run(tmp_path: Path) -> None:
    written(tmp_path, latencies(500, 1))
    assert "<img" not in str(trends(tmp_path))
    written(tmp_path, latencies(500, 2))
    assert str(trends(tmp_path)).count("<img") == 3, "p95, throughput and errors"


def test_the_folder_is_as_given_else_as_the_command_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFLIB_DATA", str(tmp_path / "told"))
    assert Dashboard().data == tmp_path / "told"
    assert Dashboard(str(tmp_path)).data == tmp_path
