"""`setup`, `each_user` and `teardown`: done once for all, or by each user; what they keep is filled in everywhere."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import perflib
from perflib.errors import SuiteError
from perflib.load.preflight import check
from perflib.load.tryout import try_suite
from perflib.suite.file import parse_suite
from tests.support.asgi import served
from tests.support.command_line import perflib_process
from tests.support.runs import run_quietly, start_perflib_run, wait_for_rows

SUITE = """
name = "bought"
setup = [{ name = "log in", path = "/login", json = { user = "ada" }, keep = { access = "$.access" } }]
teardown = [{ name = "log out", path = "/logout", method = "POST" }]

[targets.api]
kind = "http"
url = "URL"
headers = { Authorization = "Bearer {access}" }

[[scenarios]]
name = "browse"
target = "api"
setup = [{ name = "order", path = "/orders", method = "POST", json = {}, keep = { order = "$.id" } }]
teardown = [{ name = "delete", path = "/orders/{order}", method = "DELETE" }]
operations = [{ name = "look", path = "/orders/{order}" }]
load = { model = "closed", concurrency = 4, requests = 60 }
workers = 2

[[scenarios]]
name = "steady"
target = "api"
operations = [{ name = "account", path = "/account" }]
load = { model = "constant", rate_per_s = 50, duration_s = 1 }
"""


class Orders:
    """A server with log-ins and orders, which counts what was asked. `sessions`: the user of each token."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.users: Counter[str] = Counter()
        self.sessions: dict[str, str] = {}
        self.orders: set[int] = set()
        self.fails = 0  # log-ins that are refused from now on

    @property
    def app(self) -> Starlette:
        every = ["GET", "POST", "DELETE"]
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=every)])

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked[f"{request.method} {path}"] += 1
        if path == "/login":
            user = (await request.json())["user"]
            if self.fails or user == "mallory":
                self.fails = max(0, self.fails - 1)
                return JSONResponse({"detail": "wrong password"}, 401)
            token = f"access-{len(self.sessions):04}-{'x' * 20}"
            self.sessions[token] = user
            answer = JSONResponse({"access": token})
            answer.set_cookie("sid", token)
            return answer
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        user = self.sessions.get(bearer) or self.sessions.get(request.cookies.get("sid", ""))
        if user is None:
            return JSONResponse({"detail": "not logged in"}, 401)
        self.users[user] += 1
        if path == "/orders":
            self.orders.add(number := 4711 + len(self.orders))
            return JSONResponse({"id": number})
        if path == "/fails":
            return JSONResponse({"detail": f"{bearer} may not"}, 500)
        if path.startswith("/orders/"):
            known = int(path.rpartition("/")[2]) in self.orders
            if request.method == "DELETE":
                self.orders.discard(int(path.rpartition("/")[2]))
            return JSONResponse({}, 200 if known else 404)
        return JSONResponse({"user": user})


@pytest.fixture
def shop() -> Iterator[tuple[str, Orders]]:
    orders = Orders()
    with served(orders.app) as url:
        yield url, orders


def suite(url: str, text: str = SUITE, **changes: str) -> perflib.Suite:
    for old, new in {"URL": url, **changes}.items():
        text = text.replace(old, new)
    return parse_suite(text, where="s.toml", folder="")


def stored(run: perflib.Run) -> bytes:
    return b"".join(path.read_bytes() for path in Path(run.path).rglob("*") if path.is_file())


def test_one_log_in_and_one_order_serve_two_scenarios_and_all_workers_and_are_taken_back(
    shop: tuple[str, Orders], tmp_path: Path
) -> None:
    url, orders = shop
    run = run_quietly(suite(url), tmp_path)
    assert run.status == "complete" and run.rows(phase=None)["ok"].all()
    assert set(run.rows(phase=None)["operation"]) == {"look", "account"}  # nothing else is measured
    once = ("POST /login", "POST /orders", "DELETE /orders/4711", "POST /logout")
    assert [orders.asked[each] for each in once] == [1, 1, 1, 1]
    assert orders.asked["GET /orders/4711"] == 60 and not orders.orders
    assert orders.users == {"ada": 60 + 50 + 3}
    assert b"access-0000" not in stored(run)


