"""The systems under test: one class for each kind of target, created by Target(kind=…).

    Target(kind="http", url="http://127.0.0.1:8080", headers={"Authorization": "Bearer ${API_TOKEN}"})
    Target(kind="http", url="http://127.0.0.1:{port}", start=["{python}", "server.py", "{port}"], ready={"http": "/up"})
    Target(kind="mcp", url="http://127.0.0.1:8080/mcp")      Target(kind="mcp", command=["npx", "some-server"])
    Target(kind="mcp", url="http://127.0.0.1:8080/mcp", client="sdk", protocol="2025-11-25", session="own", trace=True)
    Target(kind="callable", function="package.module:name")  Target(kind="callable", function=f)

These classes describe targets; those of `perflib.targets` make the requests. The comment behind each field is its
description in docs/suite.md (`python -m tools.reference` writes them there).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StrictBool
from pydantic.dataclasses import dataclass

from perflib.suite.auth import Auth
from perflib.suite.family import OTHER, Family
from perflib.suite.fields import CONFIG, Count, Positive, Seq, Text
from perflib.suite.gauges import Gauges
from perflib.suite.messages import TABLES, in_one_line


@in_one_line("ready")
@dataclass(frozen=True, config=CONFIG)
class Ready:
    """When a started target is ready: an HTTP path answers with a status below 400, or (default) its port accepts.

    >>> Ready(http="/health", timeout_s=30).http
    '/health'
    """

    http: str | None = None  # a path that answers with a status below 400; default: its port accepts connections
    timeout_s: Positive = 20.0  # a longer start is a failure


@plain_dataclass(frozen=True, kw_only=True)
class Target(Family):
    """A system under test, with the keys that every kind of target has.

    >>> api = Target(kind="http", url="http://127.0.0.1:8000", headers={"Authorization": "Bearer ${TOKEN}"})
    >>> own = Target(kind="http", url="http://127.0.0.1:{port}", start=["python", "server.py", "--port", "{port}"])
    >>> Target(kind="callable", function="time:sleep").in_process
    False
    """

    TAG, NOUN, PLAIN = "kind", "a target of kind {!r}", "a target of kind {!r}"

    kind: str  # `http`, `mcp`, `callable`, or an installed kind
    url: str | None = None  # address; `{port}` here and in `start` stands for a free port
    start: Seq[str] = ()  # command that perflib runs, samples and stops; `{python}` and `{port}` are filled in
    ready: Ready = field(default_factory=Ready)  # when the started target is ready
    cwd: str | None = None  # folder in which the command runs; default: the suite's
    env: Mapping[str, str] = field(default_factory=dict)  # environment variables; `${NAME}` is read from perflib's
    pids: Seq[int] = ()  # running processes to sample
    gauges: Gauges = ()  # where its own metrics are read: a path, a URL, a table, or several
    timeout_s: Positive = 30.0  # a longer request is an error of class `timeout`
    max_connections: Count = 1024  # maximum in each worker

    if TYPE_CHECKING:

        def __init__(self, *, kind: str, **keys: Any) -> None: ...

    @classmethod
    def tag_of(cls, value: Any) -> str | None:
        """The kind, or "other" for one that does not come with perflib."""
        tag = super().tag_of(value)
        return tag if tag is None or tag in cls.MEMBERS else OTHER

    @property
    def in_process(self) -> bool:
        """Whether the target runs in perflib's own process; only a callable can."""
        return False

    @property
    def runs_in_worker(self) -> bool:
        """Whether what is measured runs in the worker itself, as a function or the official SDK does."""
        return False


@plain_dataclass(frozen=True, kw_only=True)
class Network:
    """How the server of a target with a URL is reached. Files are relative to the suite."""

    verify_tls: StrictBool = True  # check certificates
    ca_file: str | None = None  # certificates of the authorities that are trusted, in PEM; default: the system's
    client_cert: str | Seq[str] | None = None  # certificate and key of the client: one file in PEM, or a list of two
    server_name: str | None = None  # name that TLS asks for, and that the certificate is for; default: the URL's host
    connect_to: str | None = None  # "host:port" to connect to instead of the URL's; the requests stay as they are
    unix_socket: str | None = None  # path of a socket to connect to instead
    proxy: str | None = None  # URL of an HTTP proxy, `http://user:${PASSWORD}@proxy:3128`; none is taken from elsewhere


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class HttpTargetSpec(Network, Target, tag="http"):
    """An HTTP server."""

    kind: Literal["http"] = "http"
    headers: Mapping[str, str] = Field(default_factory=dict)  # headers of every request; `${NAME}` for secrets
    keep_alive: StrictBool = True  # use a connection for more than one request
    redirects: Annotated[int, Field(ge=0, le=50)] = 0  # how many in a row are followed, within `allow_hosts`
    cookies: StrictBool | None = None  # users keep the server's cookies; default: in a `sequence`, or with `each_user`
    auth: Auth | None = None  # how requests say who sends them
    max_body_bytes: Count | None = None  # a longer body is an error; default: 64 MiB if it is looked at, else no limit


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class McpTargetSpec(Network, Target, tag="mcp"):
    """An MCP server: at a `url`, or a `command` that speaks MCP on its standard input and output."""

    kind: Literal["mcp"] = "mcp"
    command: Seq[str] = ()  # command of a server on stdio, instead of `url`; `${NAME}` for secrets
    headers: Mapping[str, str] = Field(default_factory=dict)  # headers of every request; `${NAME}` for secrets
    client: Literal["lean", "sdk"] = "lean"  # perflib's own client, or the official SDK's
    protocol: str = "auto"  # protocol version; `auto`: negotiated with the server
    session: Literal["shared", "own"] = "shared"  # one session for all requests, or one per connection
    trace: StrictBool = False  # send a W3C trace context; the server may return its own time
    answers: Mapping[str, Any] = Field(default_factory=dict)  # what to answer when the server asks: results by method
    poll_tasks: StrictBool = False  # a call whose result is a task lasts until the task has ended
    restart: StrictBool = False  # start a server on stdio again that ended; default: it ends the run
    auth: Auth | None = None  # how requests say who sends them

    @property
    def runs_in_worker(self) -> bool:
        return self.client == "sdk"


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class CallableTargetSpec(Target, tag="callable"):
    """A Python function, sync or async."""

    kind: Literal["callable"] = "callable"
    function: str | Callable[..., Any] | None = None  # `package.module:name`; an operation may name another function
    in_process: StrictBool = False  # call it in perflib's own process, if it cannot run elsewhere

    @property
    def runs_in_worker(self) -> bool:
        return True


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class OtherTargetSpec(Target, tag=OTHER):
    """A target of a kind that another package has installed."""

    kind: Text
    options: Mapping[str, Any] = Field(default_factory=dict)  # the keys of this kind


TABLES["targets"] = Target


def kinds() -> list[str]:
    """Names of the target kinds that are installed."""
    return sorted({entry.name for entry in entry_points(group="perflib.targets")})
