"""The contract of a target kind: `TargetKind`, its `Lane` (one request at a time) and the `Op` that a lane sends.

A kind subclasses TargetKind and Lane. The driver assigns a request to a lane (`op`, `row`, `scheduled_ns`, `phase`,
`inflight`) and calls `start`. The lane makes the request and calls `driver.finish(lane, …)` when it is over. Where that
returns True, the driver has assigned the next request to the lane, and the lane starts it. Nothing in between is
awaited, which makes it fast.
"""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from perflib.errors import SuiteError
from perflib.suite.answers import Kept
from perflib.suite.data_file import DataFile
from perflib.suite.model import Operation, Target
from perflib.targets.answer import Answer, Reader
from perflib.targets.evidence import Evidence
from perflib.targets.template import UnfilledError


class Driver(Protocol):
    """The driver as a lane sees it."""

    loop: asyncio.AbstractEventLoop
    lock: threading.RLock
    resent: int  # requests that were sent again, since the server had closed the connection before it got them

    def finish(
        self,
        lane: Lane,
        end_ns: int,
        first_byte_ns: int,
        error: int,
        status: int,
        bytes_sent: int,
        bytes_received: int,
        server_ns: int,
    ) -> bool:
        """Record the lane's request, which is over, as a row. True: the next one is assigned, start it."""
        ...

    def error_code(self, error: str) -> int:
        """The code of an error class, as "timeout" or "reset"; 0 stands for no error."""
        ...

    def explain(self, error: str, text: str) -> None:
        """Say why the request whose `finish` comes next failed with this class of error, in words."""
        ...

    def wants(self, error: int) -> bool:
        """Whether evidence is still wanted of requests with this error code, so that their answers are to be read."""
        ...

    def span(self, name: str, start_ns: int, duration_ns: int) -> None:
        """Record a part of the request whose `finish` comes next."""
        ...

    def stop(self, reason: str) -> None:
        """End the load, which is invalid: there is no target any more."""
        ...


@dataclass(slots=True)
class Op:
    """One operation of a scenario, ready to send.

    code           its number among the scenario's operations
    target         the number of its target among those of the scenario
    request        what TargetKind.compile returned for it
    reader         looks at its answers, for `expect` and `keep`; None where nobody does
    variables      names that the request has in braces, which `Lane.row` fills
    data, pick     its data file, and how rows of it are picked
    """

    name: str
    code: int
    target: int
    weight: float
    timeout_ns: int
    request: Any
    reader: Reader | None = None
    variables: frozenset[str] = frozenset()
    data: DataFile | None = None
    pick: str = "in turn"


class Lane(ABC):
    """Makes one request at a time: a connection, a thread or a task.

    row           values for the variables of the request
    kept_fields   fields of earlier answers that operations keep, by name
    visit         the journey that the user is on, which the driver knows; None between two, and where there are none
    own_fields    those that its user has for its whole life, by `each_user`; None before it was done
    siblings      the lanes of the same user, one per target
    start_ns      when the request began; 0 while there is none
    """

    __slots__ = (
        "driver",
        "inflight",
        "kept_fields",
        "op",
        "own_fields",
        "phase",
        "row",
        "scheduled_ns",
        "siblings",
        "start_ns",
        "target",
        "visit",
    )

    def __init__(self, driver: Driver, target: int) -> None:
        self.driver, self.target = driver, target
        self.op: Op = None  # type: ignore[assignment]  # filled by the driver before every start
        self.row: dict[str, Any] = {}
        self.kept_fields: dict[str, Any] = {}
        self.visit: Any = None
        self.own_fields: dict[str, Any] | None = None
        self.scheduled_ns = self.start_ns = self.phase = self.inflight = 0
        self.siblings: list[Lane] = [self]

    @abstractmethod
    def start(self) -> None:
        """Make the request of `op`, and set start_ns."""

    @abstractmethod
    def abort(self, error: str) -> None:
        """End the request in flight at once, as a row with this error."""

    def evidence(self, is_answered: bool) -> Evidence | None:
        """What the request that is just being finished left behind, as far as the lane knows.

        None where there was an answer that the lane did not look at; it then looks at the next ones.
        """
        return Evidence()

    def settle(self) -> None:  # noqa: B027
        """The user of this lane has been set up: what the lane holds by now, as cookies, is the user's for good."""

    def close(self) -> None:  # noqa: B027 (nothing to release is the usual case)
        """Release what the lane holds. It is not used again."""