def test_a_secret_that_the_set_up_kept_is_in_no_sample(shop: tuple[str, Orders], tmp_path: Path) -> None:
    url, _ = shop
    run = run_quietly(suite(url, **{"/account": "/fails"}), tmp_path)
    why = run.scenario("steady").record.failures[0].why
    assert "may not" in why and "access-0000" not in why
    assert b"access-0000" not in stored(run)


EACH_USER = """
name = "users"
[targets.api]
kind = "http"
url = "URL"
[[scenarios]]
name = "visit"
target = "api"
operations = [{ name = "account", path = "/account?{user}" }, { name = "again", path = "/account" }]
order = "sequence"
load = { model = "closed", concurrency = 3, requests = 60 }
[[scenarios.each_user]]
name = "log in"
path = "/login"
json = { user = "{user}" }
data = "users.csv"
pick = "one each"
keep = { mine = "$.access" }
"""


@pytest.mark.parametrize("order", ["sequence", "weighted"])
@pytest.mark.parametrize("by", ["cookie", "header"])
def test_each_user_logs_in_once_and_stays_itself(shop: tuple[str, Orders], tmp_path: Path, order: str, by: str) -> None:
    url, orders = shop
    (tmp_path / "users.csv").write_text("user\nada\nbob\ncyd\n")
    text = EACH_USER.replace('"sequence"', f'"{order}"')
    if by == "header":
        text = text.replace(
            'url = "URL"', 'url = "URL"\ncookies = false\nheaders = { Authorization = "Bearer {mine}" }'
        )
    run = run_quietly(parse_suite(text.replace("URL", url), where="s.toml", folder=str(tmp_path)), tmp_path)
    assert run.rows(phase=None)["ok"].all(), run.scenario("visit").record.failures
    assert orders.asked["POST /login"] == 3 and sorted(orders.sessions.values()) == ["ada", "bob", "cyd"]
    assert sum(orders.users.values()) == 60 and set(orders.users) == {"ada", "bob", "cyd"}
    assert run.scenario("visit").record.each_user.requests == 3
    assert b"access-0001" not in stored(run)


def test_users_who_come_later_log_in_when_they_come_and_a_log_in_that_fails_is_made_again(
    shop: tuple[str, Orders], tmp_path: Path
) -> None:
    url, orders = shop
    (tmp_path / "users.csv").write_text("user\n" + "".join(f"u{number}\n" for number in range(6)))
    orders.fails = 2
    load = '{ model = "users", stages = [{ users = 6, over_s = 1 }, { users = 6, over_s = 0.5 }] }'
    text = EACH_USER.replace("URL", url)
    text = text.replace('{ model = "closed", concurrency = 3, requests = 60 }', load)
    run = run_quietly(parse_suite(text, where="s.toml", folder=str(tmp_path)), tmp_path)
    assert run.status == "complete" and run.rows(phase=None)["ok"].all()
    assert len(set(orders.sessions.values())) == len(orders.sessions) == 6
    assert run.scenario("visit").record.each_user.failed == 2


@pytest.mark.parametrize("key", ["setup", "each_user"])
def test_a_set_up_that_fails_says_which_operation_and_why_and_what_was_begun_is_taken_back(
    shop: tuple[str, Orders], tmp_path: Path, key: str
) -> None:
    url, orders = shop
    refused = '{ name = "refused", path = "/login", json = { user = "mallory" } }'
    changes = {
        "setup": {'keep = { order = "$.id" } }]': f'keep = {{ order = "$.id" }} }}, {refused}]'},
        "each_user": {'setup = [{ name = "order"': f'each_user = [{refused}]\nsetup = [{{ name = "order"'},
    }
    run = run_quietly(suite(url, **changes[key]), tmp_path)
    assert run.status == "invalid" and run.rows(phase=None).empty
    (reason,) = run.manifest.reasons
    assert "operation 'refused': status 401: wrong password" in reason, reason
    assert not orders.orders and orders.asked["POST /logout"] == 1


