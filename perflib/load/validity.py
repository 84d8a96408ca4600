"""Checks whether the figures describe the target or the load generator: limits for the generator, and advice.

A fatal doubt makes a run invalid, because its response times would be those of the generator. Other doubts are shown
beside the verdict.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from perflib.load.outliers import describe_outliers
from perflib.suite.model import Scenario, Target

LATE_MS: Final = 20.0  # 99th percentile of the lateness of requests, open models
PAUSE_MS: Final = 50.0  # 99th percentile of the pauses of the event loop
OWN_SHARE: Final = 0.8  # of the pauses, in which the event loop itself was at work
BUSY_SHARE: Final = 0.95  # of a core, used by the sending thread
GC_SHARE: Final = 0.05
OTHER_SHARE: Final = 0.25  # of the machine, used by processes outside the run
UNANSWERED_SHARE: Final = 0.05  # of the users' time, or of the users at the end
RESENT_SHARE: Final = 0.01
STEAL_SHARE: Final = 0.05
THROTTLED_SHARE: Final = 0.05
CLOCK_NS: Final = 1_000
FEW_S: Final = 2.0
PEER_ADVICE: Final = (
    "look at its rows separately (column `worker`), and at that machine; its rows are part of all figures"
)


@dataclass(frozen=True)
class Doubt:
    """A reason to doubt the figures of a scenario, and advice on how to remove it."""

    text: str
    advice: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.text}; {self.advice}"


def doubts(
    scenario: Scenario, targets: list[Target], workers: list[dict[str, Any]], machine: dict[str, float],
    missing: Sequence[dict[str, Any]] = (), medians_ms: Mapping[int, float] = MappingProxyType({}),
    other_runs: Sequence[str] = (),
    neighbours: Mapping[str, int] = MappingProxyType({}),
) -> list[Doubt]:  # fmt: skip
    """All doubts about one scenario.

    workers, missing   health of the workers that finished, and the lost workers, as in run.json
    machine            shares of the machine's CPU time during the load
    medians_ms         median service time of each worker
    other_runs         ids of the runs that were under way on this machine at the same time
    neighbours         how many workers of other scenarios ran at the same time
    """
    all_doubts = [*_of_missing(missing), *_of_unanswered(workers)]
    # A callable, or the SDK's client, is itself measured: it runs in the worker and may block the event loop.
    calls_inside = any(target.runs_in_worker for target in targets)
    for worker in workers:
        found = _of_worker(worker, is_open=scenario.load.is_open, calls_inside=calls_inside)
        all_doubts += [_beside(doubt, neighbours) for doubt in found]
    all_doubts += [
        Doubt(text, PEER_ADVICE)
        for text in describe_outliers(scenario.load, workers, medians_ms, calls_inside=calls_inside)
    ]
    return [*all_doubts, *_of_other_runs(other_runs), *_of_machine(machine)]


def _beside(doubt: Doubt, neighbours: Mapping[str, int]) -> Doubt:
    """The doubt about a worker, which says who shared the machine with it."""
    if not neighbours:
        return doubt
    said = ", ".join(f"{count} of {name!r}" for name, count in neighbours.items())
    return replace(doubt, text=f"{doubt.text} (workers of other scenarios ran beside it: {said})")


def _of_missing(missing: Sequence[dict[str, Any]]) -> Iterator[Doubt]:
    """Doubts about lost workers, whose share of the load is missing."""
    for about in missing:
        when = f"{about['after_s']:.1f} s after the load began" if about["after_s"] is not None else "before the load"
        on = f" on {about['host']}" if about["host"] else ""
        text = (
            f"worker {about['worker']}{on} was lost {when}, "
            f"and {100 * about['share']:.0f} % of the load is missing from then on ({about['what']})"
        )
        yield Doubt(text, "the rows that it wrote are kept; repair that machine or run again without it", fatal=True)


def _of_unanswered(workers: Sequence[dict[str, Any]]) -> Iterator[Doubt]:
    """A closed load against a server that hangs: its users wait, so that few rows say so, and all others look good.

    Where the requests that failed say as much by their number, nothing is hidden, and there is no doubt.
    """
    users_s, waited_s, users, at_end = (
        sum(worker["unanswered"][key] for worker in workers) for key in ("users_s", "waited_s", "users", "at_end")
    )
    requests, failed = (sum(worker[key] for worker in workers) for key in ("rows", "errors"))
    of_time, of_users = waited_s / max(users_s, 1e-9), at_end / max(users, 1)
    if max(of_time, of_users) < max(UNANSWERED_SHARE, 2 * failed / max(requests, 1)):
        return
    waiting = f"{at_end} of {users} users were waiting when the load ended, " if at_end else ""
    text = (
        f"the target hung: {waiting}{100 * of_time:.0f} % of the users' time went by in requests that were never "
        "answered, "
        f"and these are few among the {requests:,} requests, for a user that waits makes no others"
    )
    yield Doubt(text, "look at the target's log; a load with a rate, or a shorter timeout_s, counts them", fatal=True)


def _of_worker(worker: dict[str, Any], *, is_open: bool, calls_inside: bool) -> Iterator[Doubt]:
    name, wall_s = f"worker {worker['worker']}", worker["wall_s"] or 1.0
    busy = worker["loop_cpu_s"] / wall_s
    if is_open and worker["late_ms"]["p99"] > LATE_MS:
        late_ms = worker["late_ms"]["p99"]
        text = (
            f"the load generator was overloaded: {name} sent its requests late, "
            f"by {late_ms:.0f} ms at the 99th percentile"
        )
        yield Doubt(text, "use more workers, a lower rate, or another machine", fatal=True)
    if not calls_inside and worker["loop_pause_ms"]["p99"] > PAUSE_MS:
        yield _of_pauses(worker, name, is_open)
    if not calls_inside and wall_s > 1 and busy > BUSY_SHARE:
        text = f"{name} used {100 * busy:.0f} % of a core: the load generator limits throughput and response times"
        yield Doubt(text, "use more workers or fewer connections", fatal=is_open)
    if worker["waited"] > 0.01 * max(worker["rows"], 1):
        text = f"{worker['waited']:,} requests of {name} waited for a free connection"
        more = "raise max_connections"
        if worker["few_descriptors"]:
            more = "raise the limit of open files (ulimit -Hn), which bounds its connections, or use more workers"
        yield Doubt(text, f"the target answers more slowly than requests are due; {more} to see it without that queue")
    if worker["gc_ms"] / 1e3 / wall_s > GC_SHARE:
        yield Doubt(
            f"{name} spent {100 * worker['gc_ms'] / 1e3 / wall_s:.0f} % of its time collecting garbage",
            "use smaller answers, or fewer `keep` and `expect` keys",
        )


def _of_pauses(worker: dict[str, Any], name: str, is_open: bool) -> Doubt:
    """The event loop did not run for a while: since it was stopped, or since it was at work, on large bodies say."""
    pause_ms = worker["loop_pause_ms"]["p99"]
    if worker.get("own_pause_share", 0.0) < OWN_SHARE:
        text = f"the load generator was paused: pauses of {name} reach {pause_ms:.0f} ms at the 99th percentile"
        return Doubt(text, "stop other programs on this machine, or use another machine", fatal=True)
    text = (
        f"{name} was at work on single requests for up to {pause_ms:.0f} ms (99th percentile), as on large bodies and "
        "their checks, and its other requests waited for it"
    )
    return Doubt(text, "use more workers, smaller bodies or fewer checks", fatal=is_open)


def _of_other_runs(runs: Sequence[str]) -> Iterator[Doubt]:
    if runs:
        many = "another run was" if len(runs) == 1 else f"{len(runs)} other runs were"
        text = f"{many} under way on this machine at the same time: {', '.join(runs[:3])}"
        yield Doubt(text, "make one run at a time, or expect wide intervals")


def _of_machine(machine: dict[str, float]) -> Iterator[Doubt]:
    if machine["seconds"] < FEW_S:
        return  # the kernel counts in hundredths of a second
    if machine["other_share"] > OTHER_SHARE:
        yield Doubt(
            f"other processes used {100 * machine['other_share']:.0f} % of this machine during the load",
            "stop them, or expect wide intervals",
        )
    if machine["steal_share"] > STEAL_SHARE:
        yield Doubt(
            f"the host took {100 * machine['steal_share']:.0f} % of this virtual machine's time",
            "use a dedicated machine",
        )
    if machine["throttled_share"] > THROTTLED_SHARE:
        yield Doubt(
            f"a limit of the CPU held this process back for {100 * machine['throttled_share']:.0f} % of the time",
            "raise the limit of the container, or lower the load",
        )
    if machine["clock_ns"] > CLOCK_NS:
        yield Doubt(f"the clock ticks every {machine['clock_ns']:,.0f} ns", "do not judge times of that size")


class Machine:
    """Shares of the machine's CPU time, from the creation of the object until `stop`."""

    def __init__(self) -> None:
        self._clock_ns = time.get_clock_info("monotonic").resolution * 1e9
        self._began, self._before, self._throttled_s = time.monotonic(), self._now(), _throttled_s()

    def stop(self, ours_s: float) -> dict[str, float]:
        """The shares until now. `ours_s`: CPU time of the run's own processes in that time, in s."""
        total, busy, steal = (after - before for after, before in zip(self._now(), self._before, strict=True))
        total, seconds = max(total, 1e-9), time.monotonic() - self._began
        return {
            "seconds": seconds,
            "busy_share": busy / total,
            "other_share": max(0.0, busy - ours_s) / total,
            "steal_share": steal / total,
            "throttled_share": min(1.0, (_throttled_s() - self._throttled_s) / max(seconds, 1e-9)),
            "clock_ns": self._clock_ns,
        }

    @staticmethod
    def _now() -> tuple[float, float, float]:
        import psutil

        times = psutil.cpu_times()
        steal = float(getattr(times, "steal", 0.0))
        idle = float(times.idle + getattr(times, "iowait", 0.0))
        total = float(sum(times[:8]))  # guest times are within user times
        return total, total - idle - steal, steal


