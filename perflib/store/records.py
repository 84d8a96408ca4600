"""What run.json holds: one class per thing that a run records, from a segment of load to the host it ran on.

They keep keys that they do not know, which a newer version may have written. `perflib.store.manifest` reads and writes
the file.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from perflib.text import one_line

RunStatus = Literal["running", "complete", "interrupted", "invalid"]

_FAILURES_SAID: Final = 6  # kinds of failure in a line
_TEXTS_SAID: Final = 3  # of each
_LONGEST_SAID: Final = 80
_RUN: Final = re.compile(r"[\w+-][\w.+@-]{0,199}")
_PART: Final = re.compile(r"(rows|resources|spans|gauges|samples)/part-[\w.-]+\.parquet", re.ASCII)


def _run_name(name: str) -> str:
    if not _RUN.fullmatch(name):
        raise PydanticCustomError("name", "is no name of a run: it has other signs than letters, digits and .+-@_")
    return name


def _part_name(name: str) -> str:
    if not _PART.fullmatch(name):
        raise PydanticCustomError("name", "is no part file of this run")
    return name


RunName = Annotated[str, AfterValidator(_run_name)]
PartName = Annotated[str, AfterValidator(_part_name)]
Whole = Annotated[int, Field(ge=-(2**61), le=2**61)]  # a number or a time that arrays and the database can hold


class Record(BaseModel):
    """The base class of all records. It keeps unknown keys, which a newer version may have written."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, defer_build=True)


class Segment(Record):
    """A stretch of a scenario's load: a warm-up, a stage, a step, a block or a turn."""

    phase: str
    start_ns: Whole
    stop_ns: Whole
    stage: Whole | None = None
    operation: str | None = None
    turn: Whole | None = None
    offered: Whole = 0  # requests that were due


class UnansweredRecord(Record):
    """What the users of closed loads waited for in vain, s, and how many still did when a load ended."""

    users_s: float = 0.0
    waited_s: float = 0.0
    users: Whole = 0
    at_end: Whole = 0


class WorkerRecord(Record):
    """One worker: its number of requests, and the health of the load generator."""

    worker: Whole
    pid: Whole | None = None
    rows: Whole = 0
    errors: Whole = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    loop_cpu_s: float = 0.0
    loop_pause_ms: dict[str, float | None] = Field(default_factory=dict)
    own_pause_share: float = 0.0  # of its pauses, in which its event loop was at work
    gc_count: Whole = 0
    gc_ms: float = 0.0
    late_ms: dict[str, float | None] = Field(default_factory=dict)
    waited: Whole = 0
    few_descriptors: bool = False  # file descriptors, and not max_connections, bounded its connections
    unanswered: UnansweredRecord = Field(default_factory=UnansweredRecord)


class MissingWorker(Record):
    """A worker that was lost, and since when its share of the load is missing."""

    worker: Whole
    host: str = ""
    what: str = ""
    share: float = 0.0
    at_ns: Whole = 0
    after_s: float | None = None


class MachineShares(Record):
    """The use of the generator's machine during the load, as shares of all its cores."""

    seconds: float = 0.0
    busy_share: float = 0.0
    other_share: float = 0.0
    steal_share: float = 0.0
    throttled_share: float = 0.0  # of the time in which a limit of the CPU (cgroup) held this process back
    clock_ns: float = 0.0


class ClockRecord(Record):
    """The clock of another machine, compared with the coordinator's."""

    host: str = ""
    workers: list[Whole] = Field(default_factory=list)
    offset_ns: float = 0.0
    uncertainty_ns: float = 0.0
    drift_ns: float | None = None


class PrepareRecord(Record):
    """Operations that are not measured: those of `prepare`, or of `each_user`."""

    requests: Whole = 0
    failed: Whole = 0  # of them; their rounds were made again


