"""Workers on other machines: the shares of a scenario in processes beside the workers of a Dask cluster.

A `Host` is a Dask actor, one for each Dask worker. It starts the same processes that a run on one machine starts,
returns their messages when the coordinator asks, and stops them if it has not asked for some time. Rows go from those
processes straight to the run's folder, which all machines must see, or from each machine into a store; only commands
and counts pass through Dask. The clock of each host is compared with the coordinator's, so that all
rows are on one time line.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import cloudpickle

from perflib.errors import PerflibError, TargetError, install
from perflib.load.generator.job import Job
from perflib.load.resources import Sampler
from perflib.load.workers import Message, Process, WorkerTotals
from perflib.store.metadata import perflib_version
from perflib.store.remote import Store, Upload, spool
from perflib.targets.base import is_loopback
from perflib.text import one_line

LEASE_S: Final = 5.0  # without a question from the coordinator, under load
START_S: Final = 60.0  # the same before it, while other machines start their processes
PATIENCE_S: Final = 10.0  # without an answer from a host
STORE_S: Final = 300.0  # until a host has put the rest of its rows into the store
LISTEN_S: Final = 0.1
EXCHANGES: Final = 40
TLS_SETTINGS: Final = "distributed.comm.tls (ca-file, client.cert, client.key)"


@dataclass(frozen=True)
class Clock:
    """A host's monotonic clock compared with the coordinator's: host = coordinator + offset, within ± uncertainty."""

    offset_ns: int
    uncertainty_ns: int


def is_encrypted(address: str) -> bool:
    """Whether the address of a scheduler is one with TLS, whose two sides know each other by certificates."""
    return address.startswith(("tls://", "wss://"))


def doubt(address: str) -> str:
    """What a scheduler without TLS means, in a line; "" where it has TLS or is on this machine only."""
    host = urlsplit(address).hostname or address.partition(":")[0]
    if is_encrypted(address) or is_loopback(host) or ("://" in address and address.startswith("inproc")):
        return ""
    return (
        f"--dask: the scheduler at {host} has no TLS: whoever reaches its port can run code on all its workers and "
        "read the suite with its secrets; use tls:// (docs/cluster.md), or a network that nobody else is in"
    )


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """A client of the cluster with this scheduler, which reaches the workers directly. Raises TargetError."""
    try:
        from distributed import Client
    except ImportError:
        raise TargetError("a run on a cluster needs Dask", where="--dask", mend=install("dask")) from None
    try:
        client = Client(address, timeout=PATIENCE_S, direct_to_workers=True)  # type: ignore[no-untyped-call]
    except Exception as error:  # TypeError and RuntimeError among them, where certificates are missing
        reason = one_line(error, 200) or type(error).__name__
        mend = f"set {TLS_SETTINGS} in Dask's configuration" if is_encrypted(address) else "start one: dask scheduler"
        raise TargetError(f"no Dask scheduler answers at {address}: {reason}", where="--dask", mend=mend) from None
    with client:
        yield client


class Host:
    """The part on the other machine. Its methods are called through Dask and return at once.

    With the URL of a store it writes to a folder of its own, and from there into the store.
    """

    def __init__(self, run_dir: str, url: str | None = None) -> None:
        self._run_dir, self._unread, self._lock = Path(run_dir), list[Message](), threading.Lock()
        self._url, self._unsaved, self._closing = url, "", threading.Lock()
        self._upload: Upload | None = None
        self._process: Process | None = None
        self._sampler: Sampler | None = None
        self._asked_at, self._lease_s = time.monotonic(), START_S

    def about(self) -> dict[str, Any]:
        """The version of perflib, and the reason why this machine cannot take part, or ""."""
        return {"perflib": perflib_version(), "problem": self._problem()}

    def clock_ns(self) -> int:
        return time.monotonic_ns()

    def start(self, packed: bytes, label: str) -> None:
        """Start the processes of these jobs."""
        jobs: list[Job] = cloudpickle.loads(packed)
        if self._url is not None:
            run, self._run_dir = self._run_dir.name, spool(self._url, self._run_dir.name)
            jobs = [replace(job, run_dir=str(self._run_dir)) for job in jobs]
            self._upload = Upload(self._url, run, self._run_dir)
        self._process = Process(jobs, self._run_dir / "logs")
        self._sampler = Sampler(self._run_dir, jobs[0].t0_ns, label)
        callables = [name for name, target in jobs[0].targets.items() if target.kind == "callable"]
        for worker, pid in self._process.pids.items():
            role, name = ("target", callables[0]) if callables else ("generator", f"worker {worker}")
            self._sampler.watch(role, name, [pid])
        self._asked_at = time.monotonic()
        threading.Thread(target=self._collect, daemon=True).start()
        threading.Thread(target=self._lease, daemon=True).start()

    def messages(self) -> list[Message]:
        """The messages of the processes since the last call."""
        self._asked_at = time.monotonic()
        with self._lock:
            messages, self._unread = self._unread, []
        return messages

    def go(self, start_ns: int) -> None:
        self._asked_at, self._lease_s = time.monotonic(), LEASE_S
        if self._process is not None:
            self._process.go(start_ns)

    def stop(self, reason: str) -> None:
        if self._process is not None:
            self._process.stop(reason)

    def close(self) -> str:
        """End the processes, and return a sentence if rows are neither on disk nor in the store, else ""."""
        with self._closing:  # the coordinator waits if the lease has already begun to close
            process, self._process = self._process, None
            if process is not None:
                process.close()
            if self._sampler is not None:
                self._sampler.close()
            upload, self._upload = self._upload, None
            if upload is not None:
                self._unsaved = upload.close()
                if not self._unsaved:
                    shutil.rmtree(self._run_dir, ignore_errors=True)
            return self._unsaved

    def _problem(self) -> str:
        """Why rows from this machine cannot reach the run, or ""."""
        if self._url is None:
            if (self._run_dir / "run.json").is_file():
                return ""
            return f"does not see the run's folder {self._run_dir}; give --data a folder that all machines share"
        try:
            if Store(self._url).has(self._run_dir.name):
                return ""
            return f"does not find the run in {self._url}; is it the same store?"
        except PerflibError as error:
            return f"cannot use the store: {error}"

    def _collect(self) -> None:
        assert self._process is not None
        for message in self._process.messages():
            with self._lock:
                self._unread.append(message)

    def _lease(self) -> None:
        """End the load when the coordinator has not asked for some time, because it is lost."""
        while self._process is not None:
            if time.monotonic() - self._asked_at > self._lease_s:
                self.close()
                return
            time.sleep(LISTEN_S)


class Cluster(WorkerTotals):
    """The workers of a scenario on the machines of a Dask client, assigned in turn. See `workers.Workers`."""

    here = False
    start_delay_ns = 500_000_000  # so that the slowest machine has received it by then

    def __init__(self, client: Any, jobs: list[Job], url: str | None = None) -> None:
        super().__init__(len(jobs))
        addresses = sorted(client.scheduler_info(n_workers=-1)["workers"])
        if not addresses:
            raise TargetError("the Dask cluster has no workers", where="--dask", mend="start one: dask worker ADDRESS")
        shares = {address: jobs[i :: len(addresses)] for i, address in enumerate(addresses)}
        self._shares = {address: share for address, share in shares.items() if share}
        self._clocks: dict[str, Clock] = {}
        self._drift_ns: dict[str, int] = {}
        self._open, self._done = set(self._shares), set[int]()
        self._lost_hosts = set[str]()
        self._requests = dict[
            str, tuple[Any, float]
        ]()  # per host: the answer of `messages` to come, and when it was asked
        self._url, self._unsaved = url, list[str]()
        self._hosts = {address: _host(client, address, jobs[0].run_dir, url) for address in self._shares}
        for address in self._shares:
            self._check(address)
        started = [(address, self._start(address, f"host{number}-")) for number, address in enumerate(self._shares)]
        for address, answer in started:
            self._answer(address, answer, START_S)
        self.pids = {job.worker: 0 for job in jobs}

    @property
    def clocks(self) -> list[dict[str, Any]]:
        """For run.json: each host's clock compared with the coordinator's, and its drift during the load."""
        return [
            {"host": address, "workers": [job.worker for job in self._shares[address]], "offset_ns": clock.offset_ns,
             "uncertainty_ns": clock.uncertainty_ns, "drift_ns": self._drift_ns.get(address)}
            for address, clock in self._clocks.items()
        ]  # fmt: skip

    @property
    def unsaved(self) -> list[str]:
        return self._unsaved

    @property
    def is_over(self) -> bool:
        return not self._open

    def messages(self, timeout_s: float | None = None) -> Iterator[Message]:
        """Messages until the processes of every host have ended.

        A host that no longer answers is a "lost" message of each of its workers.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while self._open and (until is None or time.monotonic() < until):
            time.sleep(LISTEN_S)
            for address in sorted(self._open):
                for message in self._new_messages(address):
                    self.add(message)
                    yield message

    def go(self, start_ns: int) -> None:
        """Tell all hosts at once: the start delay covers one message to the slowest, not messages one after another."""
        sent = [
            (address, self._call(address, "go", start_ns + self._clocks[address].offset_ns)) for address in self._shares
        ]
        for address, answer in sent:
            self._answer(address, answer, PATIENCE_S)

    def stop(self, reason: str) -> None:
        for address in sorted(self._open):
            with contextlib.suppress(TargetError):  # its lease ends what is left of it
                self._ask(address, "stop", reason)

    def close(self) -> None:
        for address in set(self._shares) - self._lost_hosts:
            try:
                self._drift_ns[address] = self._measure_clock(address).offset_ns - self._clocks[address].offset_ns
                unsaved = self._ask(address, "close", wait_s=STORE_S if self._url else PATIENCE_S)
            except TargetError as error:
                unsaved = str(error) if self._url else ""
            if unsaved:
                self._unsaved.append(f"{address}: {unsaved}")

    def _check(self, address: str) -> None:
        """Check that a host can take part, and measure its clock. Raises TargetError."""
        about = self._ask(address, "about", wait_s=STORE_S if self._url else PATIENCE_S)
        if about["perflib"] != perflib_version():
            raise TargetError(
                f"{address} has perflib {about['perflib']}, this machine has {perflib_version()}",
                where="--dask",
                mend="install the same version on all machines",
            )
        if about["problem"]:
            raise TargetError(f"{address} {about['problem']}", where="--dask")
        self._clocks[address] = self._measure_clock(address)

    def _start(self, address: str, label: str) -> Any:
        """Start its processes without waiting, so that all machines start theirs at the same time."""
        offset_ns = self._clocks[address].offset_ns
        jobs = [replace(job, t0_ns=job.t0_ns + offset_ns) for job in self._shares[address]]
        return self._call(address, "start", cloudpickle.dumps(jobs), label)

    def _measure_clock(self, address: str) -> Clock:
        """The exchange that took the least time bounds the offset best (Cristian 1989)."""
        best: Clock | None = None
        for _ in range(EXCHANGES):
            before = time.monotonic_ns()
            theirs = self._ask(address, "clock_ns")
            after = time.monotonic_ns()
            if best is None or (after - before) // 2 < best.uncertainty_ns:
                best = Clock(theirs - (before + after) // 2, (after - before) // 2)
        assert best is not None
        return best

    def _new_messages(self, address: str) -> Iterator[Message]:
        """The messages of a host's processes, their times on our clock.

        The request does not wait, so that a host that does not answer does not delay the others.
        """
        try:
            if address not in self._requests:
                self._requests[address] = (self._call(address, "messages"), time.monotonic())
            answer, asked_at = self._requests[address]
            if not answer.done() and time.monotonic() - asked_at < PATIENCE_S:
                return
            # Even an answer that has arrived takes the event loop a while.
            messages = self._answer(address, answer, PATIENCE_S if answer.done() else 0.1)
            self._requests[address] = (self._call(address, "messages"), time.monotonic())
        except TargetError as error:
            yield from self._mark_lost(address, error)
            return
        offset_ns = self._clocks[address].offset_ns
        for message in messages:
            ours = {key: message.content[key] - offset_ns for key in ("start_ns", "stop_ns") if key in message.content}
            host = {"host": address} if message.kind == "lost" else {}
            yield replace(message, content={**message.content, **ours, **host})
            if message.kind in ("done", "failed", "lost"):
                self._ended(address, message.worker)

    def _mark_lost(self, address: str, error: TargetError) -> Iterator[Message]:
        self._open.discard(address)
        self._lost_hosts.add(address)
        for job in self._shares[address]:
            if job.worker not in self._done:
                yield Message(
                    job.worker, "lost", {"what": error.what, "where": error.where, "mend": error.mend, "host": address}
                )

    def _ended(self, address: str, worker: int) -> None:
        self._done.add(worker)
        if all(job.worker in self._done for job in self._shares[address]):
            self._open.discard(address)

    def _ask(self, address: str, method: str, *arguments: Any, wait_s: float = PATIENCE_S) -> Any:
        """Call a host's method and wait. Raises TargetError where the host is lost."""
        return self._answer(address, self._call(address, method, *arguments), wait_s)

    def _call(self, address: str, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._hosts[address], method)(*arguments)
        except RuntimeError as error:  # its Dask worker is known to be gone
            raise _lost(address, error) from None

    @staticmethod
    def _answer(address: str, answer: Any, wait_s: float) -> Any:
        try:
            return answer.result(timeout=wait_s)
        except Exception as error:
            raise _lost(address, error) from None


def _host(client: Any, address: str, run_dir: str, url: str | None) -> Any:
    """An actor in that Dask worker and no other."""
    future = client.submit(Host, run_dir, url, actor=True, workers=[address], allow_other_workers=False, pure=False)
    try:
        return future.result(timeout=PATIENCE_S)
    except Exception as error:
        raise _lost(address, error) from None


def _lost(address: str, error: Exception) -> TargetError:
    reason = (
        "no answer" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}".splitlines()[0][:200]
    )
    mend = "look at the Dask worker's log on that machine"
    return TargetError(f"the load generator on {address} is lost ({reason})", where="--dask", mend=mend)
