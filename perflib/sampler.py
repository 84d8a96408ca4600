"""Memory, CPU, threads and descriptors of the target's and the generator's processes, on the rows' clock.

RSS every 100 ms; USS, which costs the sampled process more, every 2 s. A process tree is looked through once a second.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import psutil

from perflib.rows import RESOURCES, table_of, warm_up, write_part

PERIOD_S: Final = 0.1
USS_PERIOD_S: Final = 2.0
TREE_PERIOD_S: Final = 1.0
PART_S: Final = 1.0


class Sampler:
    """Samples in a thread of its own until `close`.

    sampler.watch("target", "api", [pid])     # the process and all its descendants
    Sampler(run_dir, t0_ns, "host1-")         # beside those of other machines
    """

    def __init__(self, run_dir: Path, t0_ns: int, label: str = "") -> None:
        self._run_dir, self._t0_ns, self._label = run_dir, t0_ns, label
        self._roots: dict[tuple[str, str], set[int]] = {}
        self._tree: dict[int, tuple[str, str, psutil.Process]] = {}
        self._rows: list[tuple[Any, ...]] = []
        self._cpu_ns: dict[int, int] = {}
        self._parts, self._stop, self._lock = 0, threading.Event(), threading.Lock()
        self.failure: BaseException | None = None
        warm_up(table_of([(0, "", 0, "", 0, None, 0, 0, 0)], RESOURCES))
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def watch(self, role: str, name: str, pids: Iterable[int]) -> None:
        """Sample these processes and what they start, as `role` and `name`."""
        with self._lock:
            self._roots.setdefault((role, name), set()).update(pids)
            self._look()

    def forget(self, role: str, name: str) -> None:
        with self._lock:
            self._roots.pop((role, name), None)
            self._look()

    def cpu_s(self) -> float:
        """CPU that all processes watched so far have used, s."""
        with self._lock:
            return sum(self._cpu_ns.values()) / 1e9

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        next_at = looked_at = uss_at = wrote_at = time.monotonic()
        try:
            while not self._stop.wait(max(0.0, next_at - time.monotonic())):
                now = time.monotonic()
                with self._lock:
                    if now - looked_at >= TREE_PERIOD_S:
                        looked_at = now
                        self._look()
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

    def _look(self) -> None:
        """Find the descendants of what is watched."""
        found: dict[int, tuple[str, str, psutil.Process]] = {}
        for (role, name), pids in self._roots.items():
            for pid in pids:
                try:
                    root = psutil.Process(pid)
                    for process in (root, *(root.children(recursive=True) if role == "target" else ())):
                        known = self._tree.get(process.pid)
                        found[process.pid] = (role, name, known[2] if known and known[2] == process else process)
                except psutil.Error:
                    continue
        self._tree = found

    def _sample(self, with_uss: bool) -> None:
        for pid, (role, name, process) in list(self._tree.items()):
            try:
                with process.oneshot():
                    rss, cpu, threads = process.memory_info().rss, process.cpu_times(), process.num_threads()
                uss = process.memory_full_info().uss if with_uss and role == "target" else None
                fds = process.num_fds() if os.name == "posix" else process.num_handles()  # type: ignore[attr-defined]
            except psutil.NoSuchProcess:
                self._tree.pop(pid, None)
                continue
            except psutil.AccessDenied:
                continue
            cpu_ns = self._cpu_ns[pid] = int((cpu.user + cpu.system) * 1e9)
            self._rows.append((time.monotonic_ns() - self._t0_ns, role, pid, name, rss, uss, cpu_ns, threads, fds))

    def _write(self) -> None:
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        write_part(
            [table_of(rows, RESOURCES)], RESOURCES, self._run_dir / "resources", f"part-{self._label}{self._parts:06d}"
        )
        self._parts += 1
