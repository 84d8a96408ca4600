"""What a worker does before the load: compile operations, make its driver, run its share of the preparation."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from perflib.errors import TargetError
from perflib.load.generator import plan
from perflib.load.generator.driver import FOREVER, WorkerDriver
from perflib.load.generator.job import Channel, Job, roles
from perflib.load.generator.journey_driver import JourneyDriver
from perflib.load.generator.journeys import Route, Visit
from perflib.load.generator.next_operation import OperationPicker
from perflib.load.generator.script import route_of
from perflib.load.generator.script_driver import ScriptDriver
from perflib.load.generator.user_setup import UserSetup
from perflib.store.schema import Recorder
from perflib.suite.data_file import DataFile, read_data_file
from perflib.suite.load import ClosedLoad, UsersLoad
from perflib.suite.model import Operation, Scenario
from perflib.targets.answer import Reader
from perflib.targets.base import Lane, Op, TargetKind, refuse_foreign
from perflib.targets.kinds import load_kind
from perflib.targets.template import variables_in

OWN_DESCRIPTORS = 64
USERS = 32  # that prepare at once
FEW_FAILURES = 5  # rounds of the preparation that may fail before most of them have to succeed

AnyDriver = TypeVar("AnyDriver", bound=JourneyDriver)


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


def compile_operations(
    job: Job,
    operations: tuple[Operation, ...],
    files: dict[str, DataFile],
    *,
    in_sequence: bool,
    beside: Sequence[TargetKind] = (),
) -> tuple[list[TargetKind], list[Op]]:
    """The targets that these operations need, and the operations, ready to send.

    files         the data files that were read already; further ones are added
    in_sequence   whether each user sends them in turn
    beside        targets that there are already; they come first
    """
    scenario = job.scenario
    functions = scenario.has_functions and operations is scenario.operations
    of_functions = [scenario.target or ""] if functions else []
    targets = list(beside)
    names = [target.name for target in targets]
    for name in (*of_functions, *(operation.target or scenario.target or "" for operation in operations)):
        if name not in names:
            names.append(name)
            targets.append(_target(job, name, in_sequence))
    ops = []
    for code, operation in enumerate(operations):
        index = names.index(operation.target or scenario.target or "")
        request = targets[index].compile(operation)
        variables = variables_in(operation.texts()) | targets[index].variables
        is_ready = getattr(request, "fixed", None) is not None  # whatever it has in braces is filled in already
        data = operation.data
        if data and data not in files:
            where = f"scenario {scenario.name!r}, operation {operation.name!r}"
            files[data] = read_data_file(data, job.folder, where, counted=False)
        ops.append(
            Op(
                operation.name,
                code,
                index,
                operation.weight,
                int((operation.timeout_s or targets[index].spec.timeout_s) * 1e9),
                request,
                Reader.of(operation),
                variables=frozenset() if is_ready else frozenset(variables),
                data=files[data] if data else None,
                pick=operation.pick,
            )
        )
    if functions:
        ops += _of_functions(scenario, targets, len(ops))
    return targets, ops


def _target(job: Job, name: str, in_sequence: bool) -> TargetKind:
    spec = job.targets[name]
    target = load_kind(spec.kind, f"targets.{name}.kind")(name, spec, folder=job.folder)
    target.allow_hosts, target.in_sequence, target.given = job.allow_hosts, in_sequence, job.values
    refuse_foreign(target, job.allow_hosts)
    return target


def _of_functions(scenario: Scenario, targets: list[TargetKind], code: int) -> Iterator[Op]:
    """An operation for each journey in Python, which stands for it in rows that are no request."""
    number = _function_target(scenario, targets)
    timeout_ns = int(targets[number].spec.timeout_s * 1e9)
    labels = [label for label, journey in scenario.flows.items() if journey.function is not None]
    for label in labels:
        yield Op(label, code + labels.index(label), number, 1.0, timeout_ns, None)


def make_driver(job: Job, targets: list[TargetKind], ops: list[Op], recorder: Recorder) -> WorkerDriver:
    """The driver of this job's load."""
    given, keys = (targets, ops, recorder), _driver_keys(job) | {"max_requests": job.max_requests}
    scenario = job.scenario
    if not scenario.flows:
        return WorkerDriver(*given, order=scenario.order, **keys)
    named = {op.name: op for op in ops}
    routes = [
        Route.of(label, journey, named)
        if journey.function is None
        else route_of(label, journey, named[label], job.folder)
        for label, journey in scenario.flows.items()
    ]
    keys |= {"order": scenario.order, "routes": routes, "ends_rounds": scenario.on_error == "end round"}
    if scenario.has_functions:
        return ScriptDriver(*given, number=_function_target(scenario, targets), **keys)
    return JourneyDriver(*given, **keys)


def _function_target(scenario: Scenario, targets: list[TargetKind]) -> int:
    """The number of the target that journeys in Python load."""
    return [target.name for target in targets].index(scenario.target or "")


