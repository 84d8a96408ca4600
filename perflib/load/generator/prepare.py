"""What a worker does before the load: compile operations, make its driver, run its share of the preparation."""

from __future__ import annotations

import sys
import time
from typing import Any

from perflib.errors import TargetError
from perflib.load.generator import plan
from perflib.load.generator.driver import WorkerDriver
from perflib.load.generator.job import Channel, Job
from perflib.store.schema import Recorder
from perflib.suite.load import ClosedLoad
from perflib.suite.model import Operation
from perflib.targets.base import Op, TargetKind, read_data, refuse_foreign
from perflib.targets.kinds import load_kind
from perflib.targets.template import variables_in

OWN_DESCRIPTORS = 64


def lanes_allowed(job: Job, targets: list[TargetKind]) -> int:
    """How many connections the file descriptors of this process allow. Raises TargetError where users need more."""
    if sys.platform == "win32":
        return 2**31
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return 2**31
    users = plan.share(job.scenario.load.users, job.index, job.of)
    sockets = sum(target.spec.kind != "callable" for target in targets)
    if users * sockets + OWN_DESCRIPTORS > hard:
        needed = users * sockets + OWN_DESCRIPTORS
        what = f"{users} users need about {needed} file descriptors, and a process may have {hard}"
        raise TargetError(
            what, where=f"scenario {job.scenario.name!r}", mend="raise the limit (ulimit -Hn), or use more workers"
        )
    return hard - OWN_DESCRIPTORS


def compile_operations(job: Job, operations: tuple[Operation, ...]) -> tuple[list[TargetKind], list[Op]]:
    """The targets that these operations need, and the operations, ready to send."""
    names = list(dict.fromkeys(operation.target or job.scenario.target or "" for operation in operations))
    targets = []
    for name in names:
        spec = job.targets[name]
        targets.append(load_kind(spec.kind, f"targets.{name}.kind")(name, spec, folder=job.folder))
        refuse_foreign(targets[-1], job.allow_hosts)
    ops = []
    for code, operation in enumerate(operations):
        index = names.index(operation.target or job.scenario.target or "")
        request = targets[index].compile(operation)
        where = f"scenario {job.scenario.name!r}, operation {operation.name!r}"
        ops.append(
            Op(
                operation.name,
                code,
                index,
                operation.weight,
                int((operation.timeout_s or targets[index].spec.timeout_s) * 1e9),
                request,
                dict(operation.keep),
                operation.expect,
                varies=bool(variables_in(operation.texts())),
                reads_answer=bool(operation.keep or operation.expect),
                data=read_data(operation.data, job.folder, where) if operation.data else [],
            )
        )
    return targets, ops


def make_driver(
    job: Job,
    targets: list[TargetKind],
    ops: list[Op],
    recorder: Recorder,
    *,
    order: str | None = None,
    max_requests: int | None = None,
) -> WorkerDriver:
    return WorkerDriver(
        targets,
        ops,
        recorder,
        order=order or job.scenario.order,
        seed=job.seed,
        index=job.index,
        of=job.of,
        max_requests=max_requests,
        max_rate_per_s=job.max_rate_per_s,
        folder=job.folder,
    )


async def prepare(job: Job, channel: Channel) -> Any:
    """Run this worker's share of the preparation, whose requests are counted and not measured."""
    from collections import deque

    scenario = job.scenario
    if not scenario.prepare:
        return None
    counts = [operation.count for operation in scenario.prepare if operation.count]
    total = max(counts) if counts else scenario.load.total_requests
    rounds = plan.share(total, job.index, job.of)
    if not rounds:
        return deque()
    targets, ops = compile_operations(job, scenario.prepare)
    driver = make_driver(job, targets, ops, Recorder.discarding([op.name for op in ops]), order="sequence")
    try:
        for target in targets:
            await target.open(driver)
        rows = await _prepared_rows(driver, rounds)
    finally:
        driver.close()
        for target in targets:
            await target.close()
    channel.send("prepared", requests=driver.recorder.count)
    return deque(rows)


async def _prepared_rows(driver: WorkerDriver, count: int, users: int = 32) -> list[dict[str, Any]]:
    """Run `count` rounds of the driver's operations in sequence. Returns the fields that each round keeps.

    Raises TargetError where a request failed.
    """
    driver.prepared_rows = []
    users = min(users, count)
    load = ClosedLoad(concurrency=users, requests=count)  # these requests are rounds
    await driver.run(plan.Segment(load), time.monotonic_ns())
    failed = driver.recorder.errors_by_class
    if failed:
        what = ", ".join(f"{n} × {name}" for name, n in failed.items())
        raise TargetError(
            f"could not prepare the data: {what}", mend="look at the target's log, and at `prepare` in the suite"
        )
    return driver.prepared_rows
