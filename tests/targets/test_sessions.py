"""Users with cookies and tokens: a login by form, cookie and CSRF header; tokens fetched and renewed."""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

import perflib
from perflib.service.shop import PASSWORD, Shop
from tests.support.asgi import served
from tests.support.runs import run_quietly
from tests.support.servers import raw_server, says
from tests.support.suites import suite


def test_the_readmes_user_logs_in_by_form_cookie_and_csrf_header_uploads_and_reads(tmp_path: Path) -> None:
    shop = Shop()
    text = re.search(r"```toml\n(name = \"login\".*?)```", (ROOT / "docs/how-to/log-in.md").read_text(), re.S)
    assert text is not None
    with served(Starlette(routes=[Mount("/shop", shop.app)])) as url:
        (tmp_path / "login.toml").write_text(text[1].replace("http://127.0.0.1:8000", url))
        visit = perflib.load_suite(tmp_path / "login.toml", overrides=["scenarios.visit.load.duration_s=2"])
        made = run_quietly(visit, tmp_path)
    rows = made.rows(phase=None)
    assert rows["ok"].all() and len(rows) > 50, made.scenario("visit").record.failures
    assert set(shop.uploads) == {("ada", (tmp_path / "login.toml").read_bytes())}
    assert (made.spans()["span"] == "redirect").sum() == (rows["operation"] == "log in").sum()
    stored = b"".join(path.read_bytes() for path in Path(made.path).rglob("*") if path.is_file())
    assert PASSWORD.encode() not in stored and not any(session.encode() in stored for session in shop.users)


def with_cookies(tmp_path: Path, lines: list[str], cookies: bool | None = None, requests: int = 4) -> list[str]:
    """The Cookie header of each second request of a user's round, after the first was answered with these lines."""
    heard: list[bytes] = []
    head = "\r\n".join(["HTTP/1.1 200 OK", "Content-Length: 0", *(f"Set-Cookie: {line}" for line in lines)])
    good = says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with raw_server({"/a/set": says(head.encode() + b"\r\n\r\n"), "/a/b/c": good}, heard) as url:
        target = {"kind": "http", "url": url} | ({} if cookies is None else {"cookies": cookies})
        run_quietly(
            suite(
                target,
                operations=[{"name": "set", "path": "/a/set"}, {"name": "then", "path": "/a/b/c"}],
                order="sequence",
                load={"model": "closed", "concurrency": 1, "requests": requests},
            ),
            tmp_path,
        )
    assert not any(b"Cookie:" in request for request in heard[::2]), "a round begins without cookies"
    found = [request.partition(b"\r\nCookie: ")[2].partition(b"\r\n")[0].decode("latin-1") for request in heard[1::2]]
    return [";".join(sorted(part.strip() for part in each.split(";"))) for each in found]


def test_cookies_are_sent_where_rfc_6265_says(tmp_path: Path) -> None:
    lines = {
        "plain=1": "plain=1",
        "path=2; Path=/a": "path=2",
        "other=3; Path=/other": "",
        "age=4; Max-Age=60": "age=4",
        "gone=5; Max-Age=0": "",
        "old=6; Expires=Thu, 01 Jan 1970 00:00:00 GMT": "",
        "late=7; Expires=Fri, 31 Dec 2099 23:59:59 GMT; HttpOnly; SameSite=Lax": "late=7",
        "foreign=8; Domain=example.org": "",
        "secure=9; Secure": "",
        'quoted="a b"': 'quoted="a b"',
        "same=first": "",
        "same=last": "same=last",
        "empty=": "empty=",
    }
    wanted = ";".join(sorted(sent for sent in lines.values() if sent))
    assert with_cookies(tmp_path, list(lines)) == [wanted] * 2
    assert with_cookies(tmp_path / "off", list(lines), cookies=False) == ["", ""]


def test_a_cookie_belongs_to_the_path_that_set_it_also_after_a_redirect(tmp_path: Path) -> None:
    heard: list[bytes] = []
    moved = says(b"HTTP/1.1 302 Found\r\nLocation: /x/new\r\nContent-Length: 0\r\n\r\n")
    good, sets = (
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + line + b"\r\n") for line in (b"", b"Set-Cookie: a=1\r\n")
    )
    paths = ["/old", "/a/set", "/a/then"]
    with raw_server({"/old": moved, "/x/new": good, "/a/set": sets, "/a/then": good}, heard) as url:
        load = {"model": "closed", "concurrency": 1, "requests": 3}
        target = {"kind": "http", "url": url, "redirects": 1}
        operations = [{"name": path, "path": path} for path in paths]
        run_quietly(
            suite(target, operations=operations, order="sequence", load=load, warmup={"duration_s": 0}), tmp_path
        )
    assert [head.startswith(b"GET /a/then") for head in heard if b"\r\nCookie: a=1" in head] == [True]


