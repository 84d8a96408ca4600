"""`perflib init`: each format becomes a suite that runs against a server of the same description."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jsonschema
import pytest
import yaml

import perflib
from perflib.errors import SuiteError
from perflib.load.preflight import check
from perflib.load.tryout import try_suite
from perflib.sources.formats import formats, suite_of
from perflib.sources.given import Given
from perflib.sources.writer import Written
from perflib.suite.file import load_suite, parse_suite
from perflib.suite.model import Suite
from tests.support.access_logs import log_of
from tests.support.browsing import CHROMIUM, FLAGS
from tests.support.command_line import invoke
from tests.support.recorder import Asked, Recorder, recorder
from tests.support.small_shop import record, small_shop

FILES = Path(__file__).parent / "files"


def suite_from(file: Path, *, everything: bool = True, url: str | None = None, name: str | None = None) -> Written:
    return suite_of(Given([str(file)], Path("suite.toml"), everything, url), name)[1]


def parsed(made: Written, monkeypatch: pytest.MonkeyPatch, **values: str) -> Suite:
    """The suite, with values for its variables."""
    for variable, value in made.variables.items():
        monkeypatch.setenv(variable, values.get(variable, value or "a-secret-value"))
    suite = parse_suite(made.text, where="suite.toml", folder=str(FILES))
    check(suite)
    return suite


def every_request_is_good(suite: Suite, heard: Recorder | None = None) -> None:
    """Each operation is sent once."""
    tried = try_suite(suite)
    assert tried and not [each.in_words for each in tried if each.error], heard and heard.refused


# OpenAPI: a server that checks paths, parameters and bodies by the document itself.


def mock_of(document: Mapping[str, Any]) -> Callable[[Asked], tuple[int, str] | None]:
    base = re.sub(r"^https?://[^/]+", "", document["servers"][0]["url"]).rstrip("/")

    def fits(asked: Asked, path: str, operation: Mapping[str, Any]) -> bool:
        match = re.fullmatch(base + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path), asked.path)
        if match is None:
            return False
        for parameter in operation.get("parameters", ()):
            found = {"path": match.groupdict(), "query": asked.query, "header": asked.headers}[parameter["in"]]
            if parameter.get("required") and parameter["name"] not in found:
                return False
            if parameter["in"] == "path" and parameter["schema"]["type"] == "integer":
                int(match[parameter["name"]])
        for content in operation.get("requestBody", {}).get("content", {}).items():
            if content[0] == "application/json":
                schema = {**content[1]["schema"], "components": document["components"]}
                jsonschema.Draft202012Validator(schema).validate(json.loads(asked.body))
                break
        for scheme in [name for each in operation.get("security", [{}])[:1] for name in each]:
            if (asked.headers.get("api_key") if scheme == "api_key" else asked.headers.get("authorization")) is None:
                return False
        return True

    def answer(asked: Asked) -> tuple[int, str] | None:
        for path, item in document["paths"].items():
            operation = item.get(asked.method.lower())
            if operation and fits(asked, path, operation):
                return 200, "{}"
        return None

    return answer


@pytest.mark.parametrize("file", ["petstore.yaml", "petstore3.json"])
def test_petstore_runs_against_a_server_that_checks_its_description(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    document = yaml.safe_load((FILES / file).read_text())
    base = re.sub(r"^https?://[^/]+", "", document["servers"][0]["url"])
    with recorder(mock_of(document)) as heard:
        made = suite_from(FILES / file, url=heard.url + base)
        every_request_is_good(parsed(made, monkeypatch), heard)
    methods = [(p, m) for p, item in document["paths"].items() for m in item if m in ("get", "put", "post", "delete")]
    assert made.requests == len(methods) == len(heard.asked)
    assert made.left_out == 0 and not made.losses


def test_what_changes_something_is_a_comment_and_hosts_elsewhere_stay_refused(tmp_path: Path) -> None:
    made = suite_from(FILES / "petstore.yaml", everything=False)
    assert made.requests == 2 and made.left_out == 1
    assert "# Left out: POST changes something" in made.text and '# name = "createPets"' in made.text
    suite = parse_suite(made.text, where="s", folder="")
    assert [operation.name for operation in suite.scenarios[0].operations] == ["listPets", "showPetById"]
    with pytest.raises(SuiteError, match=r"petstore\.swagger\.io.*not this machine"):
        check(suite)
    assert '# allow_hosts = ["petstore.swagger.io"]' in made.text


def described(**operation: Any) -> dict[str, Any]:
    return {"openapi": "3.1.0", "info": {"title": "T", "version": "1"}, "paths": {"/a": operation}}


def written_to(folder: Path, value: Any) -> Path:
    file = folder / "api.json"
    file.write_text(json.dumps(value))
    return file


def test_an_api_of_its_own_kind_is_translated_or_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"type": "object", "required": ["id", "next"], "properties": {
        "id": {"type": "integer", "readOnly": True},
        "next": {"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/Node"}]}, "name": {"const": "x"},
    }}  # fmt: skip
    page = {"name": "page", "in": "query", "schema": {"type": "integer"}, "examples": {"p": {"value": 3}}}
    parameters = [
        {"name": "ids", "in": "query", "required": True, "explode": False, "example": [1, 2], "schema": {}},
        {"name": "where", "in": "query", "style": "deepObject", "example": {"a": "b"}, "schema": {}},
        {"name": "Accept-Version", "in": "header", "required": True, "schema": {"type": "string", "default": "2"}},
        {"$ref": "#/components/parameters/Page"},
        {"$ref": "other.yaml#/x"},
    ]
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Node"}}}}
    api = described(post={"parameters": parameters, "requestBody": body, "callbacks": {"done": {}}})
    api["components"] = {
        "schemas": {"Node": node},
        "parameters": {"Page": page},
        "securitySchemes": {
            "b": {"type": "http", "scheme": "basic"},
            "k": {"type": "apiKey", "in": "query", "name": "k"},
        },
    }
    api["security"] = [{"b": [], "k": []}]
    api["webhooks"] = {"news": {}}
    with recorder(lambda asked: (200, "{}")) as heard:
        made = suite_from(written_to(tmp_path, api), url=heard.url)
        every_request_is_good(parsed(made, monkeypatch, K="key-value-1"), heard)
    asked = heard.asked[0]
    assert asked.query == {"ids": ["1,2"], "where[a]": ["b"], "page": ["3"], "k": ["key-value-1"]}
    assert asked.headers["accept-version"] == "2" and asked.headers["authorization"].startswith("Basic ")
    assert '"next": null' in asked.body and '"id"' not in asked.body, "what is read-only is not sent"
    places = sorted(loss.partition(":")[0] for loss in made.losses)
    assert places == ["1 webhooks, which the server sends by itself", "POST /a", "other.yaml#/x"]


MULTIPLYING = "a: &a [x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 12)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("openapi: 3.0.0\npaths: [\n", r"api.yaml, line 3: not valid YAML"),
        ("swagger: '2.0'\npaths: {}\n", "Swagger 2.0; convert it to OpenAPI 3"),
        ("openapi: 3.0.0\npaths: 5\n", "paths: `paths` is no table"),
        ("openapi: 3.0.0\ninfo: {}\npaths: {}\n", "it has no requests"),
        (f"{MULTIPLYING}openapi: 3.0.0\npaths: *i\n", "more than 4,000,000 values"),
        ("openapi: 3.0.0\npaths: &p\n  /a: *p\n", "nested more than 200 levels"),
        ("just words\n", "the format is not recognised"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_with_its_place(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "api.yaml").write_text(content)
    with pytest.raises(SuiteError, match=said) as raised:
        suite_from(tmp_path / "api.yaml")
    assert "\n" not in str(raised.value) and raised.value.mend


# HAR


def test_a_recording_of_chromium_logs_in_and_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_shop() as (url, shop):
        made = suite_from(FILES / "shop.har", url=url)
        suite = parsed(made, monkeypatch)
        cut = parse_suite(made.text, where="s", folder="", overrides=["scenarios.Shop.load.duration_s=0.5"])
        run = perflib.run(cut, data=tmp_path, progress=False)
    figures = run.summary()["scenarios"][0]
    assert figures["requests"] >= 16 and figures["errors"] == 0 and not shop.refused
    kept = {name for operation in suite.scenarios[0].operations for name in operation.keep}
    assert kept == {"csrf", "token", "items_id", "id"} and len(shop.orders) >= 2
    assert made.variables == {"PASSWORD": "correct-horse-9"}


def test_what_needs_a_comment_of_a_recording_is_a_comment_too() -> None:
    made = suite_from(FILES / "shop.har", everything=False)
    names = [operation.name for operation in parse_suite(made.text, where="s", folder="").scenarios[0].operations]
    assert "GET /api/items" in names and "POST /login" not in names
    assert "# Left out: no request before it gives {id}." in made.text


def test_pages_are_journeys_unless_one_needs_another_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    def entry(url: str, page: str, answer: str = "", **more: Any) -> dict[str, Any]:
        content = {"mimeType": "application/json", "text": answer}
        response = {"status": more.pop("status", 200), "headers": [], "content": content}
        request = {"method": "GET", "url": url, "headers": []}
        started = f"2026-01-01T00:00:0{page}"
        return {"pageref": page, "startedDateTime": started, "response": response, "request": request, **more}

    here = "http://localhost:1"
    entries = [
        entry(f"{here}/one", "1", '{"session_token": "abcdef-0123456789"}'),
        entry(f"{here}/two", "2"),
        entry(f"{here}/three?t=abcdef-0123456789", "3"),
        entry("https://ads.example.com/x", "2"),
        entry(f"{here}/gone", "2", status=404),
        entry(f"{here}/cached", "2", _fromCache="disk"),
        entry("data:text/plain,x", "2"),
    ]
    pages = [{"id": str(n), "title": title} for n, title in enumerate(("First", f"{here}/two", "Third"), 1)]
    made = suite_from(written_to(tmp_path, {"log": {"version": "1.2", "pages": pages, "entries": entries}}))
    suite = parse_suite(made.text, where="s", folder="")
    assert {s.name: [op.name for op in s.operations] for s in suite.scenarios} == {
        "First": ["GET /one", "GET /three"], "/two": ["GET /two"],
    }  # fmt: skip
    assert made.left_out == 2 and "it goes to another site, ads.example.com" in made.text
    assert "its recorded answer was an error, 404" in made.text
    assert any("from its cache: GET http://localhost:1/cached" in loss for loss in made.losses)
    assert any("that are not HTTP" in loss for loss in made.losses)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_what_this_chromium_records_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_shop() as (url, shop):
        record(url, str(tmp_path / "shop.har"), str(CHROMIUM), FLAGS)
        every_request_is_good(parsed(suite_from(tmp_path / "shop.har"), monkeypatch))
        assert not shop.refused


# Postman


def test_a_collection_runs_with_what_its_scripts_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(asked: Asked) -> tuple[int, str] | None:
        match asked.method, asked.path:
            case "POST", "/login":
                good = json.loads(asked.body) == {"user": "ada", "password": "correct-horse-9", "attempt": "1"}
                return (200, '{"access_token": "t-1"}') if good else None
            case "POST", "/graphql":
                query = "query ($q: String) { items(q: $q) {name} }"
                return (200, "{}") if json.loads(asked.body) == {"query": query, "variables": {"q": "tea"}} else None
            case ("GET", "/orders/41") | ("POST", "/orders"):
                form = parse_qs(asked.body)
                good = asked.query == {"fields": ["all"]} or (form["sku"] == ["a b"] and len(form["key"][0]) == 36)
                return (200, "{}") if good and asked.headers["authorization"] == "Bearer t-1" else None
        return None

    with recorder(answer) as heard:
        made = suite_from(FILES / "collection.json", url=heard.url)
        suite = parsed(made, monkeypatch, PASSWORD="correct-horse-9")
        every_request_is_good(suite, heard)
    assert [s.name for s in suite.scenarios] == ["Orders", "Session"], "the orders need the session's token"
    assert "correct-horse-9" not in made.text
    assert [loss.partition(":")[0] for loss in made.losses] == ["Log in"], "its test of the time"
    assert "# disabled: header X-Debug" in made.text and "# disabled: parameter page" in made.text


# curl


def test_curl_lines_as_chromium_copies_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with recorder(lambda asked: (200, "{}")) as heard:
        made = suite_from(FILES / "requests.sh", url=heard.url)
        every_request_is_good(parsed(made, monkeypatch), heard)
    items, notes, login, deleted, search = heard.asked
    assert items.query == {"limit": ["5"]} and items.headers["cookie"] == "sid=QmFzZTY0LXNlc3Npb24tMQ; theme=dark"
    assert json.loads(notes.body) == {"text": "it's a {note}", "stars": 5}
    assert notes.headers["x-token"] == "tok-5f0a9c3d7b1e2f64"
    assert parse_qs(login.body) == {"user": ["ada"], "password": ["correct-horse-9"]}
    assert deleted.method == "DELETE" and deleted.headers["authorization"] == "Basic YWRhOmNvcnJlY3QtaG9yc2UtOQ=="
    assert search.query == {"q": ["green tea"], "page": ["2"]} and search.method == "GET"
    assert "verify_tls = false" in made.text and "redirects = 10" in made.text
    assert any("option --http2-prior-knowledge" in loss for loss in made.losses)
    for secret in ("tok-5f0a9c3d7b1e2f64", "QmFzZTY0LXNlc3Npb24tMQ", "correct-horse-9", "YWRhOmNvcn"):
        assert secret not in made.text


def test_curl_for_windows_and_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text(
        'curl ^"http://127.0.0.1:1/a?b=1^&c=2^" ^\r\n  -H ^"X-A: 1^" ^\r\n'
        '  --data-raw ^"^{^\\^"q^\\^":^\\^"50^%^\\^"^}^"\r\n'
        "wget x\n"
    )
    made = suite_from(tmp_path / "w.txt")
    operation = parse_suite(made.text, where="s", folder="").scenarios[0].operations[0]
    assert operation.path == "/a?b=1&c=2" and operation.method is None
    assert operation.headers["X-A"] == "1" and operation.json == {"q": "50%"}
    assert made.losses == ["line 4 is no curl command: wget x"]
    (tmp_path / "w.txt").write_text("curl 'http://127.0.0.1/")
    with pytest.raises(SuiteError, match=r"w\.txt, line 1: the command does not end"):
        suite_from(tmp_path / "w.txt")


# Access logs


def test_the_mix_of_an_access_log_is_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "access.log").write_text(log_of(200) + "no request\n")
    known = re.compile(r"/(?:items/\d{3}|search|old|)")

    def answer(asked: Asked) -> tuple[int, str] | None:
        return (301 if asked.path == "/old" else 200, "") if known.fullmatch(asked.path) else None

    shorter = ["scenarios.mix.load.duration_s=1.5", "scenarios.mix.load.rate_per_s=200"]
    with recorder(answer) as heard:
        made = suite_from(tmp_path / "access.log", everything=False, url=heard.url)
        suite = parsed(made, monkeypatch)
        cut = parse_suite(made.text, where="s", folder="", overrides=shorter)
        run = perflib.run(cut, data=tmp_path, progress=False)
    scenario = suite.scenarios[0]
    weights = {"GET /items/…": 50, "GET /": 25, "GET /items/… 2": 25, "GET /search": 25, "GET /old": 25}
    assert {op.name: op.weight for op in scenario.operations} == weights
    assert 3.9 <= scenario.load.highest_rate_per_s <= 4.1 and scenario.load.model == "poisson"
    figures = run.summary()["scenarios"][0]
    assert figures["requests"] >= 100 and figures["errors"] <= 0.01 * figures["requests"], heard.refused
    asked = Counter(re.sub(r"\d+", "N", each.path) for each in heard.asked)
    assert 0.35 < asked["/items/N"] / asked.total() < 0.65
    assert len({each.path for each in heard.asked if each.path.startswith("/items/")}) == 7
    assert made.left_out == 2 and "never had a good answer" in made.text
    assert any("1 lines that are no requests: line 201" in loss for loss in made.losses)


# Functions, and the command


def test_a_function_is_called_with_examples() -> None:
    given = Given(["tests.support.functions:added"], Path("suite.toml"))
    made = suite_of(given)[1]
    suite = parse_suite(made.text, where="s", folder="")
    every_request_is_good(suite)
    assert dict(suite.scenarios[0].operations[0].kwargs) == {"seconds": 1, "times": [1]}
    with pytest.raises(SuiteError, match="cannot import"):
        suite_of(Given(["no_such_module:f"], Path("suite.toml")))


def test_the_command_writes_a_new_file_and_says_what_a_person_should_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("init", str(FILES / "petstore3.json"))
    assert done.return_value == 0, done.output
    assert "5 requests are comments" in done.output and "set before a run: PETSTORE_AUTH, API_KEY" in done.output
    assert load_suite("suite.toml").name == "Swagger Petstore - OpenAPI 3.0"
    assert "there is such a file already" in str(invoke("init", str(FILES / "petstore.yaml")).exception)
    assert "no format 'soap'" in str(invoke("init", "x", "-o", "b.toml", "--from", "soap").exception)
    assert "no such file or command" in str(invoke("init", "nothing.yaml", "-o", "b.toml").exception)
    assert list(formats()) == ["openapi", "har", "postman", "curl", "access-log", "replay", "function", "mcp"]


def test_only_what_changes_something_says_so() -> None:
    with pytest.raises(SuiteError, match="--all"):
        suite_from(FILES / "collection.json", everything=False)
