"""Whoever is killed first, no process is left; and every signal that ends a process ends a run as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import perflib
from perflib.suite.model import Target
from perflib.targets.process import StartedTarget
from tests.support.suites import pings

FAMILY = """
import os, pathlib, signal, subprocess, sys, time
def note(name):
    pathlib.Path(name + ".new").write_text(str(os.getpid()))
    os.rename(name + ".new", name)
nap = "import time; time.sleep(600)"
if os.fork() == 0:
    note("child.pid"); time.sleep(600)
if os.fork() == 0:
    os.setsid(); note("session.pid"); time.sleep(600)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        note("daemon.pid"); time.sleep(600)
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else signal.SIG_DFL)
note("target.pid")
time.sleep(600)
"""
MEMBERS = ("child", "session", "daemon", "target")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has subreapers")


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[Target]:
    (tmp_path / "family.py").write_text(FAMILY)
    yield Target(kind="http", start=[sys.executable, "family.py"])
    for path in tmp_path.glob("*.pid"):  # what a failed test leaves
        try:
            os.kill(int(path.read_text()), signal.SIGKILL)
        except ProcessLookupError:
            pass


def family(folder: Path) -> dict[str, int]:
    """The processes of the target, when all are there."""
    until = time.monotonic() + 20
    while not all((folder / f"{name}.pid").exists() for name in MEMBERS):
        assert time.monotonic() < until, "the target did not start"
        time.sleep(0.02)
    return {name: int((folder / f"{name}.pid").read_text()) for name in MEMBERS}


def left(pids: dict[str, int], wait_s: float = 15.0) -> list[str]:
    """Which of them are alive after a while."""
    until = time.monotonic() + wait_s
    while alive := [name for name, pid in pids.items() if _alive(pid)]:
        if time.monotonic() > until:
            return alive
        time.sleep(0.02)
    return []


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@linux
@pytest.mark.parametrize("killed", ["watcher", "keeper", "target", "nobody"])
def test_nothing_is_left_whoever_is_killed(killed: str, spec: Target, tmp_path: Path) -> None:
    target = StartedTarget("family", spec, log=tmp_path / "family.log", folder=str(tmp_path))
    pids = family(tmp_path)
    (keeper,) = psutil.Process(target._guard.pid).children()
    assert {pids["target"], pids["daemon"]} <= set(target.pids), "what became an orphan is the target's all the same"
    victims = {"watcher": target._guard.pid, "keeper": keeper.pid, "target": pids["target"]}
    if killed in victims:
        os.kill(victims[killed], signal.SIGKILL)
        assert left(pids) == []
    target.stop()
    assert left({**pids, "keeper": keeper.pid}) == []


@linux
def test_a_target_that_ignores_sigterm_is_killed(spec: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = Target(kind="http", start=[*spec.start, "stubborn"])
    target = StartedTarget("family", stubborn, log=tmp_path / "family.log", folder=str(tmp_path))
    pids = family(tmp_path)
    began = time.monotonic()
    target.stop()
    assert left(pids) == [] and time.monotonic() - began < 9


@linux
def test_nothing_is_left_of_a_coordinator_that_is_killed(spec: Target, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from perflib.suite.model import Target\n"
        "from perflib.targets.process import StartedTarget\n"
        "spec = Target(kind='http', start=[sys.executable, 'family.py'])\n"
        "StartedTarget('family', spec, log=Path('family.log'), folder='.'); time.sleep(600)"
    )
    coordinator = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    pids = family(tmp_path)
    coordinator.kill()
    coordinator.wait()
    assert left(pids) == []


def test_what_a_target_prints_last_is_in_its_log(tmp_path: Path) -> None:
    code = "import sys; print('x' * 200_000); print('secret', flush=True); print('the last words', end=''); sys.exit(3)"
    target = StartedTarget(
        "t", Target(kind="http", start=[sys.executable, "-c", code]), log=tmp_path / "t.log", folder=""
    )
    assert target._guard.wait(20) == 3
    said = (tmp_path / "t.log").read_text()
    assert len(said) == 200_000 + len("\nsecret\nthe last words") and said.endswith("the last words")


@pytest.mark.parametrize(
    "numbers",
    [[signal.SIGTERM], pytest.param([signal.SIGHUP, signal.SIGQUIT, signal.SIGINT], marks=pytest.mark.slow)],
)
def test_signals_end_a_run_as_an_interrupt_does(numbers: list[signal.Signals], tmp_path: Path) -> None:
    suite = pings("long", {"steady": 'model = "constant", rate_per_s = 50, duration_s = 60'})
    runs = {}
    for number in numbers:
        folder = tmp_path / number.name
        folder.mkdir()
        (folder / "s.toml").write_text(suite)
        command = [sys.executable, "-m", "perflib", "run", "s.toml"]
        runs[number] = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, restore_signals=True
        )
    for number, process in runs.items():
        until = time.monotonic() + 60
        while not list((tmp_path / number.name).glob("data/runs/*/rows/*.parquet")):
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
    for number, process in runs.items():
        out, err = process.communicate(timeout=60)
        assert process.returncode == 128 + number, err
        run = perflib.open_run("latest", tmp_path / number.name / "data")
        assert run.status == "interrupted" and len(run.rows(phase=None)) > 0
        by = "the user" if number == signal.SIGINT else number.name
        assert run.manifest.reasons == [f"interrupted by {by}"]
        assert out.strip() == run.id and "Traceback" not in err
        assert len([line for line in err.splitlines() if "kept" in line]) == 1
