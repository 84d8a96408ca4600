"""The load of one scenario: its workers and their messages, failures that a worker cannot detect, and its entry in
run.json."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from perflib.errors import PerflibError
from perflib.load.generator.job import ORPHANED, Job
from perflib.load.neighbours import Neighbours
from perflib.load.outliers import medians_ms
from perflib.load.progress import Progress
from perflib.load.resources import Sampler
from perflib.load.stop_rules import LoadState, StopRule, standard_rules
from perflib.load.validity import Listeners, Machine, doubts
from perflib.load.workers import InProcess, Message, Process, Workers, callables_env
from perflib.store.manifest import Manifest, RunDirectory
from perflib.store.records import (
    ClockRecord,
    FailureRecord,
    MachineShares,
    MissingWorker,
    ScenarioRecord,
    Segment,
    TargetRecord,
    WorkerRecord,
)
from perflib.suite.model import Scenario, Target
from perflib.targets.process import StartedTarget

LISTEN_S: Final = 0.05  # to each of several scenarios that run at the same time


@dataclass(frozen=True)
class Ledger:
    """The parts of a run that several classes write to: its directory and its sampler, with its clock.

    url     of the object store to which machines upload their rows; None if they share the directory
    """

    dir: RunDirectory
    sampler: Sampler
    t0_ns: int
    url: str | None = None

    @property
    def manifest(self) -> Manifest:
        return self.dir.manifest

    def now(self) -> int:
        return time.monotonic_ns() - self.t0_ns

    def invalid(self, reason: str) -> None:
        """Mark the run as invalid, with a reason."""
        self.manifest.status = "invalid"
        if reason not in self.manifest.reasons:
            self.manifest.reasons.append(reason)
            with contextlib.suppress(OSError):
                self.dir.event(self.now(), "invalid", reason)


class Loading:
    """Starts the workers of a scenario; after `ready`, `begin` starts the load, and `listen` handles their messages.

    If its jobs take turns (an A/B test), the load begins with `turn`, one turn at a time, until `finish`.
    """

    def __init__(
        self,
        ledger: Ledger,
        scenario: Scenario,
        targets: dict[str, Target],
        started: Mapping[str, StartedTarget],
        jobs: list[Job],
        bar: Progress,
        client: Any = None,
        on_lost: str = "stop",
        stop_rules: Sequence[StopRule] = (),
        neighbours: Neighbours | None = None,
    ) -> None:
        self.scenario, self.bar, self._on_lost = scenario, bar, on_lost
        self.is_over = False  # whether all workers are done, and what they have said is known
        self._ledger, self._targets, self._jobs = ledger, targets, jobs
        self.record = ScenarioRecord(name=scenario.name)
        ledger.manifest.scenarios.append(self.record)
        ledger.dir.save()
        in_process = any(target.in_process for target in targets.values())
        self._workers = self._started(in_process, client)
        if self._workers.here:
            self._watch_workers(in_process)
        self._stop_rules = [*standard_rules(scenario, targets, started), *stop_rules]
        sampled = {os.getpid(), *(pid for target in started.values() for pid in target.pids)}
        self._listeners, self._sampled = Listeners(targets.values(), sampled), sampled
        self._machine, self._ours_s = Machine(), 0.0
        self._neighbours, self._beside = neighbours, dict[str, int]()

    def _started(self, in_process: bool, client: Any) -> Workers:
        if in_process:
            with environment(callables_env(self._targets)):
                return InProcess(self._jobs[0])
        if client is not None:
            from perflib.load.cluster import Cluster

            return Cluster(client, self._jobs, self._ledger.url)
        return Process(self._jobs, self._ledger.dir.path / "logs")

    def share_machine(self, others: Sequence[Loading]) -> None:
        """Other scenarios run at the same time: their targets and workers are no strangers on this machine."""
        self._beside = {other.scenario.name: len(other._jobs) for other in others}
        targets = [target for each in (self, *others) for target in each._targets.values()]
        self._listeners = Listeners(targets, self._sampled)

    def listen(self, until: Callable[[], bool] = lambda: False, timeout_s: float | None = None) -> None:
        """Handle messages until `until` is true, or until every worker is done; then check the load generator."""
        for message in self._workers.messages(timeout_s):
            waiting = self.record.start_ns is None
            self._heard(message)
            if waiting:  # imports and preparation, before the load, do not count
                self._machine, self._ours_s = Machine(), self._cpu_s()
            else:
                self._ask_stop_rules()
                if self._neighbours:
                    self._neighbours.look()
            if until():
                return
        if timeout_s is not None and not self._workers.is_over:
            return
        self.is_over = True
        shares = self._machine.stop(self._cpu_s() - self._ours_s)
        self.record.machine = MachineShares(**shares)
        if self.running:
            self._doubt()

    def _cpu_s(self) -> float:
        """CPU time of the run's own processes and of the targets on this machine so far, s."""
        return self._ledger.sampler.cpu_s() + self._listeners.cpu_s()

    def _ask_stop_rules(self) -> None:
        now, began_ns = self._ledger.now(), self.record.start_ns or 0
        state = LoadState(self._workers, self._left, began_ns, now)
        for rule in self._stop_rules:
            stop = rule.look(state)
            if stop is None:
                continue
            if stop.is_failure:
                self._abort(f"scenario {self.scenario.name!r}: {stop.reason}")
            elif not self.record.ended:
                self._ledger.dir.event(now, "limit", f"scenario {self.scenario.name!r}: {stop.reason}")
                self.finish(stop.reason)
            return

    @property
    def running(self) -> bool:
        """Whether the scenario has neither ended nor failed."""
        return bool(self.record.status == "running")

    @property
    def _left(self) -> list[int]:
        """Numbers of the workers that were not lost."""
        missing = {about.worker for about in self.record.missing}
        return [worker for worker in self._workers.pids if worker not in missing]

    def ready(self) -> None:
        """Listen until all workers are ready."""
        self.listen(lambda: self._workers.all_ready or not self.running)

    def turn(self) -> None:
        """One turn of load by workers that take turns, until all its answers are there."""
        if self.record.start_ns is None:
            self.record.start_ns = time.monotonic_ns() + self._workers.start_delay_ns - self._ledger.t0_ns
            self.bar.begin()
        before = self._workers.turns
        self._workers.go(time.monotonic_ns() + self._workers.start_delay_ns)
        self.listen(lambda: self._workers.turns > before or not self.running)
        self._ledger.dir.save()

    @property
    def start_delay_ns(self) -> int:
        """From `begin` until all workers have received it."""
        return self._workers.start_delay_ns

    def begin(self, start_ns: int) -> None:
        """Start the load at that time of the monotonic clock."""
        self.record.start_ns = start_ns - self._ledger.t0_ns
        self.bar.begin()
        self._workers.go(start_ns)
        self._ledger.dir.save()

    def give_up(self, why: str) -> None:
        """End the load, since another one that runs at the same time was aborted."""
        if self.running:
            self.record.status = "aborted"
            self._workers.stop(why)

    def finish(self, why: str) -> None:
        """End the load early, without a failure."""
        self.record.ended = why
        self._workers.stop(why)

    def stop(self) -> None:
        """Have the workers stop, because the user interrupted the load."""
        self._workers.stop("interrupted")

    def interrupt(self) -> None:
        """End the load because the user interrupted it; a second interrupt does not wait for the last messages."""
        self.stop()
        with contextlib.suppress(KeyboardInterrupt):
            for message in self._workers.messages(timeout_s=15):
                self._heard(message)
        self.record.status = "interrupted"

    def close(self) -> None:
        self.bar.close(self.scenario.name, self.record.trouble)
        self._workers.close()
        for reason in self._workers.unsaved:
            self._ledger.invalid(reason)
        if clocks := self._workers.clocks:
            self.record.clocks = [ClockRecord(**clock) for clock in clocks]
        for job in self._jobs:
            self._ledger.sampler.forget("generator", f"worker {job.worker}")
        self.record.stop_ns = self._ledger.now()
        if self.running:
            self.record.status = "complete"
        self._ledger.dir.save()

    def _watch_workers(self, in_process: bool) -> None:
        """Sample the workers. A worker that runs a callable is the target."""
        only_callables = all(target.kind == "callable" for target in self._targets.values())
        for number, pid in self._workers.pids.items():
            if only_callables and not in_process:
                self._ledger.sampler.watch("target", next(iter(self._targets)), [pid])
            elif not in_process:
                self._ledger.sampler.watch("generator", f"worker {number}", [pid])

    def _doubt(self) -> None:
        """Check whether the load generator was the bottleneck."""
        workers, missing = self.record.workers, self.record.missing
        medians = medians_ms(self._ledger.dir.path, [about.worker for about in workers])
        all_doubts = doubts(
            self.scenario,
            list(self._targets.values()),
            [worker.model_dump() for worker in workers],
            self.record.machine.model_dump() if self.record.machine else {},
            [worker.model_dump() for worker in missing],
            medians,
            self._neighbours.seen() if self._neighbours else (),
            self._beside,
        )
        self.record.doubts = [str(doubt) for doubt in all_doubts if not doubt.fatal]
        for doubt in all_doubts:
            if doubt.fatal:
                self.record.status = "partial" if missing else "overloaded"
                self._ledger.invalid(f"scenario {self.scenario.name!r}: {doubt}")

    def _abort(self, reason: str) -> None:
        if self.running:
            self.record.status = "aborted"
            self._ledger.invalid(reason)
            self._workers.stop(reason)

    def _heard(self, message: Message) -> None:
        content = message.content
        match message.kind:
            case "ready":
                self._ready(content)
            case "prepared":
                self.record.prepare.requests += content["requests"]
                self.record.prepare.failed += content["failed"]
            case "progress":
                self.bar.show(self.scenario.name, self._workers.rows, self._workers.errors)
            case "segment":
                t0_ns = self._ledger.t0_ns
                times = {"start_ns": content["start_ns"] - t0_ns, "stop_ns": content["stop_ns"] - t0_ns}
                _merge_segment(self.record.segments, Segment(**{**content, **times}))
            case "done":
                self._done(message.worker, content)
            case "failed":
                self._failed(content)
            case "lost":
                self._lost(message.worker, content)

    def _failed(self, content: dict[str, Any]) -> None:
        if not self.running:
            return  # the first failure ended the others
        self.record.status = "unprepared" if self.record.start_ns is None else "aborted"
        error = PerflibError(content["what"], where=content["where"], mend=content["mend"])
        self._ledger.invalid(f"scenario {self.scenario.name!r}: {error}")
        self._workers.stop("another worker failed")

    def _lost(self, worker: int, content: dict[str, Any]) -> None:
        """A worker is lost: the others stop, or go on without its share (`on_lost`).

        Before the load, and if the workers take turns, all others stop.
        """
        began_ns, now = self.record.start_ns, self._ledger.now()
        self.record.missing.append(
            MissingWorker(
            worker=worker, host=content.get("host", ""), what=content["what"], share=1 / len(self._jobs),
            at_ns=now, after_s=None if began_ns is None else (now - began_ns) / 1e9,
        )
        )  # fmt: skip
        if self._on_lost == "stop" or began_ns is None or self._jobs[0].turns:
            self._failed(content)
            return
        with contextlib.suppress(OSError):
            self._ledger.dir.event(now, "lost", f"scenario {self.scenario.name!r}: {content['what']}; the others go on")

    def _ready(self, content: dict[str, Any]) -> None:
        for name, pids in content["children"].items():
            if pids and self._workers.here:
                self._ledger.sampler.watch("target", name, pids)
        for name, about in content["targets"].items():
            known = self._ledger.manifest.targets.get(name, TargetRecord())
            self._ledger.manifest.targets[name] = TargetRecord(**{**known.model_dump(), **about})
        if self._workers.all_ready and self.running and not (self._jobs[0].turns or self._beside):
            self.begin(time.monotonic_ns() + self.start_delay_ns)

    def _done(self, worker: int, content: dict[str, Any]) -> None:
        about = WorkerRecord(
            worker=worker,
            pid=self._workers.pids.get(worker),
            rows=content["rows"],
            errors=sum(content["errors"].values()),
            **content["health"],
        )
        self.record.workers.append(about)
        self.record.unsent += content["unsent"]
        self.record.resent += content["resent"]
        self.record.each_user.requests += content["each_user"].get("requests", 0)
        self.record.each_user.failed += content["each_user"].get("failed", 0)
        for failure in content["failures"]:
            self.record.add_failure(FailureRecord(**failure))
        if self.scenario.has_functions:
            self.record.operations = list(dict.fromkeys((*self.record.operations, *content["operations"])))
        self.record.used_up = self.record.used_up or content["ended"]
        stopped = content["stopped"]
        if stopped == ORPHANED and self.running:
            host = next((clock["host"] for clock in self._workers.clocks if worker in clock["workers"]), "")
            on = f" on {host}" if host else ""
            what = f"worker {worker}{on} stopped, because the coordinator sent no message for too long"
            self._lost(
                worker,
                {"what": what, "where": "--dask", "mend": "check the network between the two machines", "host": host},
            )
        elif stopped and self.running and stopped not in ("interrupted", self.record.ended):
            self.record.status = "aborted"
            self._ledger.invalid(f"scenario {self.scenario.name!r}: {stopped}")


