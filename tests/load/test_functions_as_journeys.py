"""Journeys in Python: their requests are rows like any other, and so is what they raise."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import perflib
from perflib.suite.file import load_suite
from tests.support.runs import run_quietly
from tests.support.servers import raw_server, says

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"
ITEMS = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Page: 3\r\nContent-Length: 18\r\n\r\n{"items": [4, 9]}\n'
)
SUITE = """
name = "functions"
targets.api = { kind = "http", url = "%s", timeout_s = 1 }
[[scenarios]]
name = "one"
target = "api"
warmup = { duration_s = 0 }
%s
"""
AT_A_RATE = 'load = { model = "constant", rate_per_s = 40, duration_s = 1 }'
CLOSED = 'load = { model = "closed", concurrency = 3, duration_s = 0.6 }'
VISIT = 'journeys = [{ name = "visit", function = "MODULE:visit" }]\n'


@pytest.fixture
def made(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """made(url, function, keys): a run of a suite whose journey is that function, in a module of its own."""

    def make(url: str, function: str, *keys: str) -> perflib.Run:
        name = f"visits_{abs(hash((request.node.nodeid, function)))}"
        (tmp_path / f"{name}.py").write_text(f"import asyncio\n\n\nasync def visit(user):\n{function}")
        (tmp_path / "suite.toml").write_text(SUITE % (url, "\n".join(keys).replace("MODULE", name)))
        return run_quietly(load_suite(tmp_path / "suite.toml"), tmp_path)

    return make


@pytest.mark.parametrize("load", [AT_A_RATE, CLOSED])
def test_requests_of_a_function_are_rows(made: Any, load: str) -> None:
    heard: list[bytes] = []
    function = """
    found = await user.get("/items?limit=2", name="list", params={"q": "a b"}, headers={"X-Who": "ada"})
    assert found.ok and found.status == 200 and found.headers("x-page") == ["3"], found
    await user.think(0.05)
    for item in found.json["items"]:
        await user.get(f"/item/{item}", name="item")
    await user.post("/orders", json={"item": item}, name="order")
    missing = await user.request("PUT", "/missing?a=1", form={"b": "c d"})
    assert (missing.ok, missing.status, missing.error, missing.json) == (False, 404, "http_4xx", None)
