"""What is loaded: one class for each kind of target, made by Target(kind=…).

    Target(kind="http", url="http://127.0.0.1:8080", headers={"Authorization": "Bearer ${API_TOKEN}"})
    Target(kind="http", url="http://127.0.0.1:{port}", start=["{python}", "server.py", "{port}"], ready={"http": "/up"})
    Target(kind="mcp", url="http://127.0.0.1:8080/mcp")      Target(kind="mcp", command=["npx", "some-server"])
    Target(kind="mcp", url="http://127.0.0.1:8080/mcp", client="sdk", protocol="2025-11-25", session="own", trace=True)
    Target(kind="callable", function="package.module:name")  Target(kind="callable", function=f)

These classes say what a suite asks for; those of `perflib.targets` make the requests. What each field is for stands
behind it in a comment: docs/suite.md is made of these (`python -m tools.reference`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StrictBool
from pydantic.dataclasses import dataclass

from perflib.suite.family import OTHER, Family
from perflib.suite.fields import CONFIG, Count, Positive, Seq, Text
from perflib.suite.messages import TABLES, in_one_line


@in_one_line("ready")
@dataclass(frozen=True, config=CONFIG)
class Ready:
    """When a started target may be loaded: an HTTP path answers below 400, or its port accepts. Default: the port."""

    http: str | None = None  # a path that answers below 400; default: the port accepts
    timeout_s: Positive = 20.0  # longer is a failed start


@plain_dataclass(frozen=True, kw_only=True)
class Target(Family):
    """What is loaded, and the keys that every kind of target takes."""

    TAG, NOUN, PLAIN = "kind", "a target of kind {!r}", "a target of kind {!r}"

    kind: str  # `http`, `mcp`, `callable`, or one that is installed
    url: str | None = None  # where it is; `{port}` in it and in `start` is a free one
    start: Seq[str] = ()  # a command: perflib starts it, samples its processes, stops it; `{python}`, `{port}`
    ready: Ready = field(default_factory=Ready)  # when what was started may be loaded
    cwd: str | None = None  # where it is started; default: the suite's folder
    env: Mapping[str, str] = field(default_factory=dict)  # its environment, besides ours; `${NAME}` from ours
    pids: Seq[int] = ()  # processes that already run, to be sampled
    gauges: Annotated[str | None, Field(pattern=r"^/")] = None  # a path that answers numbers in JSON
    timeout_s: Positive = 30.0  # longer than this is an error of class `timeout`
    max_connections: Count = 1024  # at most, in each worker

    if TYPE_CHECKING:

        def __init__(self, *, kind: str, **keys: Any) -> None: ...

    @classmethod
    def tag_of(cls, value: Any) -> str | None:
        """The kind, or "other" for one that does not come with perflib."""
        tag = super().tag_of(value)
        return tag if tag is None or tag in cls.MEMBERS else OTHER

    @property
    def in_process(self) -> bool:
        """Whether it is called in perflib's own process; only a callable can be."""
        return False

    @property
    def runs_in_worker(self) -> bool:
        """Whether what is measured runs in the worker itself, as a function or the official SDK does."""
        return False


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class HttpTargetSpec(Target, tag="http"):
    """An HTTP server."""

    kind: Literal["http"] = "http"
    headers: Mapping[str, str] = Field(default_factory=dict)  # with every request; `${NAME}` for secrets
    keep_alive: StrictBool = True  # connections are used again
    verify_tls: StrictBool = True  # certificates are checked


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class McpTargetSpec(Target, tag="mcp"):
    """An MCP server: at a `url`, or a `command` that speaks MCP on its standard input and output."""

    kind: Literal["mcp"] = "mcp"
    command: Seq[str] = ()  # instead of `url`: the command that serves on stdio
    headers: Mapping[str, str] = Field(default_factory=dict)  # with every request; `${NAME}` for secrets
    verify_tls: StrictBool = True  # certificates are checked
    client: Literal["lean", "sdk"] = "lean"  # perflib's own client, or the official SDK's
    protocol: str = "auto"  # a version of the protocol; `auto`: what both know
    session: Literal["shared", "own"] = "shared"  # one for all, or one for each connection
    trace: StrictBool = False  # requests carry a W3C trace context; servers may answer with their own time

    @property
    def runs_in_worker(self) -> bool:
        return self.client == "sdk"


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class CallableTargetSpec(Target, tag="callable"):
    """A Python function, sync or async."""

    kind: Literal["callable"] = "callable"
    function: str | Callable[..., Any] | None = None  # `package.module:name`; an operation may name its own
    in_process: StrictBool = False  # called in our process, for what cannot leave it

    @property
    def runs_in_worker(self) -> bool:
        return True


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class OtherTargetSpec(Target, tag=OTHER):
    """A target of a kind that is installed besides perflib's own."""

    kind: Text
    options: Mapping[str, Any] = Field(default_factory=dict)  # what the kind itself asks for


TABLES["targets"] = Target


def kinds() -> list[str]:
    """Names of the target kinds that are installed."""
    return sorted({entry.name for entry in entry_points(group="perflib.targets")})
