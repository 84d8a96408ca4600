"""The bodies and queries of requests, as a server that was written for real ones reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perflib.errors import SuiteError
from tests.support.asgi import served
from tests.support.runs import run_quietly
from tests.support.suites import suite

PHOTO = bytes(range(256)) * 40
ROW = {"user": "Ada & Bob", "n": 7, "word": "größe/+ ?"}


def sent(tmp_path: Path, operations: dict[str, dict[str, Any]], target: str = "/base?key=a%20b") -> dict[str, Any]:
    """What the server understood of each operation, which is sent three times, always the same."""
    understood: dict[str, list[Any]] = {}

    async def read(request: Request) -> Response:
        said: dict[str, Any] = {
            "path": request.scope["path"], "query": request.query_params.multi_items(), "method": request.method,
            "type": request.headers.get("content-type", "").partition(";")[0],
        }  # fmt: skip
        if "form" in said["type"]:
            async with request.form() as form:
                said["form"] = [
                    (name, value) if isinstance(value, str)
                    else (name, value.filename, value.content_type, await value.read())
                    for name, value in form.multi_items()
                ]  # fmt: skip
        else:
            said["body"] = await request.body()
        understood.setdefault(request.headers["x-name"], []).append(said)
        return Response("")

    (tmp_path / "data.jsonl").write_text(json.dumps(ROW))
    (tmp_path / "photo.png").write_bytes(PHOTO)
    with served(Starlette(routes=[Route("/{rest:path}", read, methods=["GET", "POST", "PUT"])])) as url:
        asked = suite(
            {"kind": "http", "url": url + target},
            operations=[
                {"name": name, "path": "/do", "headers": {"X-Name": name}, "data": "data.jsonl", **keys}
                for name, keys in operations.items()
            ],
            order="interleaved",
            load={"model": "closed", "concurrency": 1, "requests": 3 * len(operations)},
            warmup={"duration_s": 0},
        )
        made = run_quietly(replace(asked, folder=str(tmp_path)), tmp_path)
    assert made.rows(phase=None)["ok"].all(), made.scenario("one").record.failures
    assert all(each == [each[0]] * 3 for each in understood.values())
    return {name: each[0] for name, each in understood.items()}


def test_every_kind_of_body_is_what_the_server_reads(tmp_path: Path) -> None:
    found = sent(
        tmp_path,
        {
            "json": {"json": {"who": "{user}", "n": "{n}", "text": "{n} {word}"}},
            "form": {"form": {"who": "{user}", "tag": ["a b", "{word}"], "yes": True, "n": 1.5, "a&b": "="}},
            "fixed form": {"form": {"who": "me"}},
            "empty form": {"form": {}},
            "multipart": {
                "multipart": {
                    "title": "{word}",
                    "photo": {"file": "photo.png"},
                    "other": {"file": "photo.png", "name": "größe.bin", "type": "application/x-own"},
                }
            },
            "file": {"body_file": "photo.png", "method": "PUT"},
            "text": {"body": "{word}", "headers": {"X-Name": "text", "Content-Type": "text/plain"}},
            "nothing": {},
            "post": {"method": "POST"},
        },
    )
    assert json.loads(found["json"]["body"]) == {"who": "Ada & Bob", "n": 7, "text": "7 größe/+ ?"}
    assert found["form"]["form"] == [
        ("who", "Ada & Bob"), ("tag", "a b"), ("tag", "größe/+ ?"), ("yes", "true"), ("n", "1.5"), ("a&b", "="),
    ]  # fmt: skip
    assert found["fixed form"]["form"] == [("who", "me")] and found["empty form"]["form"] == []
    assert found["multipart"]["form"] == [
        ("title", "größe/+ ?"), ("photo", "photo.png", "image/png", PHOTO),
        ("other", "größe.bin", "application/x-own", PHOTO),
    ]  # fmt: skip
    assert (found["file"]["method"], found["file"]["type"], found["file"]["body"]) == ("PUT", "image/png", PHOTO)
    assert found["text"]["body"] == "größe/+ ?".encode() and found["text"]["method"] == "POST"
    assert found["nothing"]["method"] == "GET" and found["post"]["method"] == "POST"


def test_queries_of_target_path_and_params_are_one_query(tmp_path: Path) -> None:
    params = {"q": "{word}", "tag": ["x", "{n}"], "on": False}
    found = sent(
        tmp_path,
        {
            "all": {"path": "/do it/{word}?x=1 2&y={user}#top", "params": params},
            "params": {"path": "/do", "params": {"q": "a+b"}},
            "none": {"path": "/do"},
        },
    )
    assert found["all"]["path"] == "/base/do it/größe/+ ?"
    assert found["all"]["query"] == [
        ("key", "a b"), ("x", "1 2"), ("y", "Ada & Bob"), ("q", "größe/+ ?"), ("tag", "x"), ("tag", "7"),
        ("on", "false"),
    ]  # fmt: skip
    assert found["params"]["query"] == [("key", "a b"), ("q", "a+b")]
    assert found["none"]["query"] == [("key", "a b")]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"form": {}, "json": 1}, "an operation has both json and form; give one of them"),
        ({"body": "x", "body_file": "y"}, "both body and body_file"),
        ({"multipart": {"a": {"fle": "x"}}}, "unknown key 'fle'; did you mean 'file'?"),
        ({"body_file": "none.bin"}, "cannot read none.bin: No such file"),
        ({"multipart": {"a": {"file": "none.bin"}}}, "cannot read none.bin: No such file"),
        ({"parms": {"a": 1}}, "did you mean 'params'?"),
    ],
)
def test_a_body_that_cannot_be_sent_is_refused_in_one_line(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    operation = {"name": "a", "path": "/", **keys}
    with pytest.raises(SuiteError) as refused:
        run_quietly(suite({"kind": "http", "url": "http://127.0.0.1:9"}, operations=[operation]), tmp_path)
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert not list(tmp_path.glob("data/runs/*"))
