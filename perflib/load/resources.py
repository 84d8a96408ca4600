"""Memory, CPU, threads and file descriptors of the target's and the generator's processes, on the clock of the rows.

RSS is sampled every 100 ms; USS, which costs the sampled process more, every 2 s. Process trees are read every second.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import psutil

from perflib.store.schema import RESOURCES, table_of, warm_up, write_part
from perflib.text import one_line

PERIOD_S: Final = 0.1
USS_PERIOD_S: Final = 2.0
TREE_PERIOD_S: Final = 1.0
PART_S: Final = 1.0
YOUNG_S: Final = 5.0
_INTERPRETER: Final = re.compile(r"(python|pypy|node|deno|bun|ruby|perl|php|java|bash|sh)[\d.]*$")
_SCRIPTS: Final = {".py", ".js", ".mjs", ".cjs", ".ts", ".rb", ".pl", ".php", ".jar", ".sh"}
_Read = TypeVar("_Read")


class _Watched(NamedTuple):
    role: str
    name: str
    process: psutil.Process
    description: str


class Sampler:
    """Samples in a thread of its own until `close`.

    sampler.watch("target", "api", [pid])     # the process and all its descendants
    Sampler(run_dir, t0_ns, "host1-")         # with a label, if other machines write samples too
    """

    def __init__(self, run_dir: Path, t0_ns: int, label: str = "") -> None:
        self._run_dir, self._t0_ns, self._label = run_dir, t0_ns, label
        self._roots: dict[tuple[str, str], set[int]] = {}
        self._tree: dict[int, _Watched] = {}
        self._rows: list[tuple[Any, ...]] = []
        self._cpu_ns: dict[int, int] = {}
        self._parts, self._stop, self._lock = 0, threading.Event(), threading.Lock()
        self.failure: BaseException | None = None
        warm_up(table_of([(0, "", 0, "", 0, None, 0, 0, 0, "")], RESOURCES))
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def watch(self, role: str, name: str, pids: Iterable[int]) -> None:
        """Sample these processes and those that they start, as `role` and `name`."""
        with self._lock:
            self._roots.setdefault((role, name), set()).update(pids)
            self._update_tree()

    def forget(self, role: str, name: str) -> None:
        with self._lock:
            self._roots.pop((role, name), None)
            self._update_tree()

    def cpu_s(self) -> float:
        """CPU time of all processes that were ever watched, s."""
        with self._lock:
            return sum(self._cpu_ns.values()) / 1e9

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        next_at = updated_at = uss_at = wrote_at = time.monotonic()
        try:
            while not self._stop.wait(max(0.0, next_at - time.monotonic())):
                now = time.monotonic()
                with self._lock:
                    if now - updated_at >= TREE_PERIOD_S:
                        updated_at = now
                        self._update_tree()
                    with_uss = now >= uss_at
                    if with_uss:
                        uss_at = now + USS_PERIOD_S
                    self._sample(with_uss)
                if now - wrote_at >= PART_S:
                    wrote_at = now
                    self._write()
                next_at = max(next_at + PERIOD_S, time.monotonic() - PERIOD_S)
            self._write()
        except OSError as error:  # a full disk, say
            self.failure = error

    def _update_tree(self) -> None:
        """Find the descendants of the watched processes."""
        tree: dict[int, _Watched] = {}
        for (role, name), pids in self._roots.items():
            for process in (each for pid in pids for each in _found(pid, with_descendants=role == "target")):
                with suppress(psutil.Error):  # it has ended; the others have not
                    tree[process.pid] = _Watched(role, name, process, self._description(process))
        self._tree = tree

    def _description(self, process: psutil.Process) -> str:
        """The description of a process, which was read before unless it may have changed."""
        known = self._tree.get(process.pid)
        is_known = known is not None and known.process == process and not _is_young(process)
        return known.description if known is not None and is_known else described(process)

    def _sample(self, with_uss: bool) -> None:
        for pid, (role, name, process, description) in list(self._tree.items()):
            try:
                with process.oneshot():
                    memory, cpu = _allowed(process.memory_info), _allowed(process.cpu_times)
                    threads = _allowed(process.num_threads)
                full = _allowed(process.memory_full_info) if with_uss and role == "target" else None
                count = process.num_fds if os.name == "posix" else process.num_handles  # type: ignore[attr-defined]
                fds = _allowed(count)
            except psutil.NoSuchProcess:
                self._tree.pop(pid, None)
                continue
            cpu_ns = int((cpu.user + cpu.system) * 1e9) if cpu else None
            self._cpu_ns[pid] = cpu_ns or 0
            rss, uss = memory.rss if memory else None, full.uss if full else None
            self._rows.append(
                (time.monotonic_ns() - self._t0_ns, role, pid, name, rss, uss, cpu_ns, threads, fds, description)
            )

    def _write(self) -> None:
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        write_part(
            [table_of(rows, RESOURCES)], RESOURCES, self._run_dir / "resources", f"part-{self._label}{self._parts:06d}"
        )
        self._parts += 1


def _found(pid: int, *, with_descendants: bool) -> list[psutil.Process]:
    """The process with this number, and its descendants; none once it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *(root.children(recursive=True) if with_descendants else ())]
    except psutil.Error:
        return []


def _is_young(process: psutil.Process) -> bool:
    """Whether the process may still become another program: it may be between fork and exec."""
    return time.time() - process.create_time() < YOUNG_S


def _allowed(read: Callable[[], _Read]) -> _Read | None:
    """The value, or None if reading it is not permitted; the row then has a null."""
    try:
        return read()
    except psutil.AccessDenied:
        return None


def described(process: psutil.Process) -> str:
    """A description of a process: its name, and the script or module of an interpreter. Other arguments may be secrets.

    described(psutil.Process()) == "python3.12 -m perflib.service"
    """
    try:
        name, words = process.name(), process.cmdline()
    except psutil.Error:
        return ""
    return one_line(f"{name} {_program(words)}" if _INTERPRETER.match(name) else name, 60).strip()


def _program(words: Sequence[str]) -> str:
    """The script or module that an interpreter runs; "" if it might be the value of an option."""
    for before, word in pairwise(words):
        if word in ("-c", "-e", "-p", "--eval"):
            break
        if before in ("-m", "-jar"):
            return f"{before} {Path(word).name}"
        if not word.startswith("-") and (before is words[0] or Path(word).suffix in _SCRIPTS):
            return Path(word).name
    return ""