def test_a_flood_of_cookies_is_bounded(tmp_path: Path) -> None:
    (found, _) = with_cookies(tmp_path, [f"c{n}={n}" for n in range(900)])
    assert found.count(";") == 299


ROOT = Path(__file__).parents[2]


class Guarded:
    """A site that answers only those who carry a token that it gave and that is not over."""

    def __init__(self, lasts_s: float = 1e9) -> None:
        self.lasts_s, self.given, self.logins = lasts_s, dict[str, tuple[str, float]](), list[Any]()
        self.seen: Counter[str] = Counter()

    def give(self, to: str) -> str:
        token = f"t-{len(self.given)}-{secrets.token_hex(4)}"
        self.given[token] = to, time.monotonic()
        return token

    async def login(self, request: Request) -> Response:
        body = await request.body()
        self.logins.append(body)
        if b"wrong" in body:
            return JSONResponse({"detail": "no such user"}, 401)
        return JSONResponse({"data": {"jwt": self.give(body.decode())}, "expires_in": self.lasts_s})

    async def oauth(self, request: Request) -> Response:
        async with request.form() as form:
            header = request.headers.get("authorization")
            self.logins.append(dict(form) | ({"header": header} if header else {}))
            return JSONResponse({"access_token": self.give("the client"), "expires_in": self.lasts_s})

    async def get(self, request: Request) -> Response:
        token = request.headers.get("authorization", request.headers.get("x-auth", "")).rpartition(" ")[2]
        to, at = self.given.get(token, ("", -1e9))
        self.seen[token] += 1
        return Response("fine" if time.monotonic() - at < self.lasts_s else "over", 200 if to else 401)

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/login", self.login, methods=["POST"]),
                Route("/token", self.oauth, methods=["POST"]),
                Route("/", self.get),
            ]
        )


def guarded_run(tmp_path: Path, site: Guarded, auth: dict[str, Any], **scenario: Any) -> perflib.Run:
    keys: dict[str, Any] = {
        "operations": [{"name": "get", "path": "/", "expect": {"contains": "fine"}}],
        "load": {"model": "closed", "concurrency": 4, "requests": 200},
        "workers": 2,
    }
    with served(site.app) as url:
        filled = json.loads(json.dumps(auth).replace("URL", url))
        made = suite({"kind": "http", "url": url, "auth": filled}, **(keys | scenario))
        return run_quietly(replace(made, folder=str(tmp_path)), tmp_path)


def test_each_worker_logs_in_once_and_renews_its_token(tmp_path: Path) -> None:
    site = Guarded(lasts_s=1.5)
    auth = {"kind": "login", "path": "/login", "json": {"user": "ada"}, "token": "$.data.jwt", "header": "X-Auth"}
    made = guarded_run(tmp_path, site, auth, load={"model": "closed", "concurrency": 2, "duration_s": 4})
    rows = made.rows(phase=None)
    assert rows["ok"].all(), made.scenario("one").record.failures
    assert set(site.logins) == {b'{"user":"ada"}'} and 4 <= len(site.logins) <= 10
    stored = b"".join(path.read_bytes() for path in Path(made.path).rglob("*") if path.is_file())
    assert not any(token.encode() in stored for token in site.given)


def test_each_user_logs_in_with_its_own_data(tmp_path: Path) -> None:
    site = Guarded()
    (tmp_path / "users.csv").write_text("user\n" + "\n".join(f"u{n}" for n in range(40)))
    auth = {"kind": "login", "path": "/login", "form": {"user": "{user}"}, "token": "$.data.jwt", "per": "user"}
    operations = [{"name": "get", "path": "/?u={user}", "data": "users.csv"}]
    made = guarded_run(tmp_path, site, auth, operations=operations)
    assert made.rows(phase=None)["ok"].all() and len(site.logins) == len(set(site.logins)) == 4
    spans = made.spans()
    assert (spans["span"] == "login").sum() == 4 and min(site.seen.values()) >= 5


