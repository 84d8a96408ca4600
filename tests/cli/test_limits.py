"""Limits of this machine and doors to others: each is one line, and no crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perflib.errors import TargetError
from perflib.load.cluster import connected, doubt
from perflib.store import files, manifest
from tests.support.runs import run_quietly
from tests.support.suites import suite


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux bounds the address space")
@pytest.mark.parametrize("command", [["run"], ["check"], ["report"]])
def test_too_little_address_space_is_one_line(command: list[str], tmp_path: Path) -> None:
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9)); import sys; sys.argv[1:] = {command}"
    )
    script += "; from perflib.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4 and done.stderr.count("\n") == 1 and "address space is limited to 1.0 GB" in done.stderr


def test_a_scheduler_without_tls_is_said_to_be_one(tmp_path: Path) -> None:
    for address in ("tcp://10.0.0.7:8786", "scheduler:8786", "ws://example.org:1"):
        assert "whoever reaches its port can run code" in doubt(address)
    for address in ("tls://10.0.0.7:8786", "tcp://127.0.0.1:8786", "localhost:8786", "inproc://x"):
        assert doubt(address) == ""


def test_tls_without_certificates_is_one_line() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(TargetError, match=r"set distributed\.comm\.tls"), connected("tls://127.0.0.1:9"):
        pass


def test_the_last_step_of_a_run_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def noted(path: Path) -> None:
        synced.append(path.name)
        files_sync(path)

    files_sync = files.sync
    monkeypatch.setattr(files, "sync", noted)
    monkeypatch.setattr(manifest, "sync", noted)
    run = run_quietly(
        suite({"kind": "callable", "function": "json:loads"}, operations=[{"name": "a", "args": ["1"]}]), tmp_path
    )
    written = {path.name for path in run.path.rglob("*.parquet")}
    assert written <= set(synced) and {run.path.name, "rows", "runs"} <= set(synced)
    last = max(i for i, name in enumerate(synced) if name.endswith(".parquet"))
    assert any(name.startswith(".run.json") for name in synced[last:]), "run.json comes after what it promises"
