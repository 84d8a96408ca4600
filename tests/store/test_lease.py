"""One process at a time changes a run, on one machine or on several, and whoever is gone stands in nobody's way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perflib.errors import RunError
from perflib.store import lease
from perflib.store.lease import WRITING, Lease, held, is_written


def elsewhere(folder: Path, **changed: object) -> None:
    """Turn the lease of a folder into that of another host."""
    path = folder / lease.FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "host": "other", "boot": "other", **changed}))


def aged(folder: Path, seconds: float) -> None:
    os.utime(folder / lease.FILE, (time.time() - seconds,) * 2)


def test_a_lease_is_held_once_and_leaves_nothing(tmp_path: Path) -> None:
    with held(tmp_path, "compact", of="shop"):
        with pytest.raises(RunError, match=r"shop is being compacted .*wait until it has ended") as error:
            Lease(tmp_path, "rm", of="shop")
        assert "\n" not in str(error.value) and str(os.getpid()) in str(error.value)
    with held(tmp_path, "rm") as second:
        second.check()
    assert list(tmp_path.iterdir()) == []


def test_the_lease_of_a_process_that_was_killed_is_taken_over_at_once(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from perflib.store.lease import Lease\n"
        "Lease(pathlib.Path(sys.argv[1]), 'run'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert is_written(tmp_path) is True
        with pytest.raises(RunError, match=f"is still running .process {process.pid} on"):
            Lease(tmp_path, "rm")
        process.kill()
        process.wait()
    assert is_written(tmp_path) is False
    began = time.monotonic()
    Lease(tmp_path, "rm").release()
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("changed", [{}, {"host": None, "boot": None, "namespace": "pid:[1]"}, {"pid": -1}])
def test_a_holder_that_cannot_be_looked_up_is_alive_while_it_touches_its_lease(
    tmp_path: Path, changed: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another host, or in another pid namespace."""
    monkeypatch.setattr(lease, "BEAT_S", 0.1)
    mine = Lease(tmp_path, WRITING)
    own = json.loads((tmp_path / lease.FILE).read_text())
    other = {key: own[key] if value is None else value for key, value in changed.items()}
    elsewhere(tmp_path, token="other", **other)
    assert is_written(tmp_path) is True
    with pytest.raises(RunError, match="is still running"):
        Lease(tmp_path, "rm")
    mine.release()  # its thread ends; the lease is another's by now, and stays
    time.sleep(0.3)
    aged(tmp_path, lease.STALE_S + 5)
    assert is_written(tmp_path) is False
    Lease(tmp_path, "rm").release()
    assert list(tmp_path.iterdir()) == []


def test_a_clock_that_was_set_takes_no_lease_from_a_holder_that_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_S", 0.3)
    mine = Lease(tmp_path, "compact")
    elsewhere(tmp_path)
    aged(tmp_path, 3600)  # as it looks when the clock was set forward, until the next touch
    with pytest.raises(RunError, match="is being compacted"):
        Lease(tmp_path, "rm")
    mine.release()


def test_who_was_stopped_for_long_and_replaced_does_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Lease(tmp_path, "compact")
    elsewhere(tmp_path, token="other")
    with pytest.raises(RunError, match="another process took it over"):
        mine.check()
    mine.release()
    assert (tmp_path / lease.FILE).exists()


def test_a_file_system_without_links_has_leases_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    with held(tmp_path, "compact"), pytest.raises(RunError, match="is being compacted"):
        Lease(tmp_path, "compact")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "\\u001b[31m", "purpose": 3}'])
def test_a_lease_that_is_damaged_or_made_up_is_one_clean_line(tmp_path: Path, content: str) -> None:
    (tmp_path / lease.FILE).write_text(content)
    with pytest.raises(RunError) as error:
        Lease(tmp_path, "rm")
    assert str(error.value).isprintable()
