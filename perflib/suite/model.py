"""What to run: Suite ∋ Scenario (Load, Operation, Objective) and Target, frozen and validated.

    suite = Suite(name="checkout",
                  targets={"api": Target(kind="http", url="http://127.0.0.1:8080")},
                  scenarios=[Scenario(name="browse", target="api",
                                      operations=[Operation(name="list", path="/items")],
                                      load=Load(model="constant", rate_per_s=500, duration_s=20),
                                      objectives=["p99 response < 250 ms"])])

The same names are the keys of a suite's TOML file; `perflib.suite.file` reads those. What each field is for stands behind it in a
comment: docs/suite.md is made of these (`python -m tools.reference`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, ValidationError
from pydantic.dataclasses import dataclass

from perflib.errors import SuiteError
from perflib.suite.messages import one_line
from perflib.suite.objectives import ErrorBurst, Objective

T = TypeVar("T")
_CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False, populate_by_name=True)

Seq = Annotated[tuple[T, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^:\n]+$")]

Judged = Annotated[Objective, BeforeValidator(lambda v: Objective.parse(v) if isinstance(v, str) else v)]
Burst = Annotated[ErrorBurst, BeforeValidator(lambda v: ErrorBurst.parse(v) if isinstance(v, str) else v)]
Figure = Annotated[Objective, BeforeValidator(lambda v: Objective.parse(v, judged=False) if isinstance(v, str) else v)]

STEADY = ("closed", "constant", "poisson")  # loads of one level: of these, longer is more of the same
MODELS = ("closed", "constant", "poisson", "ramp", "stages", "spike", "steps", "replay")
_NEEDS: dict[str, tuple[str, ...]] = {
    "closed": ("concurrency",),
    "constant": ("rate_per_s", "duration_s"),
    "poisson": ("rate_per_s", "duration_s"),
    "ramp": ("from_per_s", "to_per_s", "duration_s"),
    "stages": ("stages",),
    "spike": ("rate_per_s", "spike_rate_per_s", "spike_at_s", "spike_s", "duration_s"),
    "steps": ("from_per_s", "to_per_s", "step_per_s", "step_s"),
    "replay": ("starts",),
}
_MAY: dict[str, tuple[str, ...]] = {"closed": ("requests", "duration_s", "think_time_s")}


@dataclass(frozen=True, config=_CONFIG)
class Load:
    """When requests start. Closed: a fixed number of users; the others are open: a schedule that waits for nobody.

    Load(model="closed", concurrency=10, duration_s=20, think_time_s=0.5)    # or requests=1000
    Load(model="constant", rate_per_s=500, duration_s=20)                    # evenly spaced; "poisson": random
    Load(model="ramp", from_per_s=10, to_per_s=500, duration_s=60)           # TOML also: from = 10, to = 500
    Load(model="stages", stages=[Load(...), Load(...)])                      # one after the other
    Load(model="spike", rate_per_s=50, spike_rate_per_s=500, spike_at_s=10, spike_s=2, duration_s=30)
    Load(model="steps", from_per_s=100, to_per_s=1000, step_per_s=100, step_s=10)   # until an objective breaks
    Load(model="replay", starts="starts.csv")                                # seconds since the start, one a line
    """

    model: Literal["closed", "constant", "poisson", "ramp", "stages", "spike", "steps", "replay"]  # when requests start
    concurrency: Count | None = None  # users that are busy at once
    requests: Count | None = None  # ends the load after so many
    duration_s: Positive | None = None  # ends the load after so long
    think_time_s: NotNegative = 0.0  # what a user waits between an answer and the next request
    rate_per_s: Positive | None = None  # requests a second; of a spike: outside of it
    from_per_s: Annotated[float | None, Field(alias="from", ge=0)] = None  # the rate at the start
    to_per_s: Annotated[float | None, Field(alias="to", ge=0)] = None  # the rate at the end; of steps: none goes higher
    stages: Seq[Load] = ()  # loads one after the other; a stage need not name its model
    spike_rate_per_s: Positive | None = None  # the rate within the spike
    spike_at_s: NotNegative | None = None  # when the spike begins
    spike_s: Positive | None = None  # how long it lasts
    step_per_s: Positive | None = None  # how much each step adds to the rate
    step_s: Positive | None = None  # how long a step lasts; its first fifth is left out
    starts: str | Seq[float] | None = None  # a file of when requests are due: seconds, one a line

    def __post_init__(self) -> None:
        needs = _NEEDS[self.model]
        for key in needs:
            if getattr(self, key) in (None, ()):
                raise SuiteError(
                    f"load model {self.model!r} needs {_key(key)!r}", mend=f"a {self.model} load takes {_keys(needs)}"
                )
        known = (*needs, *_MAY.get(self.model, ()), "model")
        for key in self.__dataclass_fields__:
            if key not in known and getattr(self, key) not in (None, (), 0.0):
                mend = f"drop it; a {self.model} load takes {_keys(known[:-1])}"
                raise SuiteError(f"load model {self.model!r} does not take {_key(key)!r}", mend=mend)
        self._possible()

    def _possible(self) -> None:
        if self.model == "closed" and (self.requests is None) == (self.duration_s is None):
            raise SuiteError("a closed load ends by `requests` or by `duration_s`", mend="give exactly one of them")
        if self.model == "closed" and self.requests is not None and self.requests < (self.concurrency or 0):
            mend = f"give at least {self.concurrency} requests, or lower the concurrency"
            raise SuiteError(f"{self.requests} requests cannot keep {self.concurrency} in flight", mend=mend)
        if self.model in ("constant", "poisson") and (self.rate_per_s or 0) * (self.duration_s or 0) < 1:
            raise SuiteError("the load makes less than one request", mend="raise rate_per_s or duration_s")
        if self.model == "ramp" and not (self.from_per_s or self.to_per_s):
            raise SuiteError("a ramp from 0 to 0 makes no request", mend="raise `to`")
        if self.model == "spike" and (self.spike_at_s or 0) + (self.spike_s or 0) > (self.duration_s or 0):
            raise SuiteError("the spike ends after the load", mend="raise duration_s, or start the spike earlier")
        if self.model == "steps" and not any(rate * (self.step_s or 0) >= 1 for rate in self.rates_per_s()):
            raise SuiteError("the steps make no request", mend="raise `to` above `from`, or step_s")
        if any(stage.model == "stages" for stage in self.stages):
            raise SuiteError("stages inside stages", mend="list them all on one level")

    @property
    def is_open(self) -> bool:
        """True where a schedule says when requests start, whatever the answers do."""
        return self.model != "closed" and not any(not s.is_open for s in self.stages)

    def parts(self) -> Iterator[Load]:
        """The stages, or the load itself."""
        yield from self.stages or (self,)

    def rates_per_s(self) -> tuple[float, ...]:
        """The rates of a steps load in turn: from, from + step, … as far as `to`."""
        low, step = self.from_per_s or 0.0, self.step_per_s or 1.0
        return tuple(low + step * i for i in range(1 + math.floor(((self.to_per_s or 0.0) - low) / step + 1e-9)))

    def seconds(self) -> float | None:
        """How long requests are started, s; None where a number of requests ends the load, or a file does."""
        if self.model == "stages":
            each = [s.seconds() for s in self.stages]
            return None if None in each else sum(s for s in each if s is not None)
        if self.model == "steps":
            return (self.step_s or 0.0) * len(self.rates_per_s())
        return self.duration_s


def opening_s(measured_s: float) -> float:
    """What figures leave out at the start where a suite names no warm-up: 5 % of the measured time, at most 2 s."""
    return min(2.0, 0.05 * measured_s)


@dataclass(frozen=True, config=_CONFIG)
class Warmup:
    """Load before the measured one; its rows are kept with phase "warmup". duration_s = 0 turns it off."""

    duration_s: NotNegative  # how long; 0: none


@dataclass(frozen=True, config=_CONFIG)
class Expect:
    """What a good answer looks like; another one is a row with error "check".

    Expect(status=201)   Expect(contains="ok")   Expect(json={"$.state": "done"})
    """

    status: int | Seq[int] | None = None  # the status, or a list of those that are good
    contains: str | None = None  # text that the answer holds
    json: Mapping[str, Any] | None = None  # fields of a JSON answer, as `{ "$.state" = "done" }`


@dataclass(frozen=True, config=_CONFIG)
class Operation:
    """One kind of request. Text in braces, as {sku}, is filled from `data`, from `prepare` and from kept fields.

    Operation(name="buy", method="POST", path="/orders", json={"sku": "{sku}"}, data="skus.csv", weight=1)
    Operation(name="search", tool="search", arguments={"q": "perf"})        # MCP
    Operation(name="tools", method="tools/list")                            # MCP; also "ping", "resources/read" with uri
    Operation(name="f", args=[1, 2], kwargs={"x": 3})                       # callable
    Operation(name="new", path="/new", keep={"order_id": "$.id"})           # {order_id} in later operations
    """

    name: Name  # as it is named in the report and in objectives
    target: str | None = None  # which target it goes to; default: the scenario's
    weight: Positive = 1.0  # how often, against the other operations
    data: str | None = None  # a file (.csv with a header, .jsonl), a row of it for each request, in turn
    keep: Mapping[str, str] = Field(default_factory=dict)  # fields of the answer: `{ id = "$.id" }` fills `{id}`
    expect: Expect | None = None  # what a good answer looks like; another is an error of class `check`
    timeout_s: Positive | None = None  # longer is an error of class `timeout`; default: the target's
    count: Count | None = None  # in `prepare`: how many times; default: once for every request of the load
    method: str | None = None  # HTTP: GET, or POST with a body. MCP: `tools/list`, `ping`, …, `session`
    path: str | None = None  # HTTP: what follows the target's URL
    headers: Mapping[str, str] = Field(default_factory=dict)  # HTTP: besides the target's
    json: Any = None  # HTTP: the body as JSON
    body: str | None = None  # HTTP: the body as text
    tool: str | None = None  # MCP: the tool that is called; with method `session`: within it
    arguments: Mapping[str, Any] = Field(default_factory=dict)  # MCP: the arguments of the tool
    uri: str | None = None  # MCP: what `resources/read` reads
    args: Seq[Any] = ()  # callable: positional arguments
    kwargs: Mapping[str, Any] = Field(default_factory=dict)  # callable: arguments by name
    function: str | Callable[..., Any] | None = None  # callable: instead of the target's
    params: Mapping[str, Any] = Field(default_factory=dict)  # MCP: parameters of any other method


@dataclass(frozen=True, config=_CONFIG)
class Ready:
    """When a started target may be loaded: an HTTP path answers below 400, or its port accepts. Default: the port."""

    http: str | None = None  # a path that answers below 400; default: the port accepts
    timeout_s: Positive = 20.0  # longer is a failed start


@dataclass(frozen=True, config=_CONFIG)
class Target:
    """What is loaded.

    Target(kind="http", url="http://127.0.0.1:8080", headers={"Authorization": "Bearer ${API_TOKEN}"})
    Target(kind="http", url="http://127.0.0.1:{port}", start=["{python}", "server.py", "{port}"], ready={"http": "/health"})
    Target(kind="mcp", url="http://127.0.0.1:8080/mcp")      Target(kind="mcp", command=["npx", "some-server"])
    Target(kind="mcp", url="http://127.0.0.1:8080/mcp", client="sdk", protocol="2025-11-25", session="own", trace=True)
    Target(kind="callable", function="package.module:name")  Target(kind="callable", function=f)
    """

    kind: Text  # `callable`, `http`, `mcp`, or one that is installed
    url: str | None = None  # HTTP, MCP: where it is; `{port}` in it and in `start` is a free one
    command: Seq[str] = ()  # MCP over stdio: the command that serves
    function: str | Callable[..., Any] | None = None  # callable: `package.module:name`, sync or async
    start: Seq[str] = ()  # a command: perflib starts it, samples its processes, stops it; `{python}`, `{port}`
    ready: Ready = Field(default_factory=Ready)  # when what was started may be loaded
    cwd: str | None = None  # where it is started; default: the suite's folder
    env: Mapping[str, str] = Field(default_factory=dict)  # its environment, besides ours; `${NAME}` from ours
    pids: Seq[int] = ()  # processes that already run, to be sampled
    gauges: Annotated[str | None, Field(pattern=r"^/")] = None  # a path that answers numbers in JSON
    headers: Mapping[str, str] = Field(default_factory=dict)  # with every request; `${NAME}` for secrets
    timeout_s: Positive = 30.0  # longer than this is an error of class `timeout`
    keep_alive: StrictBool = True  # HTTP: connections are used again
    verify_tls: StrictBool = True  # HTTP, MCP: certificates are checked
    max_connections: Count = 1024  # HTTP, MCP: at most, in each worker
    in_process: StrictBool = False  # callable: loaded in our process, for what cannot leave it
    client: Literal["lean", "sdk"] = "lean"  # MCP: perflib's own client, or the official SDK's
    protocol: str = "auto"  # MCP: a version of the protocol; `auto`: what both know
    session: Literal["shared", "own"] = "shared"  # MCP: one for all, or one for each connection
    trace: StrictBool = False  # MCP: requests carry a W3C trace context; servers may answer with their own time
    options: Mapping[str, Any] = Field(default_factory=dict)  # what a kind of your own asks for


@dataclass(frozen=True, config=_CONFIG)
class Scenario:
    """One load on one or more targets, and what is asked of it.

    order   "weighted": operations at random by weight (default) · "sequence": each user does all of them in turn ·
            "interleaved": every operation once a round, in random order, with the same data · "blocks": one operation at
            a time for `block_s`, in balanced random order
    prepare each operation of it `count` times (default: once for every request); each measured request takes one round's
            kept fields, once, or again and again with reuse_prepared

    A steps load searches for the target's capacity: the objectives that speak of times, errors or of throughput / offered are
    limits then, judged step by step; the load ends at the first rate that surely breaks one. They neither pass nor fail, but
    say up to which rate they hold; "capacity >= 400 /s" passes where all hold at 400 /s, or at a higher rate.
    """

    name: Name  # as it is named in the report
    operations: Seq[Operation]  # what is requested
    load: Load  # when
    target: str | None = None  # which target; an operation may name another
    description: str = ""  # for the report
    order: Literal["weighted", "sequence", "interleaved", "blocks"] = "weighted"  # which operation is next
    block_s: Positive = 1.0  # of order `blocks`: how long a block lasts
    reuse_prepared: StrictBool = False  # prepared values are used again and again, instead of once each
    warmup: Warmup | None = None  # load before the measured one; default: found in the response times
    prepare: Seq[Operation] = ()  # unmeasured operations before the load, in turn
    workers: Count | None = None  # processes that make the load; default: the suite's
    objectives: Seq[Judged] = ()  # what must hold, one line of text each
    figures: Seq[Figure] = ()  # the same without a limit: measured, shown, not judged
    abort_on: Burst | None = None  # a burst of errors that ends the run: `error rate > 50 % for 5 s`
    quick: Mapping[str, Any] = Field(default_factory=dict)  # keys of the load that `--quick` replaces

    def __post_init__(self) -> None:
        if not self.operations:
            raise SuiteError(f"scenario {self.name!r} has no operations", mend="list at least one under `operations`")
        for group in (self.operations, self.prepare):
            names = [operation.name for operation in group]
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise SuiteError(
                    f"scenario {self.name!r} names an operation twice: {min(twice)!r}", mend="give each its own name"
                )
        if self.order in ("sequence", "blocks") and self.load.model != "closed":
            raise SuiteError(
                f"order {self.order!r} with an open load", mend='use load model "closed", or order "weighted"'
            )
        if self.order == "blocks" and not self.load.duration_s:
            raise SuiteError("order 'blocks' needs a duration", mend="give the load duration_s instead of requests")
        self._check_objectives()

    @property
    def reached(self) -> list[str]:
        """Names of the targets that its operations reach, the first one first."""
        return list(dict.fromkeys(op.target or self.target or "" for op in (*self.operations, *self.prepare)))

    def _check_objectives(self) -> None:
        names = [operation.name for operation in self.operations]
        for objective in (*self.objectives, *self.figures):
            for name in (objective.operation, *(objective.versus or ())):
                if name is not None and name not in names:
                    mend = f"its operations are {', '.join(names)}"
                    raise SuiteError(f"objective {objective.text!r} names an unknown operation {name!r}", mend=mend)
            if objective.versus and self.order not in ("interleaved", "blocks"):
                raise SuiteError(
                    f"objective {objective.text!r} compares operations that are not interleaved",
                    mend='set order = "interleaved"',
                )
            if objective.metric == "median difference" and self.load.concurrency != 1:
                raise SuiteError(
                    f"objective {objective.text!r} needs one request at a time",
                    mend="use a closed load with concurrency = 1",
                )
            if objective.metric == "throughput ratio" and self.order != "blocks":
                raise SuiteError(f"objective {objective.text!r} needs blocks", mend='set order = "blocks"')
            self._check_rates(objective)
            if objective.stage is not None and not 1 <= objective.stage <= len(self.load.stages):
                raise SuiteError(
                    f"objective {objective.text!r}: there is no stage {objective.stage}",
                    mend=f"the load has {len(self.load.stages)} stages",
                )

    def _check_rates(self, objective: Objective) -> None:
        """What only one kind of load can be asked."""
        text, model = objective.text, self.load.model
        if objective.metric == "capacity" and model != "steps":
            raise SuiteError(f"objective {text!r} with a load of one rate", mend='use load model "steps"')
        if objective.metric == "throughput / offered" and not self.load.is_open:
            mend = "use a load with a rate, or ask for the throughput itself"
            raise SuiteError(f"objective {text!r} with a load that offers no rate", mend=mend)
        if model == "steps" and objective.limit is not None and objective.metric in ("throughput", "response drift"):
            mend = 'write "capacity >= 400 /s", and what must hold there as further objectives'
            raise SuiteError(f"objective {text!r} with a load that rises", mend=mend)


@dataclass(frozen=True, config=_CONFIG)
class Suite:
    """Scenarios, run one after the other, and the targets they load."""

    name: Name  # names the runs
    scenarios: Seq[Scenario]  # run one after the other
    targets: Mapping[str, Target] = Field(default_factory=dict)  # by name
    description: str = ""  # for the report
    seed: int = 0  # of all that is random; `--seed` replaces it
    workers: Count | None = None  # processes that make the load; default: as many as it needs, at most the cores
    allow_hosts: Seq[str] = ()  # hosts besides this machine that may be loaded
    max_rate_per_s: Positive | None = None  # no scenario may ask for more
    max_requests: Count | None = None  # a scenario ends there
    on_lost: Literal["stop", "continue"] = "stop"  # a worker is lost: the others stop, or go on without its share
    folder: str = ""  # (not a key: where the suite's file is)

    def __post_init__(self) -> None:
        if not self.scenarios:
            raise SuiteError(f"suite {self.name!r} has no scenarios", mend="add one under [[scenarios]]")
        names = [scenario.name for scenario in self.scenarios]
        for index, scenario in enumerate(self.scenarios):
            where = f"scenarios[{index}] {scenario.name!r}"
            if names.count(scenario.name) > 1:
                raise SuiteError("two scenarios of the same name", where=where, mend="rename one of them")
            for operation in (*scenario.prepare, *scenario.operations):
                self._target_of(scenario, operation, where)

    def _target_of(self, scenario: Scenario, operation: Operation, where: str) -> None:
        name = operation.target or scenario.target
        known = f"targets are {', '.join(self.targets) or 'none'}"
        if name is None:
            raise SuiteError(f"operation {operation.name!r} has no target", where=where, mend=f"set `target`; {known}")
        if name not in self.targets:
            raise SuiteError(f"unknown target {name!r}", where=f"{where}.target", mend=known)


def _key(name: str) -> str:
    return {"from_per_s": "from", "to_per_s": "to"}.get(name, name)


def _keys(names: tuple[str, ...]) -> str:
    return ", ".join(map(_key, names))


TABLES: dict[str, type] = {
    "": Suite, "scenarios": Scenario, "targets": Target, "operations": Operation, "prepare": Operation,
    "load": Load, "stages": Load, "warmup": Warmup, "expect": Expect, "ready": Ready,
}  # fmt: skip


def _complain_in_one_line(cls: type) -> None:
    """Constructing one of ours in Python raises SuiteError, as reading it from a file does."""
    construct = cls.__init__  # type: ignore[misc]

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            construct(self, *args, **kwargs)
        except ValidationError as error:
            raise one_line(error, cls.__name__, {**TABLES, "": cls}) from None

    __init__.__doc__, __init__.__wrapped__ = construct.__doc__, construct  # type: ignore[attr-defined]
    cls.__init__ = __init__  # type: ignore[misc]


for _cls in set(TABLES.values()):
    _complain_in_one_line(_cls)
