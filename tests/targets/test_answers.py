"""What `expect` and `keep` see of answers: encodings undone, charsets obeyed, JSON compared as JSON, sizes bounded."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

import perflib
from perflib.errors import SuiteError
from perflib.targets.encodings import EncodingError, TooLongError, decoded
from perflib.targets.json_path import MISSING, equals, json_path
from tests.support.runs import run_quietly
from tests.support.servers import Answer, raw_server, says
from tests.support.suites import suite

BODY = json.dumps({"state": "done", "n": 1, "yes": True, "items": [{"id": 5, "open": False}, {"id": 9, "open": True}]})


def deflated(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(text) + compressor.flush()


ENCODE: dict[str, Any] = {
    "gzip": gzip.compress,
    "x-gzip": lambda text: gzip.compress(text[:9]) + gzip.compress(text[9:]),
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": lambda text: zstandard.compress(text[:5]) + zstandard.compress(text[5:]),
}


def answer(body: bytes, *lines: str, status: str = "200 OK") -> Answer:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines])
    return says(head.encode() + b"\r\n\r\n" + body)


def asked(
    tmp_path: Path, operations: dict[str, tuple[Answer, dict[str, Any]]], **target: Any
) -> tuple[perflib.Run, dict[str, str]]:
    """Each operation three times, and its only class of error with what was said of it; "ok" where there is none."""
    with raw_server({f"/{name}": each for name, (each, _) in operations.items()}) as url:
        made = run_quietly(
            suite(
                {"kind": "http", "url": url, "timeout_s": 5, **target},
                operations=[{"name": name, "path": f"/{name}", **keys} for name, (_, keys) in operations.items()],
                order="interleaved",
                load={"model": "closed", "concurrency": 1, "requests": 3 * len(operations)},
                warmup={"duration_s": 0},
            ),
            tmp_path,
        )
    failures = made.scenario("one").record.failures
    assert all(failure.requests == 3 for failure in failures), failures
    said = {failure.operation: f"{failure.error}: {'; '.join(failure.texts)}" for failure in failures}
    return made, {name: said.get(name, "ok") for name in operations}


def test_encodings_are_undone_before_anything_is_looked_for(tmp_path: Path) -> None:
    good = {"expect": {"json": {"$.state": "done"}, "max_bytes": len(BODY), "min_bytes": len(BODY)}}
    body = BODY.encode()
    operations: dict[str, Any] = {
        name: (answer(encode(body), f"Content-Encoding: {name}"), good) for name, encode in ENCODE.items()
    }
    operations |= {
        "raw-deflate": (answer(deflated(body), "content-encoding: Deflate"), good),
        "twice": (answer(brotli.compress(gzip.compress(body)), "Content-Encoding: gzip, br"), good),
        "two-lines": (
            answer(brotli.compress(gzip.compress(body)), "Content-Encoding: gzip", "Content-Encoding: br"),
            good,
        ),
        "identity": (answer(body, "Content-Encoding: identity"), good),
        "not-asked": (answer(b"no gzip at all", "Content-Encoding: gzip"), {}),
        "wrong": (answer(body, "Content-Encoding: gzip"), good),
        "cut": (answer(gzip.compress(body)[:-9], "Content-Encoding: gzip"), good),
        "unknown": (answer(body, "Content-Encoding: compress"), good),
        "bomb": (answer(gzip.compress(bytes(5_000_000)), "Content-Encoding: gzip"), {"expect": {"absent": "x"}}),
        "long": (answer(bytes(1_100_000)), {"expect": {"absent": "x"}}),
        "long-uncounted": (answer(bytes(1_100_000)), {}),
    }
    made, found = asked(tmp_path, operations, max_body_bytes=1_000_000)
    wrong = {name: text for name, text in found.items() if text != "ok"}
    assert wrong.keys() == {"wrong", "cut", "unknown", "bomb", "long", "long-uncounted"}
    assert wrong["wrong"].startswith("protocol:") and "the answer is not gzip, as its head says" in wrong["wrong"]
    assert "the answer ends before its gzip does" in wrong["cut"]
    assert "in encoding 'compress', which perflib cannot read" in wrong["unknown"]
    assert wrong["bomb"] == (
        "too_large: the body is longer than 1,000,000 bytes without its compression (max_body_bytes)"
    )
    assert (
        wrong["long"]
        == wrong["long-uncounted"]
        == "too_large: the body is longer than 1,000,000 bytes (max_body_bytes)"
    )
    rows = made.rows(phase=None)
    received = rows[rows["operation"] == "br"]["bytes_received"].unique().tolist()
    coded = brotli.compress(body)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(coded)}\r\nContent-Encoding: br\r\n\r\n"
    assert received == [len(head) + len(coded)]  # what came over the wire


def test_an_answer_is_what_was_expected_or_the_row_says_what_it_was(tmp_path: Path) -> None:
    here = answer(BODY.encode(), "X-Version: 7", "Content-Type: application/json")
    slow = says(b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n\r\n", b"ok", pause_s=0.03)
    cases: dict[str, tuple[Answer, dict[str, Any], str]] = {
        "status": (here, {"status": [200, 204]}, "ok"),
        "status-not": (here, {"status": [201, 204]}, "status 200 instead of 201 or 204"),
        "header": (here, {"headers": {"x-version": "7", "Content-Type": "json"}}, "ok"),
        "header-any": (here, {"headers": {"X-Version": ""}}, "ok"),
        "header-not": (here, {"headers": {"X-Version": "8"}}, 'header X-Version is "7"'),
        "header-none": (here, {"headers": {"X-Other": ""}}, "there is no header X-Other"),
        "contains": (here, {"contains": ["done", "open"]}, "ok"),
        "contains-not": (here, {"contains": ["done", "shut"]}, 'the answer does not contain "shut"'),
        "absent": (here, {"absent": ["error"]}, "ok"),
        "absent-not": (here, {"absent": "done"}, 'the answer contains "done"'),
        "matches": (here, {"matches": r'"id": \d,'}, "ok"),
        "matches-not": (here, {"matches": r"id=\d"}, 'nothing in the answer matches "id=\\\\d"'),
        "long": (here, {"min_bytes": 1000}, f"the body is {len(BODY)} bytes long, less than 1,000"),
        "short": (here, {"max_bytes": 9}, f"the body is {len(BODY)} bytes long, more than 9"),
        "true": (here, {"json": {"$.yes": True}}, "ok"),
        "true-is-not-1": (here, {"json": {"$.yes": 1}}, "$.yes is true instead of 1"),
        "1-is-not-true": (here, {"json": {"$.n": True}}, "$.n is 1 instead of true"),
        "1.0": (here, {"json": {"$.n": 1.0}}, "ok"),
        "filter": (here, {"json": {"$.items[?@.open == true].id": 9}}, "ok"),
        "whole": (here, {"json": {"$.items[0]": {"id": 5, "open": False}}}, "ok"),
        "whole-not": (here, {"json": {"$.items[0]": {"id": 5, "open": 0}}},
                      '$.items[0] is {"id": 5, "open": false} instead of {"id": 5, "open": 0}'),
        "nowhere": (here, {"json": {"$.items.id": 5}}, "there is no $.items.id"),
        "nan": (answer(b'{"a": NaN}'), {"json": {"$.a": 1}}, "there is no $.a"),
        "slow": (slow, {"within_s": 0.02}, "the answer took longer than 0.02 s"),
        "not-slow": (slow, {"within_s": 4}, "ok"),
        "404": (answer(b"{}", status="404 Not Found"), {"status": 404, "json": {"$": {}}}, "ok"),
    }  # fmt: skip
    _, found = asked(tmp_path, {name: (each, {"expect": wanted}) for name, (each, wanted, _) in cases.items()})
    wanted = {name: text if text == "ok" else f"check: {text}" for name, (_, _, text) in cases.items()}
    assert found == wanted


def test_fields_are_kept_from_every_part_of_an_answer(tmp_path: Path) -> None:
    heard: list[bytes] = []
    page = (
        '<meta content="m&amp;1" name="csrf"><form><input type=hidden name="other" value="no">'
        "<INPUT value='x\"y' type='hidden' name='_token'/><a href=\"/o?order=77\">"
    )
    first = answer(page.encode(), "X-Request: r-1", "Set-Cookie: sid=abc; Path=/; HttpOnly", "Set-Cookie: b=2")
    then = answer(BODY.encode())
    keep = {
        "meta": {"field": "csrf"}, "token": {"field": "_token"}, "order": {"regex": r"order=(\d+)"},
        "tag": {"regex": "<form>"}, "request": {"header": "x-request"}, "sid": {"cookie": "sid"},
    }  # fmt: skip
    then_kept = {"open": "$.items[?@.open == true].id", "n": {"json": "$.n"}}
    last = {"name": "last", "path": "/last", "method": "POST", "json": [f"{{{name}}}" for name in [*keep, "open", "n"]]}
    with raw_server({"/first": first, "/then": then, "/last": then}, heard) as url:
        made = run_quietly(
            suite(
                {"kind": "http", "url": url},
                operations=[
                    {"name": "first", "path": "/first", "keep": keep},
                    {"name": "then", "path": "/then", "keep": then_kept},
                    last,
                ],
                order="sequence",
                load={"model": "closed", "concurrency": 1, "requests": 6},
            ),
            tmp_path,
        )
    assert made.rows(phase=None)["ok"].all()
    sent = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in heard if request.startswith(b"POST")]
    assert sent == [["m&1", 'x"y', "77", "<form>", "r-1", "abc", 9, 1]] * 2


def test_what_is_not_there_cannot_be_kept(tmp_path: Path) -> None:
    here = answer(b'{"a": null}')
    sources: dict[str, Any] = {
        "json": "$.b", "null": "$.a", "header": {"header": "X-B"}, "cookie": {"cookie": "b"}, "regex": {"regex": "b+"},
        "field": {"field": "b"},
    }  # fmt: skip
    _, found = asked(tmp_path, {name: (here, {"keep": {"it": source}}) for name, source in sources.items()})
    said = {"json": "$.b", "null": "$.a", "header": 'header "X-B"', "cookie": 'cookie "b"', "regex": 'match of "b+"',
            "field": 'form field "b"'}  # fmt: skip
    assert found == {name: f"check: nothing to keep as 'it': the answer has no {text}" for name, text in said.items()}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"keep": {"a": {"header": "X", "cookie": "y"}}}, "needs one source, and has header, cookie"),
        ({"keep": {"a": {"heder": "X"}}}, "unknown key 'heder'; did you mean 'header'?"),
        ({"keep": {"a": "id"}}, "cannot read path 'id'"),
        ({"keep": {"a": {"regex": "("}}}, "not a regular expression"),
        ({"expect": {"matches": "["}}, "not a regular expression"),
        ({"expect": {"json": {"$.a[": 1}}}, "cannot read path '$.a['"),
        ({"expect": {"within_s": 0}}, "within_s"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as refused:
        run_quietly(
            suite({"kind": "http", "url": "http://127.0.0.1:9"}, operations=[{"name": "a", "path": "/", **keys}]),
            tmp_path,
        )
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_a_status_is_refused_where_answers_have_none(tmp_path: Path) -> None:
    operation = {"name": "a", "function": "math:sqrt", "args": [4], "expect": {"status": 200}}
    with pytest.raises(SuiteError, match="answers of this target have no status"):
        run_quietly(suite({"kind": "callable"}, operations=[operation]), tmp_path)


@given(st.binary(max_size=3000), st.sampled_from(sorted(ENCODE)), st.integers(0, 3000))
def test_decoding_gives_back_what_was_encoded_and_never_more_than_allowed(text: bytes, name: str, most: int) -> None:
    encoded = ENCODE[name](text)
    if len(text) > most:
        with pytest.raises(TooLongError):
            decoded(encoded, [name], most)
    else:
        assert decoded(encoded, [name], most) == text
    assert decoded(encoded, [name], most, is_cut=True) == text[:most]


@given(st.binary(max_size=200), st.lists(st.sampled_from(sorted(ENCODE)), min_size=1, max_size=3))
def test_bytes_that_are_not_encoded_are_an_error_of_one_kind(body: bytes, names: list[str]) -> None:
    try:
        decoded(body, names, 1000)
    except (EncodingError, TooLongError):
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_json_values_are_equal_as_their_texts_are(one: Any, other: Any) -> None:
    assert equals(one, one)
    if equals(one, other):
        as_floats = {"parse_int": float}
        text = [json.dumps(json.loads(json.dumps(value), **as_floats), sort_keys=True) for value in (one, other)]
        assert text[0] == text[1] or "." in text[0]


@given(JSON)
def test_a_path_never_fails(value: Any) -> None:
    for path in ("$", "$.a", "$[0]", "$[-1].b", "$..c", "$[?@.a > 1]", "$.a[1:3]", "$['x y']"):
        found = json_path(path)(value)
        assert found is MISSING or path != "$" or found is value
