"""Names in braces: what fills them, how each place encodes it, what perflib makes itself, and what is refused."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perflib.errors import SuiteError
from perflib.load.preflight import check
from perflib.suite.placeholders import literal
from perflib.targets.template import json_template, text_template, value_template
from tests.support.runs import run_quietly
from tests.support.servers import raw_server, says
from tests.support.suites import suite

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ROW: dict[str, Any] = {
    "t": True, "n": None, "f": 1.0, "e": 1e22, "big": 12345678901234567890, "o": {"a": 1}, "l": [1, "x"], "s": 'ü/"ä',
}  # fmt: skip
NAMES = st.sampled_from(sorted(ROW))
TEXTS = st.lists(st.one_of(st.text(), NAMES.map(lambda name: f"{{{name}}}")), max_size=4).map("".join)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


def _resolvable(value: Any) -> Any:
    """The value with every name that the row does not have written literally."""
    if isinstance(value, str):
        return re.sub(r"\{([A-Za-z_]\w*(?:\|[^{}\r\n]*)?)\}", lambda m: m[0] if m[1] in ROW else literal(m[0]), value)
    if isinstance(value, Mapping):
        return {literal(key): _resolvable(entry) for key, entry in value.items()}
    return [_resolvable(entry) for entry in value] if isinstance(value, list) else value


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_json_text_is_the_json_of_the_filled_value(value: Any) -> None:
    template = _resolvable(value)
    assert json.loads(json_template(template)(ROW)) == value_template(template)(ROW)


@given(st.text())
def test_a_literal_yields_its_text(text: str) -> None:
    assert text_template(literal(text))({}) == text


def test_values_in_text_are_written_as_json_writes_them() -> None:
    filled = text_template("{t} {n} {f} {e} {big} {o} {l} {s} {{s}} {{now|unix}} 100%")(ROW)
    assert filled == 'true null 1.0 1e+22 12345678901234567890 {"a":1} [1,"x"] ü/"ä {s} {now|unix} 100%'


def heard_of(tmp_path: Path, operations: list[dict[str, Any]], path: str = "", **scenario: Any) -> list[bytes]:
    """The requests that a server heard."""
    heard: list[bytes] = []
    base = {"load": {"model": "closed", "concurrency": 1, "requests": len(operations)}, "warmup": {"duration_s": 0}}
    with raw_server(says(OK), heard) as url:
        made = suite(
            {"kind": "http", "url": f"{url}{path}"}, operations=operations, order="sequence", **{**base, **scenario}
        )
        run = run_quietly(made.__class__(**{**vars(made), "folder": str(tmp_path)}), tmp_path)
    assert run.status == "complete" and run.rows(phase=None)["error"].isna().all()
    return heard


def lines_of(heard: list[bytes]) -> list[str]:
    return [request.split(b" ")[1].decode() for request in heard]


def test_a_list_of_paths_is_requested_as_it_is_written(tmp_path: Path) -> None:
    urls = ["/products/1?color=red&size=2", "search?q=a+b", "/a b#top", "/ü", "//twice/%2F", ""]
    (tmp_path / "urls.jsonl").write_text("\n".join(json.dumps({"url": url}) for url in urls))
    operation = {"name": "any", "path": "{url|raw}", "data": "urls.jsonl"}
    load = {"model": "closed", "concurrency": 1, "requests": len(urls)}
    plain = heard_of(tmp_path, [operation], load=load)
    sent = ["/products/1?color=red&size=2", "/search?q=a+b", "/a%20b", "/%C3%BC", "//twice/%2F", "/"]
    assert lines_of(plain) == sent
    below = heard_of(tmp_path, [operation], "/api/?key=1", load=load)
    assert lines_of(below)[:3] == [
        "/api/products/1?key=1&color=red&size=2",
        "/api/search?key=1&q=a+b",
        "/api/a%20b?key=1",
    ]


def test_a_whole_url_of_the_target_is_requested_and_one_of_another_server_is_not(tmp_path: Path) -> None:
    with raw_server(says(OK), heard := []) as url:
        (tmp_path / "urls.csv").write_text(f"url\n{url}/a?b=c#d\nhttp://127.0.0.1:9/x\n")
        made = suite(
            {"kind": "http", "url": f"{url}/api"},
            operations=[{"name": "any", "path": "{url|raw}", "data": "urls.csv"}],
            load={"model": "closed", "concurrency": 1, "requests": 2},
        )
        run = run_quietly(made.__class__(**{**vars(made), "folder": str(tmp_path)}), tmp_path)
    assert lines_of(heard) == ["/a?b=c"]
    (failure,) = run.scenario("one").record.failures
    assert failure.error == "template" and "another server" in next(iter(failure.texts))


def test_a_query_of_the_targets_url_comes_before_that_of_the_operation(tmp_path: Path) -> None:
    operations = [{"name": str(n), "path": path} for n, path in enumerate(["/a", "/a?b=c", "/a?{random|x,x}", "/?#d"])]
    heard = heard_of(tmp_path, operations, "/base?key=1")
    assert lines_of(heard) == ["/base/a?key=1", "/base/a?key=1&b=c", "/base/a?key=1&x", "/base/?key=1"]


def test_perflib_makes_values_of_its_own(tmp_path: Path) -> None:
    made = {
        "id": "{uuid}", "at": "{now}", "s": "{now|unix}", "ms": "{now|unix_ms}", "n": "{counter}",
        "whole": "{random|-3..3}", "hex": "{random|hex:16}", "some": "{random|red,green}", "code": "{random|digits:6}",
        "text": "no {counter}",
    }  # fmt: skip
    operation = {"name": "a", "path": "/{uuid}", "json": made, "headers": {"X-Id": "{uuid}"}}
    heard = heard_of(tmp_path, [operation], load={"model": "closed", "concurrency": 2, "requests": 40}, workers=2)
    bodies = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in heard]
    assert {path[1:] for path in lines_of(heard)} == {body["id"] for body in bodies} and len(bodies) == 40
    assert all(uuid.UUID(body["id"]).version == 4 and str(uuid.UUID(body["id"])) == body["id"] for body in bodies)
    assert all(f"X-Id: {body['id']}\r\n".encode() in request for body, request in zip(bodies, heard, strict=True))
    assert sorted(body["n"] for body in bodies) == list(range(1, 41)), "unique among all workers"
    body = bodies[0]
    assert body["text"] == f"no {body['n']}" and re.fullmatch(r"\d{6}", body["code"])
    assert abs(datetime.fromisoformat(body["at"]).timestamp() - body["s"]) < 2 and abs(time.time() - body["s"]) < 60
    assert abs(body["ms"] / 1000 - body["s"]) < 2
    assert all(re.fullmatch("[0-9a-f]{16}", each["hex"]) and each["some"] in ("red", "green") for each in bodies)
    assert {each["whole"] for each in bodies} <= set(range(-3, 4)) and len({each["whole"] for each in bodies}) > 3


def test_numbers_of_a_counter_are_unique_in_the_run(tmp_path: Path) -> None:
    prepare = [{"name": "p", "path": "/p/{counter}", "count": 6}]
    operation = {"name": "a", "path": "/a/{counter}"}
    heard = heard_of(
        tmp_path, [operation], prepare=prepare, load={"model": "closed", "concurrency": 2, "requests": 6}, workers=2
    )
    numbers = [path.rpartition("/")[2] for path in lines_of(heard)]
    assert len(numbers) == len(set(numbers)) == 12


def test_a_column_of_the_same_name_wins(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("now,counter\nlater,many\n")
    operation = {"name": "a", "path": "/{now}/{counter}/{now|unix}", "data": "data.csv"}
    (line,) = lines_of(heard_of(tmp_path, [operation]))
    assert re.fullmatch(r"/later/many/\d{10}", line)


def test_the_environment_is_filled_in_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_BASE", "/v2")
    monkeypatch.setenv("TEST_SECRET", 's{a}"x')
    operation = {
        "name": "a", "path": "${TEST_BASE}/${TEST_SECRET}", "json": {"p": ["${TEST_SECRET}", "${{TEST_SECRET}}"]},
        "headers": {"X-S": "${TEST_SECRET}"},
    }  # fmt: skip
    text = {"name": "b", "path": "/", "body": "${TEST_SECRET} $5 ${{x}}"}
    first, second = heard_of(tmp_path, [operation, text])
    assert lines_of([first]) == ["/v2/s{a}%22x"] and b'X-S: s{a}"x\r\n' in first
    assert json.loads(first.partition(b"\r\n\r\n")[2]) == {"p": ['s{a}"x', "${TEST_SECRET}"]}
    assert second.partition(b"\r\n\r\n")[2] == b's{a}"x $5 ${x}'


REFUSED = [
    ({"path": "/", "json": {"query": "query{me{id}}"}}, "{id} has no value", "{{id}} for literal text"),
    ({"path": "/", "body": "{a|b}"}, "{a|b} has no value", "{{a|b}} for literal text"),
    ({"path": "/{random}"}, "{random} is no form of random", "{random|1..100}, {random|hex:16}"),
    ({"path": "/{random|9..1}"}, "{random|9..1} is no form", "{random|1..100}"),
    ({"path": "/{now|soon}"}, "{now|soon} is no form of now", "{now|unix}"),
    ({"path": "/{uuid|4}"}, "{uuid|4} is no form of uuid", "write {uuid}"),
    ({"path": "/${NOT_SET_HERE}"}, "NOT_SET_HERE is not set", "${{NOT_SET_HERE}} for literal text"),
    ({"path": "{url}", "data": "urls.csv"}, "not a path: '{url}'", '"{name|raw}" where a value is a whole path'),
]


@pytest.mark.parametrize(("operation", "said", "mend"), REFUSED, ids=[said for _, said, _ in REFUSED])
def test_what_nothing_can_fill_is_refused_in_one_line(operation: dict[str, Any], said: str, mend: str) -> None:
    with pytest.raises(SuiteError) as caught:
        check(suite(operations=[{"name": "q", **operation}]))
    line = str(caught.value)
    assert said in line and mend in line and "\n" not in line


def test_a_graphql_query_is_sent_as_it_is_written_with_doubled_braces(tmp_path: Path) -> None:
    operation = {
        "name": "q",
        "path": "/graphql",
        "json": {"query": "query($n: Int) { me(n: $n) { id name } a{{{id}}} }"},
    }
    (request,) = heard_of(tmp_path, [operation])
    assert json.loads(request.partition(b"\r\n\r\n")[2]) == {
        "query": "query($n: Int) { me(n: $n) { id name } a{{id}} }"
    }


def test_headers_of_the_target_and_of_values_break_no_line(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(json.dumps({"v": "a\r\nX-Evil: 1"}))
    operation = {"name": "a", "path": "/", "headers": {"X-A": "{v}", "X-B": "{v|raw}"}, "data": "data.jsonl"}
    (request,) = heard_of(tmp_path, [operation])
    assert b"\nX-Evil" not in request and request.count(b"a  X-Evil: 1") == 2
