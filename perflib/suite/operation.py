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
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from perflib.errors import SuiteError
from perflib.suite.answers import Expect, Source
from perflib.suite.environment import VARIABLE
from perflib.suite.family import OTHER, Family, keys_of
from perflib.suite.fields import CONFIG, Count, Name, Pick, Positive, Seq, Text
from perflib.suite.messages import TABLES, in_one_line
from perflib.suite.placeholders import RAW_PATH


@plain_dataclass(frozen=True, kw_only=True)
class Operation(Family):
    """One kind of request. Text in braces, like {sku}, is filled in from `data`, `setup`, `prepare` and `keep`.

    >>> buy = Operation(name="buy", method="POST", path="/orders", json={"sku": "{sku}"}, data="skus.csv")
    >>> call = Operation(name="search", tool="search", arguments={"text": "{word}"}, weight=3)
    """

    TAG, NOUN, PLAIN = "kind", "an operation of kind {!r}", "an operation of kind {!r}"
    HIDDEN = ("kind", "request")

    kind: str = ""  # (not a key of a suite file: the kind of the operation's target)
    name: Name  # name in the report and in objectives
    target: str | None = None  # name of the target; default: the scenario's
    weight: Positive = 1.0  # frequency, relative to the other operations
    data: str | None = None  # file (.csv, .tsv, .jsonl, .json or .parquet) whose rows fill in {names}
    pick: Pick = "in turn"  # which row of `data` is used; see [data files](#data-files)
    keep: Mapping[str, Source] = field(default_factory=dict)  # fields to store: `{ id = "$.id" }` fills in `{id}`
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

    def files(self) -> list[str]:
        """The files that are sent, relative to the suite."""
        return []


@in_one_line("multipart")
@dataclass(frozen=True, config=CONFIG)
class Upload:
    """A file in a form."""

    file: Text  # the file, relative to the suite
    name: str | None = None  # its name for the server; default: that of the file
    type: str | None = None  # its media type; default: by its suffix


def _as_part(value: Any) -> Any:
    return Upload(**value) if isinstance(value, Mapping) else value


Part = Annotated[str | Upload, BeforeValidator(_as_part)]


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class HttpOperation(Operation, tag="http"):
    """A request to an HTTP server."""

    kind: Literal["http"] = "http"
    path: str  # appended to the target's URL: `/items?limit=5`
    method: str | None = None  # HTTP method; default: GET, or POST if there is a body
    params: Mapping[str, Any] = Field(default_factory=dict)  # the query, encoded: `{ q = "a b", tag = ["x", "y"] }`
    headers: Mapping[str, str] = Field(default_factory=dict)  # headers besides the target's
    json: Any = None  # the body as JSON
    form: Mapping[str, Any] | None = None  # the body as a form of a web page: `{ user = "{user}" }`
    multipart: Mapping[str, Part] | None = None  # the body as a form with files: `{ photo = { file = "a.png" } }`
    body: str | None = None  # the body as text
    body_file: str | None = None  # a file whose bytes are the body

    def __post_init__(self) -> None:
        if not (self.path.startswith("/") or RAW_PATH.match(self.path)):
            mend = 'begin it with "/", or with "{name|raw}" where a value is a whole path or URL'
            raise SuiteError(f"not a path: {self.path!r}", mend=mend)
        if len(self.bodies) > 1:
            raise SuiteError(f"an operation has both {' and '.join(self.bodies)}", mend="give one of them")

    @property
    def bodies(self) -> list[str]:
        """The keys that say what the body is; at most one."""
        return [key for key in ("json", "form", "multipart", "body", "body_file") if getattr(self, key) is not None]

    def texts(self) -> list[Any]:
        parts = [part for part in (self.multipart or {}).values() if isinstance(part, str)]
        headers = {name: VARIABLE.sub("", value) for name, value in self.headers.items()}  # ${NAME} is filled in before
        return [self.path, dict(self.params), headers, self.json, self.form, self.body, parts]

    def files(self) -> list[str]:
        uploads = [part.file for part in (self.multipart or {}).values() if isinstance(part, Upload)]
        return uploads + ([] if self.body_file is None else [self.body_file])


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class McpOperation(Operation, tag="mcp"):
    """A request to an MCP server: a call of a `tool`, or another `method`."""

    kind: Literal["mcp"] = "mcp"
    tool: str | None = None  # the tool to call; with method `session`: within the session
    arguments: Mapping[str, Any] = Field(default_factory=dict)  # the arguments of the tool
    method: str | None = None  # any other method, as `tools/list`, `ping`, `resources/read`, `session`
    uri: str | None = None  # the resource that `resources/read` reads
    params: Mapping[str, Any] = Field(default_factory=dict)  # parameters of any other method
    headers: Mapping[str, str] = Field(default_factory=dict)  # over HTTP: headers besides the target's
    all_pages: StrictBool = False  # read a list to its end: the pages are one request, with a span for each

    def texts(self) -> list[Any]:
        headers = {name: VARIABLE.sub("", value) for name, value in self.headers.items()}  # ${NAME} is filled in before
        return [self.tool, dict(self.arguments), self.uri, dict(self.params), headers]


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


TABLES.update(dict.fromkeys(("operations", "prepare", "setup", "each_user", "teardown"), Operation))


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