def _throttled_s() -> float:
    """For how long the limit of this process's cgroup has held it back, s; 0 where there is none."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/sys/fs/cgroup/cpu.stat").read_text("ascii").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("throttled_usec"))) / 1e6
    return 0.0


class Listeners:
    """The processes on this machine that serve targets which perflib did not start, and that nobody else samples.

    Their CPU time belongs to the run: a target is no disturbance.
    """

    def __init__(self, targets: Iterable[Target], sampled: Container[int]) -> None:
        """sampled: processes whose CPU time is known already."""
        import psutil

        ports = {_local_port(target) for target in targets if not (target.start or target.pids)} - {None}
        self._processes: dict[int, psutil.Process] = {}
        with suppress(psutil.Error, OSError):
            listening = psutil.net_connections("tcp") if ports else []
            pids = {
                c.pid for c in listening if c.status == psutil.CONN_LISTEN and c.pid and tuple(c.laddr)[-1] in ports
            }
            for process in map(psutil.Process, pids):
                served_by = (process, *process.children(recursive=True))
                self._processes |= {each.pid: each for each in served_by if each.pid not in sampled}

    def cpu_s(self) -> float:
        """The CPU time that they have used, s."""
        import psutil

        total = 0.0
        for process in self._processes.values():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def _local_port(target: Target) -> int | None:
    """The port of a target on this machine; None where it is elsewhere, or has no address."""
    with suppress(ValueError):
        url = urlsplit(target.url or "")
        if url.hostname in ("127.0.0.1", "localhost", "::1"):
            return url.port or (443 if url.scheme == "https" else 80)
    return None
