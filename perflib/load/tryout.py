"""Tries a suite: each operation of its scenarios is sent once, in order, and what was sent and answered is shown.

for tried in try_suite(suite): tried.operation, tried.error, tried.sample.request, tried.sample.body
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, replace
from typing import Any

from perflib.errors import TargetError
from perflib.load.generator import plan
from perflib.load.generator.job import Job
from perflib.load.generator.journey_driver import JourneyDriver
from perflib.load.generator.prepare import compile_operations, driver_through
from perflib.load.generator.sample import Sample, sample_of
from perflib.load.preflight import check
from perflib.load.progress import Quiet
from perflib.load.scenario import environment
from perflib.load.session import Session
from perflib.load.workers import callables_env
from perflib.store.schema import NONE_STATUS, Recorder
from perflib.suite.load import ClosedLoad
from perflib.suite.model import Scenario, Suite
from perflib.targets.base import Lane
from perflib.text import SIGNS, number


@dataclass(frozen=True, slots=True)
class Tried:
    """One operation that was sent once. `error` is "" where its answer is as expected; status None where none came."""

    scenario: str
    operation: str
    error: str
    status: int | None
    milliseconds: float
    bytes_received: int
    sample: Sample

    @property
    def in_words(self) -> str:
        """A heading, the request with ">" before its lines, and the answer with "<" before its."""
        failed = " ".join(filter(None, (self.error, f"'{self.sample.message}'" if self.sample.message else "")))
        sign = SIGNS["fail"] if self.error else SIGNS["pass"]
        took = f"{number(self.milliseconds)} ms, {self.bytes_received:,} bytes"
        lines = [f"{sign} {self.scenario}, {self.operation}: {failed if self.error else 'as expected'} ({took})"]
        lines += [f"  > {line}" for line in self.sample.request.splitlines()]
        answer = f"{self.sample.head}\n\n{self.sample.body}".strip("\n")
        lines += [f"  < {line}" for line in answer.splitlines()]
        return "\n".join(line.rstrip() for line in lines) + "\n"


def try_suite(suite: Suite) -> list[Tried]:
    """Start the targets and send each operation once, those of `prepare` first, all by one user.

    Nothing of it is stored. Raises SuiteError; and TargetError where a target does not start or answer.
    """
    check(suite)
    with tempfile.TemporaryDirectory(prefix="perflib-try-") as folder:
        session = _Trying(suite, folder)
        try:
            session.go()
        finally:
            session.end()
        if session.manifest.status == "invalid":
            raise TargetError("; ".join(session.manifest.reasons))
        return session.tried


class _Trying(Session):
    """A session that sends each operation once instead of a load."""

    def __init__(self, suite: Suite, folder: str) -> None:
        super().__init__(suite, folder, "perflib try", False, lambda _: Quiet(), lambda _scenario, _folder: [])
        self.tried: list[Tried] = []

    def _scenario(self, scenario: Scenario) -> None:
        job = replace(self._jobs(scenario, False)[0], index=0, of=1, max_requests=None)
        with environment(callables_env(job.targets)):
            self.tried += asyncio.run(_tried(job))


async def _tried(job: Job) -> list[Tried]:
    operations = (*job.scenario.prepare, *job.scenario.operations)
    if not operations:  # all of it is journeys in Python, whose requests nobody knows before
        return []
    targets, ops = compile_operations(job, operations, {}, in_sequence=True)
    recorder = Recorder.discarding([op.name for op in ops])
    driver = driver_through(_TryingDriver, job, targets, ops, recorder)
    driver.scenario = job.scenario.name
    try:
        for target in targets:
            await target.open(driver)
        await driver.run(plan.Segment(ClosedLoad(concurrency=1, requests=len(ops))), time.monotonic_ns())
        return driver.tried
    finally:
        driver.close()
        for target in targets:
            await target.close()


class _TryingDriver(JourneyDriver):
    """Takes a sample of every request."""

    def __init__(self, *given: Any, **keys: Any) -> None:
        super().__init__(*given, **keys)
        self.tried: list[Tried] = []
        self.scenario = ""
        self.wants = lambda error: True

    def finish(self, lane: Lane, end_ns: int, first_byte_ns: int, error: int, *answer: int) -> bool:
        status, _, bytes_received, _ = answer
        recorder = self.recorder
        sample = sample_of(lane, status, recorder.failures.why(error)) or Sample("", "", "", "")
        self.tried.append(
            Tried(
                self.scenario,
                lane.op.name,
                recorder.error_name(error),
                None if status == NONE_STATUS else status,
                (end_ns - lane.start_ns) / 1e6,
                bytes_received,
                sample,
            )
        )
        return super().finish(lane, end_ns, first_byte_ns, error, *answer)
