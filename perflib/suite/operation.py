"""The requests of a suite: one class for each kind of target, because each kind has its own keys.

    Operation(name="buy", method="POST", path="/orders", json={"sku": "{sku}"}, data="skus.csv", weight=1)
    Operation(name="search", tool="search", arguments={"q": "perf"})        # MCP
    Operation(name="tools", method="tools/list")                            # MCP; also "ping", "resources/read"
    Operation(name="f", args=[1, 2], kwargs={"x": 3})                       # callable
    Operation(name="new", path="/new", keep={"order_id": "$.id"})           # {order_id} in later operations

Operation(…) does not know its target yet, so it creates an UnboundOperation. The suite replaces it by an HttpOperation,
or by whichever class its target needs. The comment behind each field is its description in docs/suite.md
(`python -m tools.reference` writes them there).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from perflib.errors import SuiteError
from perflib.suite.family import OTHER, Family, keys_of
from perflib.suite.fields import CONFIG, Count, Name, Pick, Positive, Seq, Text
from perflib.suite.messages import TABLES, in_one_line
from perflib.suite.placeholders import RAW_PATH


@in_one_line("expect")
@dataclass(frozen=True, config=CONFIG)
class Expect:
    """The expected answer; any other is a row with error "check".

    Expect(status=201)   Expect(contains="ok")   Expect(json={"$.state": "done"})
    """

    status: int | Seq[int] | None = None  # the status, or a list of accepted ones
    contains: str | None = None  # text that the answer must contain
    json: Mapping[str, Any] | None = None  # fields of a JSON answer and their values: `{ "$.state" = "done" }`

    @property
    def statuses(self) -> tuple[int, ...]:
        """The accepted statuses; empty where any is."""
        if self.status is None:
            return ()
        return self.status if isinstance(self.status, tuple) else (self.status,)


@plain_dataclass(frozen=True, kw_only=True)
class Operation(Family):
    """One kind of request. Text in braces, like {sku}, is filled in from `data`, `prepare` and the fields in `keep`."""

    TAG, NOUN, PLAIN = "kind", "an operation of kind {!r}", "an operation of kind {!r}"
    HIDDEN = ("kind", "request")

    kind: str = ""  # (not a key of a suite file: the kind of the operation's target)
    name: Name  # name in the report and in objectives
    target: str | None = None  # name of the target; default: the scenario's
    weight: Positive = 1.0  # frequency, relative to the other operations
    data: str | None = None  # file (.csv or .tsv with a header, .jsonl or .json) whose rows fill in {names}
    pick: Pick = "in turn"  # which row of `data` is used; see [data files](#data-files)
    keep: Mapping[str, str] = field(default_factory=dict)  # fields to store: `{ id = "$.id" }` fills in `{id}` later
    expect: Expect | None = None  # the expected answer; any other is an error of class `check`
    timeout_s: Positive | None = None  # a longer request is an error of class `timeout`; default: the target's
    count: Count | None = None  # in `prepare`: how many times; default: once per request of the load

    if TYPE_CHECKING:

        def __init__(self, *, name: str, **keys: Any) -> None: ...

    @classmethod
    def tag_of(cls, value: Any) -> str | None:
        """The kind, "other" for one that does not come with perflib, "" if it is not known yet."""
        tag = super().tag_of(value)
        if tag is None:
            return "" if isinstance(value, Mapping) else None
        return tag if tag in cls.MEMBERS else OTHER

    def texts(self) -> list[Any]:
        """The values that may contain {names}."""
        return []


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class HttpOperation(Operation, tag="http"):
    """A request to an HTTP server."""

    kind: Literal["http"] = "http"
    path: str  # appended to the target's URL: `/items?limit=5`
    method: str | None = None  # HTTP method; default: GET, or POST if there is a body
    headers: Mapping[str, str] = Field(default_factory=dict)  # headers besides the target's
    json: Any = None  # the body as JSON
    body: str | None = None  # the body as text

    def __post_init__(self) -> None:
        if not (self.path.startswith("/") or RAW_PATH.match(self.path)):
            mend = 'begin it with "/", or with "{name|raw}" where a value is a whole path or URL'
            raise SuiteError(f"not a path: {self.path!r}", mend=mend)
        if self.json is not None and self.body is not None:
            raise SuiteError("an operation has both json and body", mend="give one of them")

    def texts(self) -> list[Any]:
        return [self.path, self.json, self.body, dict(self.headers)]


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class McpOperation(Operation, tag="mcp"):
    """A request to an MCP server: a call of a `tool`, or another `method`."""

    kind: Literal["mcp"] = "mcp"
    tool: str | None = None  # the tool to call; with method `session`: within the session
    arguments: Mapping[str, Any] = Field(default_factory=dict)  # the arguments of the tool
    method: str | None = None  # `tools/list`, `ping`, `resources/read`, …, `session`; default: `tools/call`
    uri: str | None = None  # the resource that `resources/read` reads
    params: Mapping[str, Any] = Field(default_factory=dict)  # parameters of any other method

    def texts(self) -> list[Any]:
        return [self.tool, dict(self.arguments), self.uri, dict(self.params)]


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class CallableOperation(Operation, tag="callable"):
    """A call of a Python function."""

    kind: Literal["callable"] = "callable"
    args: Seq[Any] = ()  # positional arguments
    kwargs: Mapping[str, Any] = Field(default_factory=dict)  # arguments by name
    function: str | Callable[..., Any] | None = None  # function to call; default: the target's

    def texts(self) -> list[Any]:
        return [list(self.args), dict(self.kwargs)]


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class OtherOperation(Operation, tag=OTHER):
    """A request to a target of a kind that another package has installed."""

    kind: Text
    options: Mapping[str, Any] = Field(default_factory=dict)  # the keys of this kind

    def texts(self) -> list[Any]:
        return [dict(self.options)]


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class UnboundOperation(Operation, tag=""):
    """An operation whose target is not known yet. `request`: the keys that only some kinds have."""

    request: Mapping[str, Any] = Field(default_factory=dict)  # (not a key of a suite file)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: Any) -> Any:
        """Move the keys that some kind has to `request`. Keys of no kind are left where they are, and refused later."""
        keys = given.kwargs or {} if isinstance(given, ArgsKwargs) else given
        if not isinstance(keys, dict):
            return given
        of_kinds = {key for member in cls.MEMBERS.values() for key in keys_of(member)} - set(keys_of(cls))
        rest = {key: value for key, value in keys.items() if key not in of_kinds}
        request = {**keys.get("request", {}), **{key: keys[key] for key in keys if key in of_kinds}}
        return ArgsKwargs((), {**rest, "request": request})


TABLES.update({"operations": Operation, "prepare": Operation})


def bound(operation: Operation, kind: str, where: str) -> Operation:
    """The operation as one of that kind. Raises SuiteError, with the place, for a key that the kind does not have."""
    if operation.kind == kind:
        return operation
    if not isinstance(operation, UnboundOperation):
        what = f"operation {operation.name!r} is of kind {operation.kind!r}, but its target of kind {kind!r}"
        raise SuiteError(what, where=where, mend=f"create it with Operation(name={operation.name!r}, …)")
    common = {name: getattr(operation, name) for name in keys_of(UnboundOperation)}
    try:
        return Operation(kind=kind, **common, **operation.request)
    except SuiteError as error:
        key = error.where.partition(": ")[2]
        raise SuiteError(error.what, where=f"{where}.{key}" if key else where, mend=error.mend) from None