class TargetKind(ABC):
    """A target of one kind, in one worker.

    threaded      whether lanes call the driver from threads of their own
    children      ids of processes that the target has started, which are sampled with it
    allow_hosts   hosts besides this machine that the suite allows to be loaded
    in_sequence   whether each lane belongs to a user, who is on a journey
    given         values that are the same in all requests, by name: those that the set-up kept
    variables     names that all its requests fill in where they are known, as its headers do
    """

    threaded = False
    children: tuple[int, ...] = ()

    allow_hosts: tuple[str, ...] = ()
    in_sequence = False
    given: Mapping[str, Any] = MappingProxyType({})
    variables: frozenset[str] = frozenset()

    def __init__(self, name: str, spec: Target, *, folder: str = "") -> None:
        self.name, self.spec, self.folder = name, spec, folder

    @classmethod
    @abstractmethod
    def check(cls, name: str, spec: Any, operations: list[Any]) -> None:
        """Raise SuiteError for what this kind cannot do, before anything is started.

        `spec` and `operations` are of this kind.
        """

    @abstractmethod
    def compile(self, operation: Any) -> Any:
        """The operation's `request`, as much of it as can be built beforehand."""

    @abstractmethod
    def lane(self, driver: Driver, index: int) -> Lane:
        """A new lane, which connects with its first request."""

    async def open(self, driver: Driver) -> None:  # noqa: B027
        """Start what all lanes share."""

    async def close(self) -> None:  # noqa: B027
        """Stop what all lanes share."""

    def hosts(self) -> list[str]:
        """Hosts that the load goes to. The suite must allow each that is not loopback."""
        return []

    def info(self) -> dict[str, Any]:
        """Facts about the target for run.json."""
        return {}


def require(condition: object, what: str, *, where: str, mend: str) -> None:
    """Raise SuiteError unless the condition holds."""
    if not condition:
        raise SuiteError(what, where=where, mend=mend)


def refuse_foreign(target: TargetKind, allowed: tuple[str, ...]) -> None:
    """Raise SuiteError where the load would leave this machine without the suite's permission."""
    for host in target.hosts():
        if not (is_loopback(host) or host in allowed):
            mend = f"if you may load it, set allow_hosts = [{host!r}] in the suite"
            raise SuiteError(f"load on {host!r}, which is not this machine", where=f"targets.{target.name}", mend=mend)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def judge(lane: Lane, answer: Answer) -> int:
    """The error code of an answer to the lane's operation, 0 where it is as expected; its fields are kept then."""
    reader = lane.op.reader
    problem = reader.problem(answer, lane.kept_fields) if reader is not None else ""
    if not problem:
        return 0
    lane.driver.explain("check", problem)
    return lane.driver.error_code("check")


def refuse_http_only(operation: Operation) -> None:
    """Raise SuiteError where an operation looks for a status or a header in answers that have none."""
    where, mend = f"operation {operation.name!r}", "only answers of HTTP targets have one"
    expect = operation.expect
    if expect is not None and (expect.statuses or expect.headers):
        key = "status" if expect.statuses else "headers"
        raise SuiteError(
            "the answers of this target have no status and no headers", where=f"{where}.expect.{key}", mend=mend
        )
    for name, kept in operation.keep.items():
        if isinstance(kept, Kept) and (kept.header or kept.cookie):
            raise SuiteError("the answers of this target have no headers", where=f"{where}.keep.{name}", mend=mend)


def in_words(problem: BaseException) -> str:
    """What was raised, for people: a KeyError names what nothing filled."""
    if isinstance(problem, UnfilledError):
        return str(problem)
    if isinstance(problem, KeyError) and problem.args:
        return f"nothing fills {{{problem.args[0]}}}"
    return f"{type(problem).__name__}: {problem}"