def test_teardown_is_done_after_ctrl_c(shop: tuple[str, Orders], tmp_path: Path) -> None:
    url, orders = shop
    long = SUITE.replace("URL", url).replace("requests = 60", "duration_s = 60, think_time_s = 0.05")
    process = start_perflib_run(tmp_path, long)
    wait_for_rows(tmp_path, 0.2)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert time.monotonic() - began < 15
    assert not orders.orders and orders.asked["POST /logout"] == 1


def test_what_a_teardown_could_not_do_is_said_and_does_not_spoil_the_run(
    shop: tuple[str, Orders], tmp_path: Path
) -> None:
    url, _ = shop
    run = run_quietly(suite(url, **{"/logout": "/fails"}), tmp_path)
    assert run.status == "complete"
    (said,) = run.scenario("steady").record.remarks
    assert said.startswith("teardown of 'bought': operation 'log out': status 500")


def test_try_sends_the_set_up_first(shop: tuple[str, Orders]) -> None:
    url, _ = shop
    sent = try_suite(suite(url))
    assert [each.operation for each in sent] == ["log in", "order", "look", "delete", "account", "log out"]
    assert not any(each.error for each in sent)
    assert not any("access-0000" in each.in_words for each in sent)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{access}", "{token}", "targets.api.headers.Authorization: {token} has no value in operation 'look'"),
        ("/orders/{order}\" }]\nload", "/orders/{other}\" }]\nload", "{other} has no value"),
        ("path = \"/account\"", "path = \"/account\", keep = { access = \"$.x\" }", "`setup` keeps 'access' already"),
        ("name = \"log in\"", "name = \"log in\", count = 3", "setup, operation 'log in': count is for `prepare`"),
        ("setup = [{ name = \"order\"", "each_user = [{ name = \"order\"", "{order} has no value"),
        ("name = \"steady\"", "name = \"steady\"\neach_user = [{ name = \"a\", path = \"/\" }]", "users who wait"),
        ("name = \"log in\",", "name = \"log in\", target = \"x\",", "unknown target 'x'"),
        ("name = \"log in\",", "name = \"log in\", pth = \"x\",", "unknown key 'pth'"),
        ("workers = 2", "prepare = [{ name = \"p\", path = \"/\", count = 9 }]", "9 values are prepared for 60"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_is_sent(old: str, new: str, said: str) -> None:
    with pytest.raises(SuiteError) as refused:
        check(suite("http://127.0.0.1:9", **{old: new}))
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_function_is_set_up_as_well(tmp_path: Path) -> None:
    (tmp_path / "shop_functions.py").write_text(
        "def begin():\n    return {'id': 7}\n\ndef use(number):\n    assert number == 7\n    return number\n"
    )
    text = """
name = "f"
[targets.f]
kind = "callable"
function = "shop_functions:use"
[[scenarios]]
name = "one"
target = "f"
setup = [{ name = "begin", function = "shop_functions:begin", keep = { number = "$.id" } }]
operations = [{ name = "use", args = ["{number}"] }]
load = { model = "closed", concurrency = 2, requests = 20 }
"""
    try:
        run = run_quietly(parse_suite(text, where="s.toml", folder=str(tmp_path)), tmp_path)
    finally:
        sys.modules.pop("shop_functions", None)
    assert run.rows(phase=None)["ok"].all() and len(run.rows(phase=None)) == 20


def test_each_side_of_an_ab_test_has_a_set_up_of_its_own(shop: tuple[str, Orders], tmp_path: Path) -> None:
    url, orders = shop
    text = SUITE.replace("URL", url).split('[[scenarios]]\nname = "steady"')[0]
    (tmp_path / "s.toml").write_text(text)
    sides = ("--a", "seed=1", "--b", "seed=2", "--block", "0.3", "--budget", "3")
    done = perflib_process("ab", "s.toml", *sides, cwd=tmp_path)
    assert done.returncode in (0, 1, 3), done.stderr
    assert orders.asked["POST /login"] == 2 and orders.asked["POST /orders"] == 2 and not orders.orders
