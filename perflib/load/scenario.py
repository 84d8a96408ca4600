"""One scenario while it is loaded: its workers, what they say, what goes wrong that a worker cannot see, its entry in run.json."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perflib.errors import PerflibError
from perflib.experiments.limit_search import Lookout
from perflib.load.generator.worker import ORPHANED, Job
from perflib.load.outliers import medians_ms
from perflib.load.progress import Progress
from perflib.load.resources import Sampler
from perflib.load.stop_rules import Vigil
from perflib.load.validity import Machine, doubts
from perflib.load.workers import InProcess, Message, Process, Workers, callables_env
from perflib.store.manifest import RunDir
from perflib.suite.model import Scenario, Target
from perflib.targets.process import StartedTarget


@dataclass(frozen=True)
class Ledger:
    """What all that takes part in making a run writes to: its directory and its samples, on its clock.

    url     of the store where machines put their rows, None where they share the directory
    """

    dir: RunDir
    sampler: Sampler
    t0_ns: int
    url: str | None = None

    @property
    def manifest(self) -> dict[str, Any]:
        return self.dir.manifest

    def now(self) -> int:
        return time.monotonic_ns() - self.t0_ns

    def invalid(self, reason: str) -> None:
        """The run can show nothing, and says why."""
        self.manifest["status"] = "invalid"
        if reason not in self.manifest["reasons"]:
            self.manifest["reasons"].append(reason)
            with contextlib.suppress(OSError):
                self.dir.event(self.now(), "invalid", reason)


class Loading:
    """Loading(ledger, scenario, targets, started, jobs, bar).listen(): from the start of its workers until they are done.

    Where its jobs take turns (an A/B) the load begins at `turn`, one stretch at a time, until `finish`.
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
    ) -> None:
        self.scenario, self.bar, self._on_lost = scenario, bar, on_lost
        self._ledger, self._targets, self._jobs = ledger, targets, jobs
        self.entry: dict[str, Any] = {
            "name": scenario.name, "status": "running", "start_ns": None, "stop_ns": None, "segments": [],
            "prepare": {"requests": 0}, "workers": [], "missing": [], "doubts": [], "unsent": 0,
        }  # fmt: skip
        ledger.manifest["scenarios"].append(self.entry)
        ledger.dir.save()
        in_process = any(target.in_process for target in targets.values())
        self._workers = self._started(in_process, client)
        if self._workers.here:
            self._watch_workers(in_process)
        self._vigil, self._lookout = Vigil(scenario, started), Lookout(scenario, ledger.dir.path)
        self._machine, self._ours_s = Machine(), 0.0

    def _started(self, in_process: bool, client: Any) -> Workers:
        if in_process:
            with _environment(callables_env(self._targets)):
                return InProcess(self._jobs[0])
        if client is not None:
            from perflib.load.cluster import Cluster

            return Cluster(client, self._jobs, self._ledger.url)
        return Process(self._jobs, self._ledger.dir.path / "logs")

    def listen(self, until: Callable[[], bool] = lambda: False) -> None:
        """Pass messages on until every worker is done, or until it is enough; then judge the load generator itself."""
        for message in self._workers.messages():
            waiting = self.entry["start_ns"] is None
            self._heard(message)
            if waiting:  # what came before the load, imports and preparation, is not looked at
                self._machine, self._ours_s = Machine(), self._ledger.sampler.cpu_s()
            elif reason := self._vigil.look(self._workers):
                self._abort(reason)
            elif "ended" not in self.entry and (
                broke := self._lookout.look(self.entry["start_ns"], self._ledger.now(), self._left, self._workers.rows)
            ):  # fmt: skip
                self._ledger.dir.event(self._ledger.now(), "limit", f"scenario {self.scenario.name!r}: {broke}")
                self.finish(broke)
            if until():
                return
        self.entry["machine"] = self._machine.stop(self._ledger.sampler.cpu_s() - self._ours_s)
        if self.running:
            self._doubt()

    @property
    def running(self) -> bool:
        """Neither over nor given up."""
        return bool(self.entry["status"] == "running")

    @property
    def _left(self) -> list[int]:
        """Numbers of the workers that were not lost."""
        missing = {about["worker"] for about in self.entry["missing"]}
        return [worker for worker in self._workers.pids if worker not in missing]

    def ready(self) -> None:
        """Listen until all workers could begin."""
        self.listen(lambda: self._workers.all_ready or not self.running)

    def turn(self) -> None:
        """One stretch of load by workers that take turns, and all its answers."""
        if self.entry["start_ns"] is None:
            self._begin()
        before = self._workers.turns
        self._workers.go(time.monotonic_ns() + self._workers.start_delay_ns)
        self.listen(lambda: self._workers.turns > before or not self.running)
        self._ledger.dir.save()

    def finish(self, why: str) -> None:
        """End the load before its time, as something good."""
        self.entry["ended"] = why
        self._workers.stop(why)

    def interrupt(self) -> None:
        """End the load because the user says so; a second interrupt does not wait for the rest."""
        self._workers.stop("interrupted")
        with contextlib.suppress(KeyboardInterrupt):
            for message in self._workers.messages(timeout_s=15):
                self._heard(message)
        self.entry["status"] = "interrupted"

    def close(self) -> None:
        self.bar.close()
        self._workers.close()
        for reason in self._workers.unsaved:
            self._ledger.invalid(reason)
        if clocks := self._workers.clocks:
            self.entry["clocks"] = clocks
        for job in self._jobs:
            self._ledger.sampler.forget("generator", f"worker {job.worker}")
        self.entry["stop_ns"] = self._ledger.now()
        if self.running:
            self.entry["status"] = "complete"
        self._ledger.dir.save()

    def _watch_workers(self, in_process: bool) -> None:
        """A callable runs inside the worker: there, the worker is the target."""
        only_callables = all(target.kind == "callable" for target in self._targets.values())
        for number, pid in self._workers.pids.items():
            if only_callables and not in_process:
                self._ledger.sampler.watch("target", next(iter(self._targets)), [pid])
            elif not in_process:
                self._ledger.sampler.watch("generator", f"worker {number}", [pid])

    def _begin(self) -> int:
        start_ns = time.monotonic_ns() + self._workers.start_delay_ns
        self.entry["start_ns"] = start_ns - self._ledger.t0_ns
        self.bar.begin()
        return start_ns

    def _doubt(self) -> None:
        """Judge the load generator itself."""
        workers, missing = self.entry["workers"], self.entry["missing"]
        medians = medians_ms(self._ledger.dir.path, [about["worker"] for about in workers])
        found = doubts(self.scenario, list(self._targets.values()), workers, self.entry["machine"], missing, medians)
        self.entry["doubts"] = [str(doubt) for doubt in found if not doubt.fatal]
        for doubt in found:
            if doubt.fatal:
                self.entry["status"] = "partial" if missing else "overloaded"
                self._ledger.invalid(f"scenario {self.scenario.name!r}: {doubt}")

    def _abort(self, reason: str) -> None:
        if self.running:
            self.entry["status"] = "aborted"
            self._ledger.invalid(reason)
            self._workers.stop(reason)

    def _heard(self, message: Message) -> None:
        content = message.content
        match message.kind:
            case "ready":
                self._ready(content)
            case "prepared":
                self.entry["prepare"]["requests"] += content["requests"]
            case "progress":
                self.bar.show(self._workers.rows, self._workers.errors)
            case "segment":
                t0_ns = self._ledger.t0_ns
                found = {"start_ns": content["start_ns"] - t0_ns, "stop_ns": content["stop_ns"] - t0_ns}
                _merge_segment(self.entry["segments"], {**content, **found})
            case "done":
                self._done(message.worker, content)
            case "failed":
                self._failed(content)
            case "lost":
                self._lost(message.worker, content)

    def _failed(self, content: dict[str, Any]) -> None:
        self.entry["status"] = "unprepared" if self.entry["start_ns"] is None else "aborted"
        error = PerflibError(content["what"], where=content["where"], mend=content["mend"])
        self._ledger.invalid(f"scenario {self.scenario.name!r}: {error}")
        self._workers.stop("another worker failed")

    def _lost(self, worker: int, content: dict[str, Any]) -> None:
        """A worker is gone: the others stop, or go on without its share (`on_lost`). Before the load, and in turns, nobody goes on."""
        began_ns, now = self.entry["start_ns"], self._ledger.now()
        self.entry["missing"].append({
            "worker": worker, "host": content.get("host", ""), "what": content["what"], "share": 1 / len(self._jobs),
            "at_ns": now, "after_s": None if began_ns is None else (now - began_ns) / 1e9,
        })  # fmt: skip
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
            self._ledger.manifest["targets"].setdefault(name, {}).update(about)
        if self._workers.all_ready and self.running and not self._jobs[0].turns:
            self._workers.go(self._begin())
            self._ledger.dir.save()

    def _done(self, worker: int, content: dict[str, Any]) -> None:
        about = {"worker": worker, "pid": self._workers.pids.get(worker), "rows": content["rows"], **content["health"]}
        self.entry["workers"].append(about)
        self.entry["unsent"] += content["unsent"]
        stopped = content["stopped"]
        if stopped == ORPHANED and self.running:
            host = next((clock["host"] for clock in self._workers.clocks if worker in clock["workers"]), "")
            what = f"worker {worker}{' on ' if host else ''}{host} heard nothing from here for too long and stopped"
            self._lost(
                worker, {"what": what, "where": "--dask", "mend": "look at the network between them", "host": host}
            )
        elif stopped and self.running and stopped not in ("interrupted", self.entry.get("ended")):
            self.entry["status"] = "aborted"
            self._ledger.invalid(f"scenario {self.scenario.name!r}: {stopped}")


@contextlib.contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    """For a callable in this very process."""
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


def _merge_segment(segments: list[dict[str, Any]], found: dict[str, Any]) -> None:
    """The same stretch seen by several workers is one: first start, last stop, requests added up."""
    same = ("phase", "stage", "operation", "turn")
    for known in segments:
        if all(known[key] == found[key] for key in same):
            known["start_ns"] = min(known["start_ns"], found["start_ns"])
            known["stop_ns"] = max(known["stop_ns"], found["stop_ns"])
            known["offered"] += found["offered"]
            return
    segments.append({key: found[key] for key in (*same, "start_ns", "stop_ns", "offered")})
