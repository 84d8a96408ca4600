"""Runs a suite: starts targets, lets worker processes drive each scenario's load, samples, keeps the manifest, and stops it all.

The coordinator only waits and listens: it works from a script, from pytest and inside a running Jupyter kernel alike.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from perflib import facts
from perflib.arrivals import peak_rate_per_s
from perflib.check import check
from perflib.errors import PerflibError, TargetError
from perflib.gauges import Gauges
from perflib.honesty import Machine, doubts
from perflib.lookout import Lookout
from perflib.progress import Progress
from perflib.runs import Run, RunDir, data_folder
from perflib.sampler import Sampler
from perflib.started import StartedTarget, answers, fill_port
from perflib.suite import Scenario, Suite, Target
from perflib.suitefile import load, select
from perflib.vigil import Vigil
from perflib.worker import Job
from perflib.workers import InProcess, Message, Process, Workers

RATE_PER_WORKER = 20_000
START_DELAY_NS = 20_000_000


def run(
    suite: Suite | str | Path = "acceptance", *, only: Sequence[str] = (), quick: bool = False, data: str | Path | None = None, seed: int | None = None,
    overrides: Sequence[str] = (), progress: bool = True, command: str | None = None,
) -> Run:  # fmt: skip
    """Run a suite and return its Run; what happened to it is in `status`, what it showed in `verdicts()`.

    run("acceptance", only=["error_rate"], quick=True)     run(Suite(...))     run("checkout.toml", overrides=["workers=1"])

    Raises SuiteError for a wrong suite, before anything is started. An interrupt ends the load, keeps the rows, and is
    raised again (KeyboardInterrupt) when the run directory is complete.
    """
    chosen = (
        select(suite, only=only, quick=quick)
        if isinstance(suite, Suite)
        else load(suite, overrides=list(overrides), only=list(only), quick=quick)
    )
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    check(chosen)
    source = chosen.name if isinstance(suite, Suite) else str(suite)
    session = _Session(
        chosen, data_folder(data), command or facts.python_call(source, only, quick, seed, overrides), quick, progress
    )
    try:
        session.go()
    finally:
        session.end()
    return Run(session.dir.path)


@dataclass
class _Interrupted(Exception):
    """The user asked to stop."""


class _Session:
    """One run while it is made."""

    def __init__(self, suite: Suite, data: Path, command: str, quick: bool, progress: bool) -> None:
        self.suite, self.show = suite, progress
        self.t0_ns = time.monotonic_ns()
        me = psutil.Process()
        self.dir = RunDir(data, {
            "process": {"pid": me.pid, "created": me.create_time()}, "suite": facts.redacted(suite), "command": command,
            "seed": suite.seed, "quick": quick, "host": facts.host(), "versions": facts.versions(), "git": facts.git(),
            "started_at": datetime.now(UTC).isoformat(timespec="milliseconds"), "stopped_ns": None, "targets": {}, "scenarios": [], "events": [],
        })  # fmt: skip
        self.manifest = self.dir.manifest
        self.sampler = Sampler(self.dir.path, self.t0_ns)
        self.gauges = Gauges(self.dir.path, self.t0_ns)
        self.sampler.watch("coordinator", "perflib", [me.pid])
        self.started: dict[str, StartedTarget] = {}
        self.targets: dict[str, Target] = {
            name: spec if spec.start else fill_port(spec) for name, spec in suite.targets.items()
        }
        self.workers_so_far = 0
        self.interrupted = False

    def now(self) -> int:
        return time.monotonic_ns() - self.t0_ns

    def go(self) -> None:
        """All scenarios in turn. A target that is gone makes the run invalid and ends it."""
        try:
            for scenario in self.suite.scenarios:
                self._start_targets(scenario)
                self._scenario(scenario)
                if self.manifest["status"] == "invalid":
                    break
        except KeyboardInterrupt:
            self.interrupted = True
            self.manifest["status"] = "interrupted"
            self.manifest["reasons"].append("interrupted by the user")
            raise
        except PerflibError as error:
            self._invalid(str(error))
        except OSError as error:
            self._invalid(f"{error.strerror}: {error.filename or ''}")

    def end(self) -> None:
        """Stop what was started; the manifest gets its last word."""
        for name, target in self.started.items():
            code = target.stop()
            self.manifest["targets"][name]["exit_code"] = code
        self.sampler.close()
        self.gauges.close()
        for failure in filter(None, (self.sampler.failure, self.gauges.failure)):
            self._invalid(f"resources cannot be written: {failure}")
        self.manifest["stopped_ns"] = self.now()
        if self.manifest["status"] == "running":
            self.manifest["status"] = "complete"
        self.dir.save()

    def _invalid(self, reason: str) -> None:
        self.manifest["status"] = "invalid"
        if reason not in self.manifest["reasons"]:
            self.manifest["reasons"].append(reason)
            with contextlib.suppress(OSError):
                self.dir.event(self.now(), "invalid", reason)

    def _start_targets(self, scenario: Scenario) -> None:
        for name in targets_of(scenario):
            self._start_target(name)

    def _start_target(self, name: str) -> None:
        """Start a target, or see that it is there; before it, the one whose URL it uses as {name.url}."""
        if name in self.manifest["targets"]:
            return
        via = [
            other
            for other in self.targets
            if f"{{{other}.url}}" in f"{self.targets[name].url}{dict(self.targets[name].env)}"
        ]
        for other in via:
            self._start_target(other)
        spec = self.targets[name]
        about: dict[str, Any] = {"kind": spec.kind, "via": via}
        self._bring_up(name, spec, about)

    def _bring_up(self, name: str, spec: Target, about: dict[str, Any]) -> None:
        if spec.start:
            target = StartedTarget(name, spec, log=self.dir.path / "logs" / f"{name}.log", folder=self.suite.folder)
            self.started[name] = target
            self.manifest["targets"][name] = about
            target.wait_ready()
            self.targets[name] = spec = target.spec
            about["pids"] = target.pids
            self._share_urls(name, spec)
        elif spec.url and not answers(spec):
            raise TargetError(
                f"nothing answers at {facts.redact_text(spec.url)}",
                where=f"targets.{name}",
                mend="start it, or give `start`",
            )
        about["url"] = facts.redact_text(spec.url) if spec.url else None
        self.manifest["targets"][name] = about
        self.sampler.watch("target", name, [*about.get("pids", []), *spec.pids])
        if spec.gauges and spec.url:
            self.gauges.watch(name, spec.url, spec.gauges)
        self.dir.save()

    def _share_urls(self, name: str, spec: Target) -> None:
        """{name.url} in another target's url or environment is the url of this one, its port known by now."""
        for other, target in self.targets.items():
            if other != name:
                fill = {f"{{{name}.url}}": spec.url or ""}
                self.targets[other] = replace(
                    target,
                    url=_filled(target.url, fill),
                    env={k: _filled(v, fill) or "" for k, v in target.env.items()},
                )

    def _scenario(self, scenario: Scenario) -> None:
        entry: dict[str, Any] = {"name": scenario.name, "status": "running", "start_ns": None, "stop_ns": None, "segments": [],
                                 "prepare": {"requests": 0}, "workers": [], "doubts": [], "unsent": 0}  # fmt: skip
        self.manifest["scenarios"].append(entry)
        self.dir.save()
        jobs = self._jobs(scenario)
        names = targets_of(scenario)
        in_process = any(self.targets[n].in_process for n in names)
        with self._environment(scenario):
            workers: Workers = InProcess(jobs[0]) if in_process else Process(jobs, self.dir.path / "logs")
        bar = Progress(scenario, show=self.show)
        try:
            self._watch_workers(workers, names, in_process)
            self._listen(scenario, entry, workers, bar)
        except KeyboardInterrupt:
            workers.stop("interrupted")
            self._listen_out(entry, workers, bar)
            entry["status"] = "interrupted"
            raise
        finally:
            bar.close()
            workers.close()
            for job in jobs:
                self.sampler.forget("generator", f"worker {job.worker}")
            entry["stop_ns"] = self.now()
            if entry["status"] == "running":
                entry["status"] = "complete"
            self.dir.save()

    def _jobs(self, scenario: Scenario) -> list[Job]:
        of = worker_count(scenario, self.suite, self.targets)
        first, self.workers_so_far = self.workers_so_far, self.workers_so_far + of
        targets = {name: self.targets[name] for name in targets_of(scenario)}
        return [
            Job(str(self.dir.path), scenario, targets, first + index, index, of, self.suite.seed, self.t0_ns, self.suite.folder,
                self.suite.max_requests, self.suite.max_rate_per_s, self.suite.allow_hosts, sys.path)
            for index in range(of)
        ]  # fmt: skip

    @contextlib.contextmanager
    def _environment(self, scenario: Scenario) -> Any:
        """A callable target's `env` is that of its worker."""
        added: dict[str, str] = {}
        for name in targets_of(scenario):
            if self.targets[name].kind == "callable":
                added |= dict(self.targets[name].env)
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

    def _watch_workers(self, workers: Workers, names: list[str], in_process: bool) -> None:
        """A callable runs inside the worker: there, the worker is the target."""
        only_callables = all(self.targets[name].kind == "callable" for name in names)
        for number, pid in workers.pids.items():
            if only_callables and not in_process:
                self.sampler.watch("target", names[0], [pid])
            elif not in_process:
                self.sampler.watch("generator", f"worker {number}", [pid])

    def _listen(self, scenario: Scenario, entry: dict[str, Any], workers: Workers, bar: Progress) -> None:
        """Until every worker is done: pass messages on, and see that nothing goes wrong that a worker cannot see."""
        vigil, machine, ours_s = Vigil(scenario, self.started), Machine(), 0.0
        lookout = Lookout(scenario, self.dir.path)
        for message in workers.messages():
            waiting = entry["start_ns"] is None
            self._heard(entry, workers, message, bar)
            if waiting:  # what came before the load, imports and preparation, is not looked at
                machine, ours_s = Machine(), self.sampler.cpu_s()
            elif reason := vigil.look(workers):
                self._abort(entry, workers, reason)
            elif "ended" not in entry and (
                broke := lookout.look(entry["start_ns"], self.now(), workers.pids, workers.rows)
            ):
                entry["ended"] = broke
                self.dir.event(self.now(), "limit", f"scenario {scenario.name!r}: {broke}")
                workers.stop(broke)
        entry["machine"] = machine.stop(self.sampler.cpu_s() - ours_s)
        if entry["status"] == "running":
            self._doubt(scenario, entry)

    def _doubt(self, scenario: Scenario, entry: dict[str, Any]) -> None:
        """Judge the load generator itself."""
        targets = [self.targets[name] for name in targets_of(scenario)]
        found = doubts(scenario, targets, entry["workers"], entry["machine"])
        entry["doubts"] = [str(doubt) for doubt in found if not doubt.fatal]
        for doubt in found:
            if doubt.fatal:
                entry["status"] = "overloaded"
                self._invalid(f"scenario {scenario.name!r}: {doubt}")

    def _abort(self, entry: dict[str, Any], workers: Workers, reason: str) -> None:
        if entry["status"] == "running":
            entry["status"] = "aborted"
            self._invalid(reason)
            workers.stop(reason)

    def _listen_out(self, entry: dict[str, Any], workers: Workers, bar: Progress) -> None:
        """The rest of what the workers say after a stop; a second interrupt does not wait for it."""
        with contextlib.suppress(KeyboardInterrupt):
            for message in workers.messages(timeout_s=15):
                self._heard(entry, workers, message, bar)

    def _heard(self, entry: dict[str, Any], workers: Workers, message: Message, bar: Progress) -> None:
        kind, content = message.kind, message.content
        if kind == "ready":
            for name, pids in content["children"].items():
                if pids:
                    self.sampler.watch("target", name, pids)
            for name, about in content["targets"].items():
                self.manifest["targets"].setdefault(name, {}).update(about)
            if workers.all_ready:
                start_ns = time.monotonic_ns() + START_DELAY_NS
                entry["start_ns"] = start_ns - self.t0_ns
                bar.begin()
                workers.go(start_ns)
                self.dir.save()
        elif kind == "prepared":
            entry["prepare"]["requests"] += content["requests"]
        elif kind == "progress":
            bar.show(workers.rows, workers.errors)
        elif kind == "segment":
            _merge_segment(
                entry["segments"],
                {**content, "start_ns": content["start_ns"] - self.t0_ns, "stop_ns": content["stop_ns"] - self.t0_ns},
            )
        elif kind == "done":
            entry["workers"].append(
                {
                    "worker": message.worker,
                    "pid": workers.pids.get(message.worker),
                    "rows": content["rows"],
                    **content["health"],
                }
            )
            entry["unsent"] += content["unsent"]
            if (
                content["stopped"]
                and entry["status"] == "running"
                and not self.interrupted
                and content["stopped"] not in ("interrupted", entry.get("ended"))
            ):
                entry["status"] = "aborted"
                self._invalid(f"scenario {entry['name']!r}: {content['stopped']}")
        elif kind == "failed":
            entry["status"] = "unprepared" if entry["start_ns"] is None else "aborted"
            self._invalid(
                f"scenario {entry['name']!r}: {PerflibError(content['what'], where=content['where'], mend=content['mend'])}"
            )
            workers.stop("another worker failed")