def test_a_login_that_fails_is_named(tmp_path: Path) -> None:
    auth = {"kind": "login", "path": "/login", "form": {"user": "wrong"}, "token": "$.data.jwt"}
    load = {"model": "closed", "concurrency": 1, "requests": 3}
    made = guarded_run(tmp_path, Guarded(), auth | {"per": "user"}, load=load, warmup={"duration_s": 0}, workers=1)
    failures = made.scenario("one").record.failures
    assert [(each.error, each.requests) for each in failures] == [("login", 3)]
    assert "the login was answered with status 401: no such user" in next(iter(failures[0].texts))


def test_client_credentials_and_commands_give_tokens(tmp_path: Path) -> None:
    site = Guarded()
    oauth = {"kind": "oauth", "token_url": "URL/token", "client_id": "me", "client_secret": "s3cret", "scope": "read",
             "params": {"audience": "api"}}  # fmt: skip
    assert guarded_run(tmp_path / "oauth", site, oauth).rows(phase=None)["ok"].all()
    wanted = {"grant_type": "client_credentials", "client_id": "me", "client_secret": "s3cret", "scope": "read"}
    assert site.logins == [wanted | {"audience": "api"}] * 2
    in_header = oauth | {"client_secret": "s3:cret", "client_in": "header"}
    assert guarded_run(tmp_path / "header", site, in_header).rows(phase=None)["ok"].all()
    sent = {"grant_type": "client_credentials", "scope": "read", "audience": "api"}
    assert site.logins[2:] == [sent | {"header": "Basic bWU6czMlM0FjcmV0"}] * 2
    token = site.give("command")
    command = {"kind": "command", "command": [sys.executable, "-c", f"print('{token}')"]}
    assert guarded_run(tmp_path / "command", site, command).rows(phase=None)["ok"].all()
    assert site.seen[token] == 200


def test_a_name_and_a_password_or_a_token_go_with_every_request(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PERFLIB_TEST_TOKEN", "abc-def-123")
    heard: list[bytes] = []
    with raw_server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), heard) as url:
        for number, auth in enumerate([
            {"kind": "basic", "user": "ada", "password": "pass:wörd"},
            {"kind": "bearer", "token": "${PERFLIB_TEST_TOKEN}"},
        ]):  # fmt: skip
            operations = [
                {"name": "own", "path": "/", "headers": {"authorization": "Own"}},
                {"name": "get", "path": "/"},
            ]
            keys = {"operations": operations, "order": "interleaved"}
            run_quietly(suite({"kind": "http", "url": url, "auth": auth}, **keys), tmp_path / str(number))
    sent = Counter(line for head in heard for line in head.split(b"\r\n") if line.lower().startswith(b"authorization"))
    assert sent.keys() == {
        b"authorization: Own", b"Authorization: Basic YWRhOnBhc3M6d8O2cmQ=", b"Authorization: Bearer abc-def-123",
    }  # fmt: skip
    assert not any(b"abc-def-123" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_redirect_to_another_server_takes_no_secrets_along(tmp_path: Path) -> None:
    first, second = list[bytes](), list[bytes]()
    there = says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
    with raw_server(there, second) as other:
        elsewhere = other.replace("127.0.0.1", "localhost")
        moved = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere}/new?x=1\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n"
        with raw_server({"/old": says(moved.encode())}, first) as url:
            target = {"kind": "http", "url": url, "redirects": 2, "cookies": True}
            auth = {"kind": "basic", "user": "ada", "password": "x"}
            operations = [{"name": "go", "path": "/old", "expect": {"contains": "good"}}]
            load = {"model": "closed", "concurrency": 1, "requests": 5}
            made = run_quietly(suite(target | {"auth": auth}, operations=operations, load=load), tmp_path)
    assert made.rows(phase=None)["ok"].all(), made.scenario("one").record.failures
    assert len(first) == len(second) == 5
    assert all(b"\r\nAuthorization: Basic" in head for head in first)
    assert all(b"uthorization" not in head and b"ookie" not in head for head in second)
    assert all(head.startswith(b"GET /new?x=1 HTTP/1.1\r\nHost: localhost:") for head in second)
    assert sum(b"Cookie: a=1" in head for head in first) == 4


def test_a_server_that_speaks_only_http2_is_named(tmp_path: Path) -> None:
    settings = b"\0\0\6\4\0\0\0\0\0\0\3\0\0\0\x64" + b"\0\0\x08\7\0\0\0\0\0" + bytes(8)
    with raw_server(says(settings, keep=False)) as url:
        made = run_quietly(suite({"kind": "http", "url": url, "timeout_s": 3}), tmp_path)
    failures = made.scenario("one").record.failures
    assert {each.error for each in failures} == {"protocol"}
    assert list(failures[0].texts) == ["the server speaks HTTP/2 only, and perflib HTTP/1.1"]