class FailureRecord(Record):
    """The requests of one operation that failed with one class of error, those of the warm-up among them."""

    operation: str
    error: str
    requests: Whole = 0
    texts: dict[str, Whole] = Field(default_factory=dict)  # why, and how often: of errors of the server, of the samples

    @property
    def why(self) -> str:
        """'KeyError: id 41', 'KeyError: id 7', …; "" where nothing is known."""
        texts = [text for text, _ in sorted(self.texts.items(), key=lambda item: -item[1])]
        more = ", …" if len(texts) > _TEXTS_SAID else ""
        return ", ".join(f"'{one_line(text, _LONGEST_SAID)}'" for text in texts[:_TEXTS_SAID]) + more

    @property
    def in_words(self) -> str:
        """20 × http_5xx 'KeyError: id 41' in `get item`."""
        return " ".join(filter(None, (f"{self.requests:,} × {self.error}", self.why, f"in `{self.operation}`")))


class ScenarioRecord(Record):
    """What happened to one scenario."""

    name: str
    status: str = "running"
    start_ns: Whole | None = None
    stop_ns: Whole | None = None
    segments: list[Segment] = Field(default_factory=list)
    prepare: PrepareRecord = Field(default_factory=PrepareRecord)
    workers: list[WorkerRecord] = Field(default_factory=list)
    missing: list[MissingWorker] = Field(default_factory=list)
    doubts: list[str] = Field(default_factory=list)
    unsent: Whole = 0
    resent: Whole = 0  # sent again on a new connection, since the server had closed the one that they were written to
    failures: list[FailureRecord] = Field(default_factory=list)
    operations: list[str] = Field(default_factory=list)  # of journeys in Python: the names of their requests
    machine: MachineShares | None = None
    clocks: list[ClockRecord] = Field(default_factory=list)
    ended: str = ""  # why the load ended early, if that is no failure
    used_up: str = ""  # which data ended the load, where its rows are used once
    each_user: PrepareRecord = Field(default_factory=PrepareRecord)  # what users did before their first request
    left_behind: list[str] = Field(default_factory=list)  # what its teardown, or that of the suite, could not do

    def add_failure(self, new: FailureRecord) -> None:
        """Take the failures of another worker into account."""
        for known in self.failures:
            if (known.operation, known.error) == (new.operation, new.error):
                known.requests += new.requests
                for text, count in new.texts.items():
                    known.texts[text] = known.texts.get(text, 0) + count
                return
        self.failures.append(new)

    @property
    def error_texts(self) -> dict[str, dict[str, int]]:
        """Why requests failed, and how often, by class of error."""
        texts: dict[str, Counter[str]] = {}
        for failure in self.failures:
            texts.setdefault(failure.error, Counter()).update(failure.texts)
        return {error: dict(counted) for error, counted in texts.items() if counted}

    @property
    def trouble(self) -> list[str]:
        """What was not as planned, in words, failed requests first, the most frequent ones; empty where all was.

        30 errors: 20 × http_5xx 'KeyError: id 41' in `get item`, 10 × timeout in `list`
        """
        said, each = [], sorted(self.failures, key=lambda failure: -failure.requests)
        if each:
            total, rest = sum(failure.requests for failure in each), len(each) - _FAILURES_SAID
            more = f", and {rest} more kinds" if rest > 1 else ", and 1 more kind" if rest == 1 else ""
            listed = ", ".join(failure.in_words for failure in each[:_FAILURES_SAID])
            said.append(f"{total:,} error{'s' if total > 1 else ''}: {listed}{more}")
        return [*said, *self.remarks]

    @property
    def remarks(self) -> list[str]:
        """What was not as planned besides failed requests, in words."""
        said = []
        if self.resent:
            once = "1 request was" if self.resent == 1 else f"{self.resent:,} requests were"
            said.append(f"{once} sent again on a new connection, since the server had closed the one that was kept")
        if self.used_up:
            said.append(f"the load ended early: {self.used_up}")
        return [*said, *self.left_behind]

    @property
    def requests(self) -> int:
        """The number of requests of its workers, including the warm-up."""
        return sum(worker.rows for worker in self.workers)

    @property
    def seconds(self) -> float | None:
        """The time from its first request to its end, in s; None if it has not ended."""
        if self.start_ns is None or self.stop_ns is None:
            return None
        return (self.stop_ns - self.start_ns) / 1e9