"""
    served = {
        "/items": says(ITEMS),
        "/item/4": says(OK),
        "/item/9": says(OK),
        "/orders": says(OK),
        "/missing": says(NO),
    }
    with raw_server(served, heard) as url:
        run = made(url, function, load, VISIT, 'objectives = ["item: p95 < 2 s", "journey visit: p95 < 2 s"]')
    rows, journeys = run.rows(phase=None), run.sql("from journeys")
    counts = rows["operation"].value_counts()
    assert set(counts.index[counts > 0]) == {"list", "item", "order", "PUT /missing"}
    if load is AT_A_RATE:
        assert counts["list"] * 2 == counts["item"] == 80
        assert len(journeys) == 40
    assert set(journeys["error"]) == {"http_4xx"}
    assert set(rows[~rows["ok"]]["operation"]) == {"PUT /missing"}
    assert (journeys["paused_ns"] > 49e6).all()
    first = next(request for request in heard if request.startswith(b"GET /items"))
    assert first.startswith(b"GET /items?limit=2&q=a+b HTTP/1.1\r\n")
    assert b"X-Who: ada\r\n" in first
    put = next(request for request in heard if request.startswith(b"PUT"))
    assert put.endswith(b"\r\n\r\nb=c+d")
    assert b"Content-Type: application/x-www-form-urlencoded" in put
    assert any(request.endswith(b'{"item":9}') for request in heard)
    figures = run.summary()["scenarios"][0]
    assert [each["name"] for each in figures["operations"]] == ["list", "item", "order", "PUT /missing"]
    assert run.verdicts()[0].interval.n == counts["item"]


def test_each_journey_has_its_own_cookies(made: Any) -> None:
    heard: list[bytes] = []
    served = {
        "/in": says(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: sid=s1; Path=/\r\n\r\n")),
        "/me": says(OK),
    }
    with raw_server(served, heard) as url:
        made(url, '    await user.get("/in")\n    await user.get("/me")\n', CLOSED, VISIT)
    assert all((b"Cookie: sid=s1" in request) == request.startswith(b"GET /me") for request in heard)


def test_what_a_function_raises_is_a_row_with_its_text(made: Any) -> None:
    function = '    found = await user.get("/a")\n    raise KeyError(f"no basket after {found.status}")\n'
    with raw_server(says(OK)) as url:
        run = made(url, function, AT_A_RATE, VISIT, 'objectives = ["journey visit: error rate < 1 %"]')
    assert set(run.sql("from journeys")["error"]) == {"exception:KeyError"}
    rows = run.rows(phase=None)
    assert rows["operation"].value_counts().to_dict() == {"GET /a": 40, "journey visit": 40}
    (failure,) = run.scenario("one").record.failures
    assert (failure.operation, failure.error, failure.requests) == ("journey visit", "exception:KeyError", 40)
    assert "no basket after 200" in next(iter(failure.texts))
    assert run.verdict == "fail"


@pytest.mark.parametrize("load", [AT_A_RATE, CLOSED])
def test_a_function_that_sleeps_ends_with_the_load(made: Any, load: str) -> None:
    began = time.monotonic()
    with raw_server(says(OK)) as url:
        made(url, '    await user.get("/a")\n    await asyncio.sleep(60)\n', load, VISIT)
    assert time.monotonic() - began < 20


def test_a_function_that_makes_no_request_is_an_error(made: Any) -> None:
    with raw_server(says(OK)) as url:
        idle = made(url, "    pass\n", CLOSED, VISIT)
    assert set(idle.sql("from rows")["error"]) == {"check"}
    assert idle.scenario("one").record.error_texts["check"].keys() == {"the function made no request"}


def test_functions_and_steps_are_journeys_of_one_scenario(made: Any) -> None:
    both = 'operations = [{ name = "a", path = "/a" }]\njourneys = [{ name = "visit", function = "MODULE:visit" }, '
    with raw_server(says(OK)) as url:
        run = made(url, '    await user.get("/b")\n', AT_A_RATE, both + '{ name = "steps", steps = ["a", "a"] }]')
    begun = run.sql("from journeys")["journey"].value_counts().to_dict()
    assert sum(begun.values()) == 40
    assert min(begun.values()) > 5
    assert run.rows(phase=None)["operation"].value_counts().to_dict() == {
        "a": 2 * begun["journey steps"],
        "GET /b": begun["journey visit"],
    }


def test_a_user_makes_one_request_at_a_time(made: Any) -> None:
    with raw_server(says(b"", OK, pause_s=0.02)) as url:
        run = made(url, '    await asyncio.gather(user.get("/a"), user.get("/b"))\n', AT_A_RATE, VISIT)
    texts = run.scenario("one").record.error_texts["exception:RuntimeError"]
    assert "one request at a time" in next(iter(texts))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('journeys = [{ name = "a", function = "nowhere:visit" }]', "cannot import 'nowhere:visit'"),
        ('journeys = [{ name = "a", function = "time:sleep" }]', "'time:sleep' is no async function; write `async def"),
        ('journeys = [{ name = "a", function = "visit" }]', "cannot read function 'visit'"),
    ],
)
def test_a_function_that_is_none_is_one_line(made: Any, keys: str, said: str) -> None:
    with raw_server(says(OK)) as url, pytest.raises(perflib.PerflibError) as caught:
        run = made(url, "    pass\n", CLOSED, keys)
        raise perflib.PerflibError("; ".join(run.manifest.reasons))
    assert said in str(caught.value)
