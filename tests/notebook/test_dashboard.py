"""The dashboard in a real browser, served by Voilà: the runs there are, one in detail, a running one live, and nothing
from elsewhere."""

from __future__ import annotations

import http.cookiejar
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

import perflib
from perflib.notebook import runs_table
from perflib.notebook.dashboard import Dashboard, Live, trends
from perflib.notebook.server import MOST_KERNELS
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
    browser: Any, small_run: perflib.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small_run.path, tmp_path / "data" / "runs" / small_run.id)
    monkeypatch.setenv("JUPYTER_TOKEN", "sesame-of-the-test")
    with served(tmp_path, "dashboard", "--port=PORT", "--no-browser") as url:
        page = browser.new_page(viewport={"width": 1240, "height": 1500})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        made = subprocess.Popen([sys.executable, "-c", RUN], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            page.goto(f"{url}/?token=sesame-of-the-test", timeout=60_000)
            page.get_by_text("napping", exact=True).wait_for(timeout=60_000)
            page.get_by_role("button", name=small_run.id).wait_for(timeout=30_000)
            page.get_by_text("still going on").first.wait_for(timeout=30_000)  # the newest run is shown by itself
            first = page.locator(".perflib-live .tiles").inner_text()
            page.wait_for_function(
                "was => document.querySelector('.perflib-live .tiles').innerText != was", arg=first, timeout=15_000
            )
            page.get_by_role("button", name=small_run.id).click()
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


def _status(url: str, **headers: str) -> int:
    request = urllib.request.Request(url, headers={key.replace("_", "-"): value for key, value in headers.items()})
    try:
        with _opener.open(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


class _Here(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Here())


def test_the_doors_are_locked_before_a_kernel_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "sesame-of-the-test")
    with served(tmp_path, "dashboard", "--port=PORT", "--no-browser") as url:
        (server,) = [
            process
            for process in psutil.Process().children(recursive=True)
            if "perflib.notebook.server" in process.cmdline()
        ]
        right = f"{url}/?token=sesame-of-the-test"
        assert _status(url) == 302 and _status(f"{url}/?token=wrong") == 302, "to the page that asks for a token"
        assert _status(right, Host="evil.example") == 403
        assert _status(right, Origin="http://evil.example") == 403
        assert _status(right, Sec_Fetch_Site="cross-site") == 403
        assert _status(f"{url}/api/kernels/00000000-0000-0000-0000-000000000000/channels") in (302, 400, 403)
        assert server.children() == [], "no kernel was started by any of them"
        assert "sesame" not in " ".join(server.cmdline())
    assert "?token=sesame-of-the-test" in (tmp_path / "server.log").read_text()


@pytest.mark.slow
def test_a_session_has_one_kernel_and_all_of_them_a_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "sesame-of-the-test")
    with served(tmp_path, "dashboard", "--port=PORT", "--no-browser") as url:
        (server,) = [
            process
            for process in psutil.Process().children(recursive=True)
            if "perflib.notebook.server" in process.cmdline()
        ]
        right, statuses = f"{url}/?token=sesame-of-the-test", []
        session = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )
        for _ in range(3):
            with session.open(right, timeout=100) as page:
                assert page.status == 200 and page.read()
            assert len(server.children()) == 1
        statuses = [_status(right) for _ in range(MOST_KERNELS)]
        assert statuses == [200] * (MOST_KERNELS - 1) + [503] and len(server.children()) == MOST_KERNELS


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
