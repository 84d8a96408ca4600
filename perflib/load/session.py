"""Runs a suite: starts the targets, has worker processes generate each scenario's load, samples resources, writes the
manifest, and stops everything at the end.

The coordinator itself only waits for messages, so it works in a script, in pytest and in a running Jupyter kernel.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from perflib.errors import PerflibError, TargetError
from perflib.load.gauges import Gauges
from perflib.load.generator.arrivals import peak_rate_per_s
from perflib.load.generator.job import Job, roles
from perflib.load.generator.once import Sent
from perflib.load.interrupts import held_off
from perflib.load.neighbours import Neighbours
from perflib.load.preflight import may_be_loaded
from perflib.load.progress import Progress, View
from perflib.load.resources import Sampler
from perflib.load.scenario import Ledger, Loading, run_together
from perflib.load.set_up import set_up, tear_down
from perflib.load.stop_rules import StopRule
from perflib.store import metadata
from perflib.store.lease import WRITING, Lease
from perflib.store.manifest import RunDirectory
from perflib.store.records import AbRecord, ProcessRecord, RepeatRecord, TargetRecord
from perflib.store.remote import Upload, is_url
from perflib.store.runs import data_folder
from perflib.suite.model import Scenario, Suite, Target
from perflib.suite.plain import redacted
from perflib.suite.redaction import learn_environment, redact_text, struck_out
from perflib.suite.variants import SIDES, sided
from perflib.targets.process import StartedTarget, fill_port, why_unready
from perflib.text import one_line

RATE_PER_WORKER = 20_000


@dataclass(frozen=True)
class Turns:
    """How the two sides of an A/B test take turns. The suite has their scenarios in pairs, first a's and then b's.

    about     the entry "ab" of run.json
    orders    for each pair of turns, which side comes first
    enough    called after each pair with the number of pairs since the warm-up; returns why the load ends, or ""
    seconds   the longest time under load of a scenario
    """

    about: AbRecord
    orders: Iterator[tuple[int, int]]
    enough: Callable[[Ledger, str, int], str]
    seconds: float


class Session:
    """One run from start to end.

    view        creates the display of its progress, given the run's folder
    stop_rules  creates further rules that end a scenario's load, given the scenario and the run's folder
    repeat      of a suite that is run several times: the id of the first run, "" for this one, and which one this is
    """

    def __init__(
        self,
        suite: Suite,
        data: str | Path | None,
        command: str,
        quick: bool,
        view: Callable[[Path], View],
        stop_rules: Callable[[Scenario, Path], Sequence[StopRule]],
        turns: Turns | None = None,
        client: Any = None,
        repeat: tuple[str, int] | None = None,
    ) -> None:
        self.suite, self.turns, self.client, self._stop_rules = suite, turns, client, stop_rules
        self.t0_ns = time.monotonic_ns()
        learn_environment()
        me = psutil.Process()
        self.dir = RunDirectory(
            data_folder(data),
            shared=is_url(data),
            process=ProcessRecord(pid=me.pid, created=me.create_time()),
            suite=redacted(suite),
            command=command,
            seed=suite.seed,
            quick=quick,
            host=metadata.host(),
            versions=metadata.versions(),
            git=metadata.git(),
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            ab=turns.about if turns else None,
        )
        self.manifest = self.dir.manifest
        if repeat is not None:
            self.manifest.repeat = RepeatRecord(first=repeat[0] or self.manifest.run, number=repeat[1])
            self.dir.save()
        self.upload = Upload(data, self.dir.path.name, self.dir.path, both=client is not None) if is_url(data) else None
        self.lease = Lease(self.dir.path, WRITING)
        self.neighbours = Neighbours(self.dir.path.name)
        self.view = view(self.dir.path)
        self.sampler = Sampler(self.dir.path, self.t0_ns)
        self.ledger = Ledger(self.dir, self.sampler, self.t0_ns, data if is_url(data) else None)
        self.gauges = Gauges(self.dir.path, self.t0_ns)
        self.sampler.watch("coordinator", "perflib", [me.pid])
        self.started: dict[str, StartedTarget] = {}
        self.targets: dict[str, Target] = {
            name: spec if spec.start else fill_port(spec) for name, spec in suite.targets.items()
        }
        self.workers_so_far = 0

    def go(self) -> None:
        """Run all scenarios in order. A target that has died makes the run invalid and ends it."""
        try:
            with self._around(self.suite.around, {}) as values:
                self._all_scenarios(values)
        except KeyboardInterrupt as interrupt:
            self.manifest.status = "interrupted"
            self.manifest.reasons.append(f"interrupted by {interrupt if str(interrupt) else 'the user'}")
            raise
        except PerflibError as error:
            self.ledger.invalid(str(error))
        except OSError as error:
            self.ledger.invalid(f"{error.strerror}: {error.filename or ''}" if error.strerror else str(error))
        except Exception as error:  # whatever it is, this run is not complete
            self._log(error)
            self.ledger.invalid(f"{type(error).__name__}: {error} (see logs/perflib.log)")

    def _all_scenarios(self, values: dict[str, Any]) -> None:
        """Run the scenarios in order, some at the same time. `values`: what the set-up of the suite kept."""
        for group in self.suite.groups:
            scenario = group[0]
            for each in group:
                self._start_targets(each)
            if self.turns is None:
                with contextlib.ExitStack() as stack:
                    self._load(group, [stack.enter_context(self._around(each, values)) for each in group])
            elif scenario.name.endswith(sided("", SIDES[1])):
                before = self.suite.scenarios[self.suite.scenarios.index(scenario) - 1]
                self._take_turns(before, scenario, self.turns)
            if self.manifest.status == "invalid":
                break

    @contextlib.contextmanager
    def _around(self, scenario: Scenario | None, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Do the `setup` of a scenario before, and its `teardown` after, whatever has happened in between.

        It begins with the values that are known before, and yields these with what its set-up has kept.
        """
        known = dict(values)
        if scenario is None or not (scenario.setup or scenario.teardown):
            yield known
            return
        try:
            self._start_targets(scenario)
            if scenario.setup:
                set_up(self._jobs(scenario, known)[0], known, self._note_sent)
            yield known
        finally:
            if scenario.teardown and all(name in self.manifest.targets for name in scenario.reached):
                problems = tear_down(self._jobs(scenario, known)[0], known, self._note_sent)
                said = [f"teardown of {scenario.name!r}: {problem}" for problem in problems]
                for record in self.manifest.scenarios[-1:]:
                    record.left_behind += said
                for text in said:
                    self.dir.event(self.ledger.now(), "teardown", text)

    def _note_sent(self, sent: list[Sent]) -> None:
        """What a set-up or a teardown has sent. A run only wants to know what failed."""

    def end(self) -> None:
        """Stop everything that was started, and write the final manifest."""
        try:
            with held_off():
                self._end()
        finally:
            self.neighbours.close()
            self.lease.release()

    def _log(self, error: Exception) -> None:
        """Write where an unexpected error was raised into the run's logs."""
        text = struck_out("".join(traceback.format_exception(error)))
        with contextlib.suppress(OSError):
            (self.dir.path / "logs").mkdir(exist_ok=True)
            with (self.dir.path / "logs" / "perflib.log").open("a", encoding="utf-8", errors="replace") as log:
                log.write(text)

    def _end(self) -> None:
        self.view.freeze()
        for name, target in self.started.items():
            code = target.stop()
            self.manifest.targets[name].exit_code = code
        for what in (self.sampler, self.gauges):
            try:
                what.close()
            except Exception as error:
                self._log(error)
                self.ledger.invalid(f"{type(error).__name__}: {error} (see logs/perflib.log)")
        for failure in filter(None, (self.sampler.failure, self.gauges.failure)):
            self.ledger.invalid(f"resources cannot be written: {failure}")
        for (name, url), why in self.gauges.problems.items():
            self.manifest.targets[name].unread.append(one_line(struck_out(f"{url}: {why}"), 300))
        self.manifest.stopped_ns = self.ledger.now()
        if self.manifest.status == "running":
            self.manifest.status = "complete"
        self.dir.save(durable=True)
        if self.upload is not None and (unsaved := self.upload.close()):
            self.ledger.invalid(unsaved)
        self.view.end(self.manifest.status)

    def _start_targets(self, scenario: Scenario) -> None:
        for name in scenario.reached:
            self._start_target(name)

    def _start_target(self, name: str) -> None:
        """Start a target, or check that it answers. Targets whose URL it uses as {name.url} are started first."""
        if name in self.manifest.targets:
            return
        via = [
            other
            for other in self.targets
            if f"{{{other}.url}}" in f"{self.targets[name].url}{dict(self.targets[name].env)}"
        ]
        for other in via:
            self._start_target(other)
        spec = self.targets[name]
        about = TargetRecord(kind=spec.kind, via=via)
        self._bring_up(name, spec, about)

    def _bring_up(self, name: str, spec: Target, about: TargetRecord) -> None:
        may_be_loaded(name, fill_port(spec), self.suite)
        if spec.start:
            target = StartedTarget(name, spec, log=self.dir.path / "logs" / f"{name}.log", folder=self.suite.folder)
            self.started[name] = target
            self.manifest.targets[name] = about
            target.wait_ready()
            self.targets[name] = spec = target.spec
            about.pids = target.pids
            self._share_urls(name, spec)
        elif spec.url and (why := why_unready(spec, self.suite.folder)):
            raise TargetError(
                f"nothing answers at {redact_text(spec.url)}: {why}",
                where=f"targets.{name}",
                mend="start it, or set `start` to its command",
            )
        about.url = redact_text(spec.url) if spec.url else None
        self.manifest.targets[name] = about
        self.sampler.watch("target", name, [*about.pids, *spec.pids])
        self.gauges.watch(name, spec, self.suite.folder)
        self.dir.save()

    def _share_urls(self, name: str, spec: Target) -> None:
        """Fill in {name.url} in the URLs and environments of other targets, now that the port is known."""
        for other, target in self.targets.items():
            if other != name:
                fill = {f"{{{name}.url}}": spec.url or ""}
                self.targets[other] = replace(
                    target,
                    url=_filled(target.url, fill),
                    env={k: _filled(v, fill) or "" for k, v in target.env.items()},
                )

    def _load(self, scenarios: list[Scenario], values: list[dict[str, Any]]) -> None:
        """Put the loads of scenarios on their targets, at the same time. `values`: what the set-up of each kept."""
        progress = Progress(scenarios, self.view)
        with contextlib.ExitStack() as stack:
            pairs = zip(scenarios, values, strict=True)
            run_together([stack.enter_context(self._loading(*each, progress)) for each in pairs])

    def _take_turns(self, a: Scenario, b: Scenario, turns: Turns) -> None:
        """Load both sides of an A/B test in turns, until `enough` ends it. The first turn of a side is its warm-up."""
        with (
            self._around(a, {}) as values_a,
            self._around(b, {}) as values_b,
            self._loading(a, values_a, Progress([a], self.view, turns.seconds), turns=True) as one,
            self._loading(b, values_b, Progress([b], self.view, turns.seconds), turns=True) as other,
        ):
            sides, plain_name, why = (one, other), a.name.removesuffix(sided("", SIDES[0])), ""
            for side in sides:
                side.ready()
            for pairs, order in enumerate(turns.orders):
                for which in order:
                    if one.running and other.running:
                        sides[which].turn()
                if not (one.running and other.running) or (why := turns.enough(self.ledger, plain_name, pairs)):
                    break
            for side in sides:
                side.finish(why or "the other side ended")
                side.listen()

    @contextlib.contextmanager
    def _loading(
        self, scenario: Scenario, values: dict[str, Any], progress: Progress, *, turns: bool = False
    ) -> Iterator[Loading]:
        """Start the workers of a scenario. An interrupt stops them and reads their last messages."""
        jobs = self._jobs(scenario, values, turns=turns)
        self.workers_so_far += len(jobs)
        targets = {name: self.targets[name] for name in scenario.reached}
        loading = Loading(
            self.ledger,
            scenario,
            targets,
            self.started,
            jobs,
            progress,
            self.client,
            self.suite.on_lost,
            self._stop_rules(scenario, self.dir.path),
            self.neighbours if self.client is None else None,
        )
        try:
            yield loading
        except KeyboardInterrupt:
            loading.interrupt()
            raise
        finally:
            loading.close()

    def _jobs(self, scenario: Scenario, values: dict[str, Any], *, turns: bool = False) -> list[Job]:
        least = len(self.client.scheduler_info(n_workers=-1)["workers"]) if self.client is not None else 1
        of = worker_count(scenario, self.suite, self.targets, least)
        targets = {name: self.targets[name] for name in scenario.reached}
        search_path = own_modules(targets, self.suite.folder, scenario.has_functions)
        scenarios = [*self.suite.scenarios, *filter(None, [self.suite.around])]
        parts = [len(roles(each)) for each in scenarios]
        return [
            Job(
                str(self.dir.path.resolve()),
                scenario,
                targets,
                self.workers_so_far + index,
                index,
                of,
                self.suite.seed,
                self.t0_ns,
                self.suite.folder,
                self.suite.max_requests,
                self.suite.max_rate_per_s,
                self.suite.allow_hosts,
                search_path,
                turns,
                sum(parts[: scenarios.index(scenario)]),
                sum(parts),
                values,
            )
            for index in range(of)
        ]