def driver_through(
    make: type[AnyDriver],
    job: Job,
    targets: list[TargetKind],
    ops: list[Op],
    recorder: Recorder,
    *,
    role: str,
) -> AnyDriver:
    """A driver of users who do all of these operations in order, as a preparation does.

    role   the key of the scenario under which the operations stand
    """
    return make(targets, ops, recorder, order="sequence", routes=[Route.through(ops)], **_driver_keys(job, role))


def _driver_keys(job: Job, role: str = "operations") -> dict[str, Any]:
    return {
        "seed": job.seed,
        "index": job.index,
        "of": job.of,
        "max_rate_per_s": job.max_rate_per_s,
        "folder": job.folder,
        "counter": counter(job, role),
        "given": job.values,
    }


def counter(job: Job, role: str) -> Iterator[int]:
    """The numbers of {counter} for operations under a key of the scenario: no other ones of the run have them."""
    among = roles(job.scenario)
    part = job.part + (among.index(role) if role in among else 0)
    return itertools.count(1 + job.index * job.parts + part, job.of * job.parts)


async def set_up_users(job: Job, driver: WorkerDriver, ops: list[Op]) -> None:
    """Have users do `each_user`: those of a closed load now, all others when they come. Raises TargetError."""
    if not ops:
        return
    numbers = counter(job, "each_user")
    picker = OperationPicker(
        ops, order="sequence", seed=job.seed, index=job.index, of=job.of, counter=numbers, given=job.values,
        beside=driver.ops,
    )  # fmt: skip
    driver.user_setup = UserSetup(driver, ops, picker)
    if not isinstance(job.scenario.load, UsersLoad):
        await driver.user_setup.set_up(driver.new_users(plan.share(job.scenario.load.users, job.index, job.of)))


async def prepare(job: Job, channel: Channel, files: dict[str, DataFile]) -> Any:
    """Run this worker's share of the preparation, whose requests are counted and not measured."""
    from collections import deque

    scenario = job.scenario
    if not scenario.prepare:
        return None
    counts = [operation.count for operation in scenario.prepare if operation.count]
    total = max(counts) if counts else scenario.load.total_requests
    rounds = plan.share(total, job.index, job.of)
    if scenario.reuse_prepared:
        rounds = max(1, rounds)  # what is used again and again, each worker needs once at least
    if not rounds:
        return deque()
    targets, ops = compile_operations(job, scenario.prepare, files, in_sequence=True)
    recorder = Recorder.discarding([op.name for op in ops])
    driver = driver_through(PreparingDriver, job, targets, ops, recorder, role="prepare")
    try:
        for target in targets:
            await target.open(driver)
        rows = await driver.rows_of(rounds)
    finally:
        driver.close()
        for target in targets:
            await target.close()
    channel.send("prepared", requests=recorder.count, failed=sum(recorder.error_counts))
    return deque(rows)


class PreparingDriver(JourneyDriver):
    """Runs whole rounds of the preparation, each of all operations in turn.

    A round with a step that fails is left, and another one made in its place, unless most rounds fail.
    """

    def __init__(self, *given: Any, **keys: Any) -> None:
        super().__init__(*given, **keys)
        self._rows: list[dict[str, Any]] = []
        self._failed_rounds, self._gave_up = 0, False
        self.ends_rounds, self._round = True, 1  # its requests are rounds

    async def rows_of(self, count: int) -> list[dict[str, Any]]:
        """Run `count` rounds. Returns the fields that each keeps. Raises TargetError where most of them fail."""
        of = self.of  # the load of all workers, of which `count` rounds are this one's share; its requests are rounds
        load = ClosedLoad(concurrency=min(USERS, count) * of, requests=count * of)
        await self.run(plan.Segment(load), time.monotonic_ns())
        if self._gave_up or self.stopping or self.ended:
            what = (
                ", ".join(f"{n} × {name}" for name, n in self.recorder.errors_by_class.items())
                or self.stopping
                or self.ended
            )
            failures = self.recorder.failure_records()
            why = next((f" ({text})" for failure in failures for text in failure["texts"]), "")
            mend = "look at the target's log, and at `prepare` in the suite"
            raise TargetError(f"could not prepare the data: {what}{why}", mend=mend)
        return self._rows

    def _reserve(self, visit: Visit) -> None:
        visit.left, self._requests_left = FOREVER, self._requests_left - 1

    def _end_visit(self, user: Lane, error: int) -> None:
        kept = user.visit.kept
        self._leave_off(user)
        if not error:
            self._rows.append(kept)
            return
        self._failed_rounds += 1
        self._requests_left += 1  # its round is still to be made
        if self._failed_rounds >= FEW_FAILURES and self._failed_rounds > len(self._rows):
            self._gave_up, self._requests_left = True, 0
