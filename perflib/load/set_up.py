"""`setup` and `teardown`: operations that are done once, before and after the load, and what they keep.

They are sent by the coordinator itself, from a thread with an event loop of its own, so that this works in a script and
in a running Jupyter kernel.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from perflib.errors import PerflibError, TargetError
from perflib.load.generator.driver import WorkerDriver
from perflib.load.generator.generated import is_generated
from perflib.load.generator.job import Job
from perflib.load.generator.once import Sent, send_once
from perflib.load.scenario import environment
from perflib.load.workers import callables_env
from perflib.suite.model import Operation
from perflib.targets.template import variables_in

TEARDOWN_S: Final = 30.0  # for all its operations together
_ENDING_S: Final = 2.0  # that requests in flight may take when the user interrupts


def set_up(job: Job, values: dict[str, Any], show: Callable[[list[Sent]], None] = lambda _: None) -> None:
    """Do the `setup` of a job's scenario. What it keeps is added to `values`. Raises TargetError where one fails.

    show   receives what was sent
    """
    problem = _do(job, "setup", job.scenario.setup, values, show, stops=True)
    if problem:
        where = f"setup of {job.scenario.name!r}"
        raise TargetError(problem, where=where, mend="look at the target's log, and at `setup` in the suite")


def tear_down(job: Job, values: dict[str, Any], show: Callable[[list[Sent]], None] = lambda _: None) -> list[str]:
    """Do the `teardown` of a job's scenario, as far as its values are known. Returns what went wrong, in lines."""
    known, problems, operations = set(values), list[str](), list[Operation]()
    for operation in job.scenario.teardown:
        lacking = [name for name in variables_in(operation.texts()) - known if not is_generated(name)]
        if lacking and not operation.data:
            problems.append(f"operation {operation.name!r} was left out: {{{min(lacking)}}} has no value")
        else:
            operations.append(operation)
            known |= set(operation.keep)
    problem = _do(job, "teardown", operations, values, show, seconds=TEARDOWN_S) if operations else ""
    return [*problems, *([problem] if problem else [])]


def _do(
    job: Job,
    role: str,
    operations: Sequence[Operation],
    values: dict[str, Any],
    show: Callable[[list[Sent]], None],
    *,
    stops: bool = False,
    seconds: float = float("inf"),
) -> str:
    """Send operations once each, and add what they keep to the values. Returns the first problem, or ""."""
    sent, drivers, raised = list[Sent](), list[WorkerDriver](), list[Exception]()
    job = replace(job, index=0, of=1, max_requests=None, values=dict(values))

    async def work() -> None:
        values.update(await send_once(job, operations, sent, role=role, stops=stops, started=drivers.append))

    def run() -> None:
        try:
            asyncio.run(work())
        except Exception as problem:
            raised.append(problem)

    with environment(callables_env(job.targets)):
        thread = threading.Thread(target=run, name=role, daemon=True)
        thread.start()
        until = time.monotonic() + seconds
        try:
            while thread.is_alive() and time.monotonic() < until:
                thread.join(0.1)
        finally:
            if thread.is_alive():
                for driver in drivers:
                    driver.loop.call_soon_threadsafe(driver.stop, "interrupted")
                thread.join(_ENDING_S)
    show(sent)
    if raised and not isinstance(raised[0], PerflibError | OSError):
        raise raised[0]
    if raised:
        return str(raised[0])
    if time.monotonic() >= until:
        return f"its operations did not end within {seconds:g} s"
    return next((each.problem for each in sent if each.error), "")


def try_out(job: Job, show: Callable[[list[Sent]], None]) -> None:
    """Send each operation of a scenario once: what a user does first, what is prepared, and those of the load.

    Raises TargetError where the target itself fails, and not an answer.
    """
    scenario = job.scenario
    operations = (*scenario.each_user, *scenario.prepare, *scenario.operations)
    if not operations:  # all of it is journeys in Python, whose requests nobody knows before
        return
    tried: list[Sent] = []
    problem = _do(job, "operations", operations, dict(job.values), tried.extend)
    show(tried)
    if problem and not any(each.error for each in tried):
        raise TargetError(problem)