def targets_of(scenario: Scenario) -> list[str]:
    """Names of the targets that a scenario's operations reach, the first one first."""
    return list(dict.fromkeys(op.target or scenario.target or "" for op in (*scenario.operations, *scenario.prepare)))


def worker_count(scenario: Scenario, suite: Suite, targets: dict[str, Target]) -> int:
    """As many as the load needs, at most the cores; one where the order of requests matters."""
    asked = scenario.workers or suite.workers
    if any(targets[name].in_process for name in targets_of(scenario)) or scenario.order in ("interleaved", "blocks"):
        return 1
    if asked:
        return asked
    needed = max(peak_rate_per_s(part, suite.folder) for part in scenario.load.parts()) / RATE_PER_WORKER
    return max(1, min(os.cpu_count() or 1, int(needed) + (needed > int(needed))))


def _filled(text: str | None, values: dict[str, str]) -> str | None:
    for name, value in values.items():
        text = text.replace(name, value) if text else text
    return text


def _merge_segment(segments: list[dict[str, Any]], found: dict[str, Any]) -> None:
    """The same stretch seen by several workers is one: first start, last stop, requests added up."""
    for known in segments:
        if all(known[key] == found[key] for key in ("phase", "stage", "operation")):
            known["start_ns"], known["stop_ns"] = (
                min(known["start_ns"], found["start_ns"]),
                max(known["stop_ns"], found["stop_ns"]),
            )
            known["offered"] += found["offered"]
            return
    segments.append({key: found[key] for key in ("phase", "stage", "operation", "start_ns", "stop_ns", "offered")})
