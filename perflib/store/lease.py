"""Leases: who is working in a run's folder, so that no two processes change it at once.

with held(run_dir, "compact") as lease:
    ...                       # any other process that wants the lease is refused in one line
    lease.check()             # before a step that cannot be undone: is it still ours?

A lease is a small file, `.lease.json`, which names its holder: host, boot, pid namespace, pid. The holder touches it
every BEAT_S. On the same machine the holder's process is looked up. A holder on another host, or in another pid
namespace, is alive as long as it touches the file: ages are measured by the clock of the file's own folder, which is
the server's for a shared folder. A lease of a holder that is gone is taken over by whoever comes next.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import secrets
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from perflib.errors import RunError

FILE: Final = ".lease.json"
BEAT_S: Final = 2.0
STALE_S: Final = 30.0  # without a touch, after which a holder that cannot be looked up is taken for gone
WRITING: Final = "run"  # the purpose of whoever writes a run

_HELD: Final = set[str]()  # the tokens of this process
_DOING: Final = {
    WRITING: "is still running",
    "compact": "is being compacted",
    "rm": "is being removed",
    "baseline": "is being copied to a baseline, or replaced",
}


class Lease:
    """The lease of a folder, which this process holds until `release`.

    Raises RunError, in one line, if another process holds it, or if the folder cannot be written.
    """

    def __init__(self, folder: Path, purpose: str, *, file: str = FILE, of: str = "") -> None:
        self.path, self._of = folder / file, of or folder.name
        self._token = secrets.token_hex(8)
        content = json.dumps({"token": self._token, "purpose": purpose, **_me()})
        unfinished = folder / f"{file}.{self._token}.tmp"
        try:
            unfinished.write_text(content, "utf-8")
            while not (_created(unfinished, self.path) or self._taken_over(unfinished)):
                pass
        except OSError as error:
            raise RunError(f"{error.strerror}: {self.path}", where=self._of, mend="choose a folder to write") from None
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()
        _HELD.add(self._token)
        self._over = threading.Event()
        threading.Thread(target=self._beat, name="lease", daemon=True).start()

    def check(self) -> None:
        """Raise RunError if the lease is no longer ours: this process was stopped for long, and another came."""
        if (_read(self.path) or {}).get("token") != self._token:
            raise RunError("another process took it over, because this one was stopped for long", where=self._of)

    def release(self) -> None:
        """Give it up, wherever its folder is by now."""
        self._over.set()
        _HELD.discard(self._token)
        if (_read(self.path) or {}).get("token") == self._token:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def _taken_over(self, ours: Path) -> bool:
        """Replace a lease whose holder is gone. False: try again. Raises RunError if the holder is alive.

        Whoever creates the marker, which is named after the old lease, replaces it; nobody can do so twice.
        """
        found = _read(self.path)
        if found is None:
            return False
        if not _gone_for_sure(self.path, found):
            doing = _DOING.get(str(found.get("purpose")), "is in use")
            by = f"process {_word(found.get('pid'))} on {_word(found.get('host'))}"
            raise RunError(f"{self._of} {doing} ({by})", mend="wait until it has ended, or stop it")
        marker = self.path.with_name(f"{self.path.name}.{_word(found.get('token'))}.next.tmp")
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            if _age_s(marker) > STALE_S:
                marker.unlink(missing_ok=True)
            time.sleep(0.05)
            return False
        try:
            if _read(self.path) != found:
                return False
            ours.replace(self.path)
            return True
        finally:
            marker.unlink(missing_ok=True)


@contextlib.contextmanager
def held(folder: Path, purpose: str, *, file: str = FILE, of: str = "") -> Iterator[Lease]:
    """Hold a lease for a while. Raises RunError if another process has it."""
    lease = Lease(folder, purpose, file=file, of=of)
    try:
        yield lease
    finally:
        lease.release()


def is_written(folder: Path) -> bool | None:
    """Whether the writer of a run is alive; None if the folder has no lease of a writer."""
    found = _read(folder / FILE)
    if found is None or found.get("purpose") != WRITING:
        return None
    return not _gone(folder / FILE, found)


def others(folder: Path) -> list[str]:
    """The names of the leases in a folder whose holders are alive and are not this process's own.

    Those of holders that are gone are removed, without a lock: a holder that is gone does not come back.
    """
    alive = []
    with contextlib.suppress(OSError):
        for path in sorted(folder.glob("[!.]*.json")):
            found = _read(path)
            if found is None or found.get("token") in _HELD:
                continue
            if _gone(path, found):
                with contextlib.suppress(OSError):
                    path.unlink()
            else:
                alive.append(path.name)
    return alive


def _created(unfinished: Path, path: Path) -> bool:
    """Create a lease with its content, if there is none; on every file system one of several processes succeeds."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        try:
            with path.open("x", encoding="utf-8") as created:
                created.write(unfinished.read_text("utf-8"))
        except FileExistsError:
            return False
    return True


def _read(path: Path) -> dict[str, Any] | None:
    """The content of a lease; None if there is none. One that is not readable has no holder that can be looked up."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _gone(path: Path, found: dict[str, Any]) -> bool:
    """Whether the holder is gone, as far as one look can say."""
    process = _process(found)
    return process == "gone" or (process == "unknown" and _age_s(path) > STALE_S)


def _gone_for_sure(path: Path, found: dict[str, Any]) -> bool:
    """The same, before something is changed: a clock that was set makes a lease look old, until its next touch."""
    if _process(found) == "gone":
        return True
    if not _gone(path, found):
        return False
    before = _touched_ns(path)
    time.sleep(1.5 * BEAT_S)
    return _touched_ns(path) == before


def _process(found: dict[str, Any]) -> str:
    """Whether the holder's process is alive or gone; "unknown" on another host, in another pid namespace, and where
    another process may have its pid."""
    import psutil

    me = _me()
    if any(found.get(key) != me[key] for key in ("host", "boot", "namespace")):
        return "unknown"
    try:
        if found["pid"] == me["pid"]:
            return "alive" if found["token"] in _HELD else "gone"
        process = psutil.Process(found["pid"])
        if process.status() == psutil.STATUS_ZOMBIE:
            return "gone"
        return "alive" if abs(process.create_time() - found["created"]) < 1 else "unknown"
    except psutil.AccessDenied:
        return "unknown"
    except (psutil.Error, KeyError, TypeError, ValueError):
        return "gone"


def _touched_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _age_s(path: Path) -> float:
    """How long ago a file was touched, s, by the clock of its folder if that can be written."""
    probe = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    now_ns = time.time_ns()
    with contextlib.suppress(OSError):
        probe.touch()
        now_ns = probe.stat().st_mtime_ns
        probe.unlink()
    return (now_ns - _touched_ns(path)) / 1e9


@cache
def _world() -> tuple[str, str]:
    """This boot, and this pid namespace: where pids mean the same."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return boot, str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux
        return "", ""


def _me() -> dict[str, Any]:
    import psutil

    boot, namespace = _world()
    process = psutil.Process()
    return {
        "host": platform.node(), "boot": boot, "namespace": namespace, "pid": process.pid,
        "created": process.create_time(),
    }  # fmt: skip


def _word(value: Any) -> str:
    """A value of a lease, which anybody may have written, as a word for a message or a file's name."""
    return re.sub(r"[^\w.-]", "", str(value), flags=re.ASCII)[:64]
