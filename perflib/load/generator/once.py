"""Sends operations once each, in order, by one user: to set a run up, to tear it down, and to try a suite."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from perflib.load.generator import plan
from perflib.load.generator.driver import WorkerDriver
from perflib.load.generator.job import Job
from perflib.load.generator.journey_driver import JourneyDriver
from perflib.load.generator.journeys import Visit
from perflib.load.generator.next_operation import first_rows
from perflib.load.generator.prepare import compile_operations, driver_through
from perflib.load.generator.sample import Sample, failure_line, sample_of
from perflib.store.schema import NONE_STATUS, Recorder
from perflib.suite.load import ClosedLoad
from perflib.suite.model import Operation
from perflib.suite.redaction import learn_kept
from perflib.targets.base import Lane
from perflib.text import SIGNS, number


@dataclass(frozen=True, slots=True)
class Sent:
    """One operation that was sent once. `error` is "" where its answer is as expected; status None where none came."""

    scenario: str
    operation: str
    error: str
    status: int | None
    milliseconds: float
    bytes_received: int
    sample: Sample

    @property
    def problem(self) -> str:
        """What went wrong, in a line; "" where nothing did."""
        status = NONE_STATUS if self.status is None else self.status
        return failure_line(self.operation, self.error, status, self.sample) if self.error else ""

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


async def send_once(
    job: Job,
    operations: Sequence[Operation],
    sent: list[Sent],
    *,
    role: str = "operations",
    stops: bool = False,
    started: Callable[[WorkerDriver], None] = lambda _: None,
) -> dict[str, Any]:
    """Send these operations of a job, and add each to `sent`. Returns what they have kept.

    role      under which key of the scenario they stand
    stops     whether one that fails is the last one
    started   receives the driver, to stop it
    """
    targets, ops = compile_operations(job, tuple(operations), {}, in_sequence=True)
    recorder = Recorder.discarding([op.name for op in ops])
    driver = driver_through(_OnceDriver, job, targets, ops, recorder, role=role)
    driver.job, driver.sent, driver.stops = job, sent, stops
    if job.scenario.order == "recorded" and role == "operations":
        driver.first_rows = first_rows(ops)
    started(driver)
    try:
        for target in targets:
            await target.open(driver)
        await driver.run(plan.Segment(ClosedLoad(concurrency=1, requests=len(ops))), time.monotonic_ns())
        fields = driver.users[0].kept_fields if driver.users else {}
        return {name: fields[name] for operation in operations for name in operation.keep if name in fields}
    finally:
        driver.close()
        for target in targets:
            await target.close()


class _OnceDriver(JourneyDriver):
    """Takes a sample of every request."""

    def __init__(self, *given: Any, **keys: Any) -> None:
        super().__init__(*given, **keys)
        self.job: Job
        self.sent: list[Sent] = []
        self.stops = False
        self.first_rows: dict[str, dict[str, Any]] = {}  # of a recording: the row that each operation is sent with
        self.wants = lambda error: True

    def finish(self, lane: Lane, end_ns: int, first_byte_ns: int, error: int, *answer: int) -> bool:
        status, _, bytes_received, _ = answer
        recorder, scenario = self.recorder, self.job.scenario
        learn_kept(lane.kept_fields, [scenario, *self.job.targets.values()])
        sample = sample_of(lane, status, recorder.failures.why(error)) or Sample("", "", "", "")
        self.sent.append(
            Sent(
                scenario.name,
                lane.op.name,
                recorder.error_name(error),
                None if status == NONE_STATUS else status,
                (end_ns - lane.start_ns) / 1e6,
                bytes_received,
                sample,
            )
        )
        return super().finish(lane, end_ns, first_byte_ns, error, *answer)

    def _send(self, lane: Lane, visit: Visit, now: int) -> bool:
        visit.kept.update(self.first_rows.get(visit.op.name, {}))
        return super()._send(lane, visit, now)

    def _goes_on(self, visit: Visit, now: int) -> bool:
        if visit.error and self.stops:
            visit.left = 0
            return False
        return super()._goes_on(visit, now)
