"""Other runs on this machine at the same time: each is told of the others, and none waits for another.

Every run leaves a lease of its own in a folder of this user, named after the run, while it lasts.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Final

from perflib.errors import RunError
from perflib.store.lease import WRITING, Lease, others

EVERY_S: Final = 1.0
_END: Final = ".run.json"


def folder() -> Path:
    """The folder of the leases: of this user and this boot where the system has such a place, else a temporary one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime, "perflib")
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    return Path(tempfile.gettempdir(), f"perflib-{user}")


def running() -> list[str]:
    """The ids of the runs that are under way on this machine, as far as their leases can be read."""
    here = folder()
    return [name.removesuffix(_END) for name in others(here) if name.endswith(_END)] if _is_ours(here) else []


def _is_ours(here: Path) -> bool:
    """Whether the folder belongs to this user: what others have put in its place is neither read nor written."""
    try:
        return not hasattr(os, "getuid") or here.lstat().st_uid == os.getuid()
    except OSError:
        return False


class Neighbours:
    """The runs that were under way while this one was: `look` often, and close at the end."""

    def __init__(self, run: str) -> None:
        self._seen: dict[str, None] = {}
        self._looked = 0.0
        self._lease: Lease | None = None
        with contextlib.suppress(OSError, RunError):  # a folder that cannot be written keeps nobody from measuring
            here = folder()
            here.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_ours(here):
                self._lease = Lease(here, WRITING, file=f"{run}{_END}", of=run)

    def look(self) -> None:
        """See who else is there, at most once a second."""
        if time.monotonic() - self._looked >= EVERY_S:
            self._looked = time.monotonic()
            self._seen |= dict.fromkeys(running())

    def seen(self) -> list[str]:
        """The ids of the other runs that were there since this was last asked."""
        self._looked = 0.0
        self.look()
        seen, self._seen = list(self._seen), {}
        return seen

    def close(self) -> None:
        if self._lease is not None:
            self._lease.release()
