"""`perflib try`: each operation is sent once, and what was sent and answered is printed. And where errors are said."""

from __future__ import annotations

import json
from pathlib import Path

import perflib
from perflib.report.markdown import of_run
from perflib.suite.redaction import struck_out
from tests.support.command_line import invoke, perflib_process
from tests.support.servers import raw_server, says

SUITE = """
name = "shop"
targets.api = { kind = "http", url = "%s" }
[[scenarios]]
name = "browse"
target = "api"
order = "sequence"
operations = [
  { name = "login", path = "/login", json = { password = "hunter22" }, keep = { token = "$.token" } },
  { name = "get item", path = "/item", headers = { Authorization = "Bearer {token}" } },
]
load = { model = "closed", concurrency = 1, requests = 60 }
[[scenarios]]
name = "other"
target = "api"
operations = [{ name = "login", path = "/login" }]
load = { model = "closed", concurrency = 1, requests = 2 }
"""


def answered(body: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


LOGIN = says(answered(json.dumps({"token": "abcdefgh"})))
LOST = says(answered('{"detail": "KeyError: id 41"}', "500 Internal Server Error"))


def test_try_prints_each_request_with_its_answer_and_no_secret(tmp_path: Path) -> None:
    heard: list[bytes] = []
    with raw_server({"/login": LOGIN, "/item": LOST}, heard) as url:
        (tmp_path / "s.toml").write_text(SUITE % url)
        done = invoke("try", str(tmp_path / "s.toml"), "--only", "browse")
        good = invoke("try", str(tmp_path / "s.toml"), "--only", "other")
    assert done.return_value == 1 and good.return_value == 0
    assert len(heard) == 3, "each once"
    assert b"Bearer abcdefgh" in heard[1], "what an operation keeps is sent"
    lines = done.output.splitlines()
    assert lines[0].startswith("✓ browse, login: as expected (")
    assert "  > POST /login HTTP/1.1" in lines and "  < HTTP/1.1 200 OK" in lines
    assert any(line.startswith("✗ browse, get item: http_5xx 'KeyError: id 41' (") for line in lines)
    assert '  < {"detail": "KeyError: id 41"}' in lines and "  > Authorization: Bearer •••" in lines
    assert "hunter22" not in done.output and "abcdefgh" not in done.output
    assert lines[-1] == "1 of 2 operations were answered as expected"
    assert not list(tmp_path.glob("data*"))


def test_try_says_what_is_wrong_before_it_sends_anything(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SUITE % "http://127.0.0.1:9")
    away = perflib_process("try", "s.toml", cwd=tmp_path)
    assert away.returncode == 4 and "nothing answers at http://127.0.0.1:9" in away.stderr
    assert perflib_process("try", "s.toml", "--only", "nothing", cwd=tmp_path).returncode == 2


def test_why_requests_failed_is_said_everywhere(tmp_path: Path) -> None:
    with raw_server({"/login": LOGIN, "/item": LOST}) as url:
        (tmp_path / "s.toml").write_text(SUITE % url)
        done = perflib_process("run", "s.toml", "--only", "browse", cwd=tmp_path)
    said = "30 errors: 30 × http_5xx 'KeyError: id 41' in `get item`"
    assert f"browse: {said}" in done.stderr, "at the end of the scenario"
    data = str(tmp_path / "data")
    assert f"browse: {said}" in invoke("check", "--data", data).output
    shown = invoke("show", "--data", data).output
    assert f"browse: {said}" in shown
    assert "browse, get item, http_5xx: GET /item HTTP/1.1 → HTTP/1.1 500 Internal Server Error" in shown
    made = perflib.open_run("latest", data)
    assert "browse: 30 × http_5xx in get item: 'KeyError: id 41'" in of_run(made)
    page = str(made.scenario("browse").errors())
    assert (
        "<td>get item</td>" in page
        and "&#39;KeyError: id 41&#39;" in page
        and page.count('<details class="sample">') == 2
    )
    assert "{&#34;detail&#34;: &#34;KeyError: id 41&#34;}" in page


def test_secrets_are_struck_out_and_words_about_them_stay() -> None:
    gone = {
        "Authorization: Basic dXNlcjpwdw==": "Authorization: Basic •••",
        "Set-Cookie: sid=1; Path=/": "Set-Cookie: •••",
        '{"access_token":"a\\"b","n":1}': '{"access_token":"•••","n":1}',
        "{'password': 'x y'}": "{'password': '•••'}",
        '<input name="csrf_token" value="abc">': '<input name="csrf_token" value="•••">',
        "https://ann:pw@host/a?api_key=5&b=6": "https://•••@host/a?api_key=•••&b=6",
    }
    assert {text: struck_out(text) for text in gone} == gone
    for stays in ("AuthenticationError: who are you?", "SessionError: it expired", 'author: Ann, "id": 41'):
        assert struck_out(stays) == stays
    assert struck_out("the word is sesame", ["sesame"]) == "the word is •••"