def run_together(loadings: Sequence[Loading]) -> None:
    """Run loads at the same time, each from its `at_s` on, until all are over. One that is aborted ends the others."""
    if len(loadings) == 1:
        loadings[0].listen()
        return
    try:
        for loading in loadings:
            loading.share_machine([other for other in loadings if other is not loading])
            loading.ready()
        if all(loading.running for loading in loadings):
            first_ns = time.monotonic_ns() + max(loading.start_delay_ns for loading in loadings)
            for loading in loadings:
                loading.begin(first_ns + int(loading.scenario.at_s * 1e9))
        while left := [loading for loading in loadings if not loading.is_over]:
            for loading in left:
                loading.listen(timeout_s=LISTEN_S)
            failed = [each for each in loadings if each.record.status in ("aborted", "unprepared")]
            for loading in left if failed else ():
                loading.give_up(f"scenario {failed[0].scenario.name!r} was aborted")
    except KeyboardInterrupt:
        for loading in loadings:
            loading.stop()
        raise


@contextlib.contextmanager
def environment(added: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a callable in this process, removed at the end."""
    before = {key: os.environ.get(key) for key in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _merge_segment(segments: list[Segment], new: Segment) -> None:
    """Merge the same segment of several workers: first start, last stop, sum of requests."""
    for known in segments:
        if (known.phase, known.stage, known.operation, known.turn) == (new.phase, new.stage, new.operation, new.turn):
            known.start_ns = min(known.start_ns, new.start_ns)
            known.stop_ns = max(known.stop_ns, new.stop_ns)
            known.offered += new.offered
            return
    segments.append(new)