class TargetRecord(Record):
    """A target: its address, and what it reports about itself (further keys belong to its kind)."""

    kind: str = ""
    via: list[str] = Field(default_factory=list)  # other targets whose processes are sampled for this one
    pids: list[Whole] = Field(default_factory=list)
    url: str | None = None
    host: str | None = None
    port: Whole | None = None
    exit_code: Whole | None = None
    unread: list[str] = Field(default_factory=list)  # why readings of its own metrics (`gauges`) failed


class Event(Record):
    """Something that happened during the run."""

    t_ns: Whole
    kind: str
    text: str


class ProcessRecord(Record):
    """The coordinator's process."""

    pid: Whole
    created: float


class HostRecord(Record):
    """The machine of the run's coordinator."""

    cpu: str = ""
    cores: Whole = 0
    memory_bytes: Whole = 0
    os: str = ""
    kernel: str = ""
    machine: str = ""
    load_average: float | None = None


class GitRecord(Record):
    """The commit of the folder in which the run was started."""

    commit: str = ""
    dirty: bool = False
    committed_at: str = ""  # when the commit was made, in UTC; runs of early versions do not say

    @property
    def words(self) -> str:
        """4f5e6d7c8b9a with uncommitted changes."""
        return f"{self.commit[:12]}{' with uncommitted changes' if self.dirty else ''}"


class Replacing(Record):
    """Part files that a compaction replaces. Only the new ones are valid; `rows` is the number of their rows."""

    old: list[PartName] = Field(default_factory=list)
    new: list[PartName] = Field(default_factory=list)
    rows: Whole | None = None


class RepeatRecord(Record):
    """The place of a run among those of one `perflib run --repeat`."""

    first: RunName  # the id of their first run
    number: Whole  # from 1


class AbRecord(Record):
    """The two sides of an A/B test (`a`, `b`: overrides of the suite), and the looks at each scenario."""

    a: list[str] = Field(default_factory=list)
    b: list[str] = Field(default_factory=list)
    block_s: float = 1.0
    budget_s: float = 0.0
    margin_percent: dict[str, float | None] = Field(default_factory=dict)
    scenarios: dict[str, dict[str, Any]] = Field(default_factory=dict)


class TimeRecord(Record):
    """What the response times of another tool mean.

    clock_ns: the steps in which it records when a request was sent; 0 where it does not record that.
    error_ns: how far a recorded time may be from the real one, because of the steps in which it is recorded.
    """

    begins: str  # "the request was sent"
    ends: str  # "last byte"
    connecting: Literal["included", "left out", "unknown"] = "unknown"
    clock_ns: int = 0
    error_ns: int = 0

    @property
    def meaning(self) -> str:
        """What makes two times comparable: from when, until when, and whether connecting is part of them."""
        connecting = {"included": "with connecting", "left out": "without connecting"}.get(
            self.connecting, "with or without connecting"
        )
        return f"from when {self.begins} until the {self.ends}, {connecting}"

    @property
    def in_words(self) -> str:
        """The meaning, and how exact the times are."""
        exact = f"; exact to {_step(self.error_ns)}" if self.error_ns else ""
        clock = f"when it was sent is known to {_step(self.clock_ns)}" if self.clock_ns > 1 else ""
        clock = clock if self.clock_ns else "when it was sent is not known, so that a rate says nothing"
        return f"{self.meaning}{exact}{f'; {clock}' if clock else ''}"


def _step(ns: int) -> str:
    return next(
        f"{ns / size:g} {unit}" for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")) if ns >= size
    )


class FigureRecord(Record):
    """A figure without the requests that it is of. name: as an objective names it, like "p95 response"; operation: None
    for all of the scenario; low, high: between which it is for certain; n: how many requests."""

    scenario: str
    operation: str | None = None
    name: str
    value: float | None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    n: Whole | None = None


class ImportRecord(Record):
    """Where the requests of a run come from that another tool has made.

    all_requests: whether its files have the requests that failed; without them, nothing is known about errors.
    figures: of a run that has figures alone, and no requests.
    """

    tool: str
    format: str
    files: list[str] = Field(default_factory=list)
    time: TimeRecord
    all_requests: bool = True
    notes: list[str] = Field(default_factory=list)
    figures: list[FigureRecord] = Field(default_factory=list)
