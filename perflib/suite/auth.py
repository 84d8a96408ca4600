"""How requests say who sends them: one class for each kind, created by Auth(kind=…).

    auth = { kind = "basic", user = "ada", password = "${PASSWORD}" }
    auth = { kind = "bearer", token = "${TOKEN}" }
    auth = { kind = "login", path = "/login", json = { user = "ada", password = "${PASSWORD}" }, token = "$.token" }
    auth = { kind = "oauth", token_url = "http://127.0.0.1:9000/token", client_id = "a", client_secret = "${SECRET}" }
    auth = { kind = "command", command = ["gcloud", "auth", "print-access-token"], lasts_s = 3000 }

The comment behind each field is its description in docs/suite.md (`python -m tools.reference` writes them there).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from perflib.errors import SuiteError
from perflib.suite.answers import Source
from perflib.suite.family import Family
from perflib.suite.fields import CONFIG, Positive, Seq, Text
from perflib.suite.messages import TABLES, in_one_line


@plain_dataclass(frozen=True, kw_only=True)
class Auth(Family):
    """How requests say who sends them. An operation's own `Authorization` header goes before it."""

    TAG, NOUN, PLAIN = "kind", "auth of kind {!r}", "auth of kind {!r}"

    kind: str  # `basic`, `bearer`, `login`, `oauth` or `command`

    if TYPE_CHECKING:

        def __init__(self, *, kind: str, **keys: Any) -> None: ...


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class BasicAuth(Auth, tag="basic"):
    """A name and a password with every request."""

    kind: Literal["basic"] = "basic"
    user: Text  # the name
    password: str  # the password; `${NAME}` reads it from the environment


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class BearerAuth(Auth, tag="bearer"):
    """A token that is there already."""

    kind: Literal["bearer"] = "bearer"
    token: Text  # the token; `${NAME}` reads it from the environment


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class LoginAuth(Auth, tag="login"):
    """A token that the server gives for a request, which is sent beforehand and not measured."""

    kind: Literal["login"] = "login"
    path: str  # appended to the target's URL
    json: Any = None  # the body as JSON
    form: Mapping[str, Any] | None = None  # the body as a form of a web page
    headers: Mapping[str, str] = Field(default_factory=dict)  # headers of this request
    token: Source = "$.access_token"  # where the answer has the token
    header: Text = "Authorization"  # the header that carries it
    prefix: str = "Bearer "  # what stands before it in the header
    per: Literal["worker", "user"] = "worker"  # who logs in: each worker process once, or each user
    lasts_s: Positive | None = None  # then it is fetched again; default: what the answer's `expires_in` says

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise SuiteError(f"not a path: {self.path!r}", mend='begin it with "/"')
        if (self.json is None) == (self.form is None):
            raise SuiteError("a login needs json or form", mend="give exactly one of them")


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class OAuthAuth(Auth, tag="oauth"):
    """A token by OAuth 2.0 client credentials (RFC 6749, 4.4)."""

    kind: Literal["oauth"] = "oauth"
    token_url: Text | None = None  # where tokens are given; its host must be allowed; an MCP server can name it
    client_id: Text  # the client's name
    client_secret: str  # its password; `${NAME}` reads it from the environment
    client_in: Literal["body", "header"] | None = None  # where both are sent; default: body, or what an MCP server says
    scope: str | None = None  # what is asked for
    params: Mapping[str, str] = Field(default_factory=dict)  # further fields, as `audience`


@in_one_line()
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class CommandAuth(Auth, tag="command"):
    """A token that a command prints."""

    kind: Literal["command"] = "command"
    command: Seq[str]  # the command; it is run in the suite's folder
    lasts_s: Positive | None = None  # then it is run again; default: never

    def __post_init__(self) -> None:
        if not self.command:
            raise SuiteError(
                "a command is needed", where="command", mend='as command = ["gcloud", "auth", "print-access-token"]'
            )


TABLES["auth"] = Auth
