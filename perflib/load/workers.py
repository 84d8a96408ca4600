"""The workers of a scenario, seen from the coordinator: processes, or this process for a callable of a notebook."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import queue
import signal
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import cloudpickle

from perflib.load.generator.driver import WorkerDriver
from perflib.load.generator.job import Job
from perflib.load.generator.worker import run_worker
from perflib.load.worker_process import worker_process
from perflib.suite.model import Target
from perflib.suite.redaction import known_secrets, learn, learn_kept
from perflib.targets.guard import TAIL_S, copy_without

STALL_S: Final = 30.0  # without a message from a worker under load, which sends four a second


def callables_env(targets: Mapping[str, Target]) -> dict[str, str]:
    """The environment variables of callable targets, which are set in their workers."""
    return {k: v for target in targets.values() if target.kind == "callable" for k, v in target.env.items()}


@dataclass(frozen=True)
class Message:
    """A report of a worker (ready, prepared, progress, segment, turn, done, failed), or about it (lost)."""

    worker: int
    kind: str
    content: dict[str, Any]


class Workers(Protocol):
    """All workers of one scenario.

    here             whether their pids are of this machine
    start_delay_ns   from `go` until all workers have received it
    """

    pids: dict[int, int]
    here: bool
    start_delay_ns: int

    @property
    def clocks(self) -> list[dict[str, Any]]: ...
    @property
    def unsaved(self) -> list[str]: ...
    @property
    def rows(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def slow(self) -> int: ...
    @property
    def all_ready(self) -> bool: ...
    @property
    def turns(self) -> int: ...
    @property
    def is_over(self) -> bool: ...
    def messages(self, timeout_s: float | None = None) -> Iterator[Message]: ...
    def go(self, start_ns: int) -> None: ...
    def stop(self, reason: str) -> None: ...
    def close(self) -> None: ...


class WorkerTotals:
    """Adds up the messages of the workers."""

    here = True
    start_delay_ns = 20_000_000

    def __init__(self, workers: int) -> None:
        self._workers, self._ready = workers, set[int]()
        self._latest: dict[int, dict[str, Any]] = {}
        self._turns: Counter[int] = Counter()

    @property
    def clocks(self) -> list[dict[str, Any]]:
        """The offsets of the clocks of other machines. There are none here."""
        return []

    @property
    def unsaved(self) -> list[str]:
        """A sentence about each machine whose rows did not reach the store. Known after `close`."""
        return []

    def add(self, message: Message) -> None:
        """Take a message into account."""
        if message.kind == "ready":
            self._ready.add(message.worker)
        elif message.kind == "progress":
            self._latest[message.worker] = message.content
        elif message.kind == "turn":
            self._turns[message.worker] += 1

    def _sum(self, key: str) -> int:
        return sum(int(content[key]) for content in self._latest.values())

    @property
    def rows(self) -> int:
        return self._sum("rows")

    @property
    def errors(self) -> int:
        return self._sum("errors")

    @property
    def lost(self) -> int:
        """Requests that the target did not answer."""
        return self._sum("lost")

    @property
    def slow(self) -> int:
        """Requests in flight that have waited for more than two seconds."""
        return self._sum("slow")

    @property
    def all_ready(self) -> bool:
        return len(self._ready) == self._workers

    @property
    def turns(self) -> int:
        """How many turns every worker has had."""
        return min(self._turns.values()) if len(self._turns) == self._workers else 0


class Process(WorkerTotals):
    """Worker processes, each in a session of its own so that a Ctrl-C reaches the coordinator alone."""

    def __init__(self, jobs: list[Job], logs: Path) -> None:
        super().__init__(len(jobs))
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._logs = logs
        logs.mkdir(exist_ok=True)
        for job in jobs:
            learn([job.scenario, *job.targets.values()])
            learn_kept(job.values, [job.scenario, *job.targets.values()])
            process = worker_process({**os.environ, **callables_env(job.targets)})
            self._processes[job.worker] = process
            threading.Thread(target=self._listen, args=(job.worker, process), daemon=True).start()
            packed = cloudpickle.dumps((job.search_path, cloudpickle.dumps(job)))
            self._write(process, struct.pack("<Q", len(packed)) + packed)
        self.pids = {worker: process.pid for worker, process in self._processes.items()}
        self._running, self._last_kind = set(self._processes), dict[int, str]()
        self._started_load, self._listened_at, self._message_at = False, 0.0, dict.fromkeys(self._processes, 0.0)
        self._stalled = set[int]()
        self._children = dict[int, list[int]]()  # processes that a worker has started, each in a group of its own

    @property
    def is_over(self) -> bool:
        """Whether every worker has ended, so that there are no more messages."""
        return not self._running

    def messages(self, timeout_s: float | None = None) -> Iterator[Message]:
        """Messages until every worker has ended. A worker that dies or hangs is a "lost" message."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while self._running and (until is None or time.monotonic() < until):
            self._end_stalled()
            try:
                message = self._inbox.get(timeout=0.25 if timeout_s is None else min(0.25, timeout_s))
            except queue.Empty:
                continue
            if message.kind == "ended":
                self._running.discard(message.worker)
                if self._last_kind.get(message.worker) not in ("done", "failed"):
                    self._end_children(message.worker)
                    yield Message(message.worker, "lost", self._describe_end(message.worker))
                continue
            self.add(message)
            if message.kind == "ready":
                self._children[message.worker] = message.content["pids"]
            self._last_kind[message.worker] = message.kind
            self._message_at[message.worker] = time.monotonic()
            yield message

    def _end_children(self, worker: int) -> None:
        """Kill what a worker that was lost has left behind."""
        for pid in self._children.pop(worker, []):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.name == "posix" and pid:
                    os.killpg(pid, signal.SIGKILL)

    def _end_stalled(self) -> None:
        """Kill a worker that has sent nothing for too long while this process listened. Its end is a message."""
        now, listened_at = time.monotonic(), self._listened_at
        self._listened_at = now
        for worker in self._running:
            if not self._started_load or now - listened_at > 1:  # this process did not listen meanwhile
                self._message_at[worker] = now
            elif now - self._message_at[worker] > STALL_S and self._last_kind.get(worker) not in ("done", "failed"):
                self._stalled.add(worker)
                self._processes[worker].kill()

    def go(self, start_ns: int) -> None:
        self._started_load = True
        for process in self._processes.values():
            self._write(process, b"go %d\n" % start_ns)

    def stop(self, reason: str) -> None:
        for process in self._processes.values():
            self._write(process, f"stop {' '.join(reason.split())}\n".encode())

    def close(self) -> None:
        for worker, process in self._processes.items():
            if process.stdin is not None:
                try:
                    process.stdin.close()
                except OSError:
                    pass
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log = self._logs / f"worker-{worker}.log"
            if log.exists() and not log.stat().st_size:
                log.unlink()

    def _write(self, process: subprocess.Popen[bytes], line: bytes) -> None:
        try:
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.flush()
        except OSError:
            pass  # the worker is gone, and its end is a message

    def _listen(self, worker: int, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        logging = threading.Thread(target=self._log, args=(worker, process), daemon=True)
        logging.start()
        for line in process.stdout:
            content = json.loads(line)
            self._inbox.put(Message(worker, content.pop("kind"), content))
        process.wait()
        logging.join(TAIL_S)  # a process that it started may hold its pipe for longer
        self._inbox.put(Message(worker, "ended", {}))

    def _log(self, worker: int, process: subprocess.Popen[bytes]) -> None:
        """Write what the worker and its functions print to its log, without secrets."""
        assert process.stderr is not None
        secrets = [secret.encode("utf-8", "surrogatepass") for secret in known_secrets()]
        log = -1  # what it prints is read in any case, for it must not wait
        with contextlib.suppress(OSError):  # a full disk
            log = os.open(self._logs / f"worker-{worker}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        with process.stderr:
            copy_without(process.stderr.fileno(), lambda data: os.write(log, data), secrets)
        if log >= 0:
            os.close(log)

    def _describe_end(self, worker: int) -> dict[str, str]:
        log = self._logs / f"worker-{worker}.log"
        lines = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
        code = self._processes[worker].returncode
        ended = f"hung for {STALL_S:g} s and was killed" if worker in self._stalled else f"ended with code {code}"
        if code == -9 and worker not in self._stalled:
            ended = "was killed (SIGKILL), as the system does where memory runs out"
        return {
            "what": f"worker {worker} {ended}" + (f": {lines[-1][:300]}" if lines else ""),
            "where": "",
            "mend": f"its output is in {log}",
        }


class InProcess(WorkerTotals):
    """One worker in this process, for a callable that cannot leave its kernel.

    An async callable runs on the kernel's own event loop, by nest_asyncio; a sync one in threads beside a new loop.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(1)
        self._job = job
        self.pids = {job.worker: os.getpid()}
        self._unread: list[Message] = []
        self._driver: WorkerDriver | None = None
        self._go_at = 0
        self._started_load: asyncio.Event | None = None
        self._reason = ""

    @property
    def is_over(self) -> bool:
        """Whether the worker has ended. Its messages are waited for until it has."""
        return True

    def messages(self, timeout_s: float | None = None) -> Iterator[Message]:
        """Run the worker in slices of time, and yield its messages in between."""
        loop, own = _reentrant_loop()
        deferred: list[asyncio.Handle] = []
        handler = loop.get_exception_handler()
        loop.set_exception_handler(functools.partial(_defer, deferred, handler))
        try:
            task = loop.create_task(run_worker(self._job, self, self._started))
            while not task.done() or self._unread:
                try:
                    if not task.done():
                        loop.run_until_complete(asyncio.wait([task], timeout=0.1))
                except KeyboardInterrupt:
                    self.stop("interrupted")
                    loop.run_until_complete(task)
                    yield from self._read()
                    raise
                yield from self._read()
            task.result()
        finally:
            loop.set_exception_handler(handler)
            for handle in deferred:
                loop.call_soon(handle._run)
            if own:
                loop.close()

    def _read(self) -> Iterator[Message]:
        """Yield what the worker has reported since."""
        while self._unread:
            message = self._unread.pop(0)
            self.add(message)
            yield message

    def send(self, kind: str, **content: Any) -> None:
        self._unread.append(Message(self._job.worker, kind, content))

    async def start_ns(self) -> int:
        self._started_load = self._started_load or asyncio.Event()
        await self._started_load.wait()
        return self._go_at

    def _started(self, driver: WorkerDriver) -> None:
        self._driver = driver
        self._started_load = self._started_load or asyncio.Event()
        if self._reason:
            driver.stop(self._reason)

    def go(self, start_ns: int) -> None:
        self._go_at = start_ns
        if self._started_load is not None:
            self._started_load.set()

    def stop(self, reason: str) -> None:
        self._reason = reason
        if self._driver is not None:
            self._driver.stop(reason)
        self.go(self._go_at or time.monotonic_ns())

    def close(self) -> None:
        pass


def _defer(handles: list[asyncio.Handle], handler: Any, loop: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
    """Defer what a nested loop cannot run.

    A kernel serves all its messages in one context, which the executing cell has entered: the message of the next cell,
    when it arrives during the load, cannot enter it again. It is handled when the cell is over.
    """
    if isinstance(about.get("exception"), RuntimeError) and "cannot enter context" in str(about["exception"]):
        handles.append(about["handle"])
    elif handler is not None:
        handler(loop, about)
    else:
        loop.default_exception_handler(about)


def _reentrant_loop() -> tuple[asyncio.AbstractEventLoop, bool]:
    """The running loop, made re-entrant, or a new one; and whether the caller must close it."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.new_event_loop(), True
    import nest_asyncio

    nest_asyncio.apply(running)
    return running, False