def own_modules(targets: Mapping[str, Target], folder: str, has_functions: bool = False) -> list[str]:
    """The folders from which workers import the suite's own functions.

    The working directory and the folder of the suite are among them only if it names functions: what happens to lie
    beside a suite is not to be imported in place of a module that perflib looks for.
    """
    beside = {Path.cwd(), Path(folder).resolve()}
    places = [str(Path(place).resolve()) for place in sys.path]
    if has_functions or any(target.kind == "callable" for target in targets.values()):
        return places
    return [place for place in places if Path(place) not in beside]


def worker_count(scenario: Scenario, suite: Suite, targets: dict[str, Target], least: int = 1) -> int:
    """As many as the load needs, between `least` and the number of cores; one if the order of requests matters."""
    set_by_user = scenario.workers or suite.workers
    if any(targets[name].in_process for name in scenario.reached) or scenario.order in ("interleaved", "blocks"):
        return 1
    if set_by_user:
        return set_by_user
    peak_per_s = max(peak_rate_per_s(part, suite.folder) for part in scenario.load.parts())
    needed = peak_per_s * scenario.requests_each / RATE_PER_WORKER
    together = next((len(group) for group in suite.groups if scenario in group), 1)  # they share the cores
    return max(least, min(max(1, (os.cpu_count() or 1) // together), int(needed) + (needed > int(needed))))


def _filled(text: str | None, values: dict[str, str]) -> str | None:
    for name, value in values.items():
        text = text.replace(name, value) if text else text
    return text
