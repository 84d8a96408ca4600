"""`perflib mcp inspect`: examples for schemas, starter suites of hostile servers, and the command as users meet it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import perflib
from perflib.load.preflight import check
from perflib.sources.examples import example
from perflib.sources.mcp_listing import Listing, describe
from perflib.sources.mcp_suite import file_name, reason_left_out, starter_suite, without_fields
from perflib.sources.patterns import matches, text_matching
from perflib.suite.file import from_table, load_suite
from perflib.suite.model import Target
from perflib.targets.template import text_template, value_template
from tests.support.command_line import perflib_process
from tests.support.service import Server

URL = Target(kind="mcp", url="http://127.0.0.1:9/mcp")
PATTERNS = (
    r"^[A-Z]{3}-\d{4}$",
    r"^#[0-9a-f]{6}$",
    r"^(foo|bar)+$",
    r"^\w+@\w+\.(com|org)$",
    r"[^a-z]{3,}",
    r"^(a)\1b$",
    r"^v?\d+\.\d+$",
)
DEFS = {
    "three": {"type": "integer", "minimum": 3},
    "tree": {
        "type": "object",
        "properties": {"below": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        "required": ["below"],
    },
    "chain": {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/chain"}, {"type": "null"}]}},
        "required": ["next"],
    },
}
quickly = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
plain = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    low, span = draw(st.integers(-50, 50)), draw(st.integers(2, 40))
    limits = {
        draw(st.sampled_from(["minimum", "exclusiveMinimum"])): low,
        draw(st.sampled_from(["maximum", "exclusiveMaximum"])): low + span,
        "multipleOf": draw(st.sampled_from([1, 0.5, 0.25])),
    }
    kept = draw(st.sets(st.sampled_from(sorted(limits))))
    return {"type": draw(st.sampled_from(["integer", "number"])), **{key: limits[key] for key in kept}}


@st.composite
def texts(draw: st.DrawFn) -> dict[str, Any]:
    least = draw(st.integers(0, 30))
    limits = {"minLength": least, "maxLength": least + draw(st.integers(0, 5))}
    return {"type": "string", **{key: limits[key] for key in draw(st.sets(st.sampled_from(sorted(limits))))}}


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    own = draw(st.dictionaries(st.sampled_from("abcd"), inner, max_size=3))
    required = draw(st.lists(st.sampled_from(sorted(own)), unique=True)) if own else []
    return {"type": "object", "properties": own, "required": required, "additionalProperties": draw(st.booleans())}


def composed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    few = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        objects(inner),
        st.builds(
            lambda i, n: {"type": "array", "items": i, "minItems": n, "maxItems": n + 1}, inner, st.integers(0, 4)
        ),
        st.builds(
            lambda i: {"type": "array", "prefixItems": [i, {"type": "string"}], "minItems": 2, "items": False}, inner
        ),
        st.builds(lambda b: {"anyOf": b}, few),
        st.builds(lambda i: {"anyOf": [{"type": "null"}, i]}, inner),
        st.builds(
            lambda b: {
                "allOf": [
                    {"type": "object", "properties": {k: v}, "required": [k]} for k, v in zip("xyz", b, strict=False)
                ]
            },
            few,
        ),
        st.builds(
            lambda i: {
                "oneOf": [
                    {"type": "object", "properties": {"kind": {"const": k}, "v": i}, "required": ["kind", "v"]}
                    for k in "ab"
                ]
            },
            inner,
        ),
        st.builds(lambda i, v: {"allOf": [i], "default": v, "examples": [v]}, inner, plain),
    )


schemas = st.recursive(
    st.one_of(
        numbers(),
        texts(),
        st.sampled_from([{"type": t} for t in ("boolean", "null", ["string", "null"], ["null", "integer"])]),
        st.sampled_from([{"$ref": f"#/$defs/{name}"} for name in DEFS]),
        st.sampled_from([{"type": "string", "pattern": p} for p in PATTERNS]),
        st.builds(lambda v: {"enum": v}, st.lists(plain, min_size=1, max_size=4)),
        st.builds(lambda v: {"const": v}, plain),
        st.just({}),
    ),
    composed,
    max_leaves=8,
)
WORDS = (
    "type",
    "properties",
    "required",
    "items",
    "enum",
    "const",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "$ref",
    "minimum",
    "maximum",
    "minLength",
    "minItems",
    "pattern",
    "default",
    "format",
    "multipleOf",
    "uniqueItems",
    "contains",
    "prefixItems",
    "#",
    "#/properties",
    "#/allOf/0",
    "string",
    "object",
    "array",
    "integer",
    "number",
    "(a+)+$",
    "{name}",
)
junk = st.recursive(  # also what keywords never have
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(WORDS) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=15,
)


@quickly
@given(schemas)
def test_an_example_fits_its_schema(schema: dict[str, Any]) -> None:
    whole = {**schema, "$defs": DEFS}
    jsonschema.Draft202012Validator(whole).validate(example(whole))


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "examples": ["Oslo"], "default": "Rome"}, "Oslo"),
        ({"type": "string", "examples": [5], "default": "Rome"}, "Rome"),
        ({"type": "integer", "default": None, "enum": [7, 8]}, 7),
        ({"type": "string", "format": "date"}, "2025-01-01"),
        ({"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 0.5}, 1),  # nothing fits
        ({"type": "integer", "minimum": 10, "multipleOf": 7}, 14),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True}, [1, 2, 3]),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "uniqueItems": True}, ["a", "b"]),
        ({"type": "array", "contains": {"const": 5}}, [5]),
        ({"type": "string", "nullable": True}, "example"),
        ({"type": "object", "properties": {"a": {"default": None}, "b": {"default": 2}, "c": {}}}, {"b": 2}),
        (
            {
                "properties": {"a": {"$ref": "#/definitions/x~1y"}},
                "required": ["a"],
                "definitions": {"x/y": {"const": 3}},
            },
            {"a": 3},
        ),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:9/remote"}}, "required": ["a"]}, {"a": "example"}),
    ],
)  # fmt: skip
def test_examples_are_what_one_would_write(schema: dict[str, Any], expected: Any) -> None:
    assert example(schema) == expected


def _doubling(levels: int) -> dict[str, Any]:
    names = [f"n{level}" for level in range(levels)]
    ref = [{"$ref": f"#/$defs/{name}"} for name in names[1:]] + [{"type": "string"}]
    defs = {
        name: {"type": "object", "properties": {"a": r, "b": r}, "required": ["a", "b"]}
        for name, r in zip(names, ref, strict=True)
    }
    return {"$ref": "#/$defs/n0", "$defs": defs}  # fmt: skip


def _nested(levels: int, innermost: Any, around: Callable[[Any], Any]) -> Any:
    for _ in range(levels):
        innermost = around(innermost)
    return innermost


PATTERN_BOMBS = (
    "(a+)+$",
    "((a{1000}){1000}){1000}",
    "(a?){30}b",
    "a?" * 40 + "a" * 40,
    "(" * 60 + "a*" + ")*" * 60 + "$",
    "(a|a)" * 90 + "b",
    "(?=(a{1000}){1000}){1000}",
    "[\\x00-\\U0010ffff]{2000}",
    "(.{99})(\\1{99})(\\2{99})(\\3{99})",
)
ABSURD: dict[str, Any] = {
    "doubling": _doubling(40),
    "itself": {"$ref": "#"},
    "allOf itself": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
    "anyOf itself": {"anyOf": [{"$ref": "#"}] * 50, "oneOf": [{"$ref": "#"}] * 50},
    "property itself": {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    "allOf doubling": {
        "$defs": {f"n{at}": {"allOf": [{"$ref": f"#/$defs/n{at + 1}"}] * 2} for at in range(60)},
        "$ref": "#/$defs/n0",
    },
    "no schema": {"$ref": "#/title", "title": "x", "allOf": 5, "type": {"type": []}, "items": "x", "enum": {}},
    "deep": _nested(900, True, lambda inner: {"not": inner}),
    "deep objects": _nested(300, {}, lambda inner: {"properties": {"a": inner}, "required": ["a"]}),
    "deep default": {"default": _nested(900, 1, lambda inner: [inner])},
    "long text": {"type": "string", "minLength": 10**12},
    "long arrays": {"type": "array", "items": {"type": "array", "minItems": 10**9}, "minItems": 10**9},
    "large number": {"type": "integer", "minimum": 10**400},
    "enum": {"type": "string", "enum": [{"a": at} for at in range(100_000)]},
    "unique": {"type": "array", "uniqueItems": True, "default": [{} for _ in range(5_000)]},
    "required": {"required": [f"k{at}" for at in range(100_000)]},
    "properties": {"properties": {f"k{at}": {"default": at} for at in range(20_000)}},
    **{f"pattern {p[:20]}": {"type": "string", "pattern": p, "default": "a" * 60 + "!"} for p in PATTERN_BOMBS},
    "patterns": {
        "properties": {f"p{at}": {"pattern": p * 2, "minLength": 20} for at, p in enumerate(PATTERN_BOMBS * 50)},
        "required": [f"p{at}" for at in range(9 * 50)],
    },
}


def test_an_absurd_schema_costs_bounded_time_and_memory() -> None:
    code = """if True:
        import json, re, sys, time
        from perflib.sources.examples import example
        example({"type": "string"})  # imports
        for name, schema in json.load(sys.stdin).items():
            began = time.process_time()
            text = json.dumps(example(schema))
            if len(text) > 200_000 or time.process_time() - began > 10:
                print(name, len(text), time.process_time() - began)
        peak_kb = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])  # of this program alone
        print("ok" if peak_kb < 1_000_000 else peak_kb)
    """
    schemas = json.dumps(ABSURD)
    ran = subprocess.run(
        [sys.executable, "-c", code], input=schemas, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.stdout == "ok\n", ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"^\d{4}-\d\d$", "2025-01", True),
        (r"^(foo|bar)+$", "foobar", True),
        (r"^(foo|bar)+$", "foobaz", False),
        (r"^\S+@\S+\.[a-z]{2,}$", "user@example.com", True),
        (r"(a+)+$", "a" * 60 + "!", None),
        (r"\p{L}", "a", None),
    ],
)
def test_a_pattern_is_tried_where_that_cannot_take_long(pattern: str, text: str, found: bool | None) -> None:
    assert matches(pattern, text) is found


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^[A-Z]{3}-\d{4}$", "AAA-1111"),
        (r"^\w+@\w+\.(com|org)$", "a@a.com"),
        (r"^v?\d+\.\d+$", "v1.1"),
        ("((a{1000}){1000}){1000}", None),
        ("[", None),
    ],
)
def test_a_pattern_is_met_by_the_plainest_text(pattern: str, text: str | None) -> None:
    assert text_matching(pattern, 1) == text


@quickly
@given(st.text() | st.text("{}ab_"))
def test_literal_braces_come_through_the_templates(text: str) -> None:
    assert text_template(without_fields(text))({}) == text


said = st.text(max_size=30) | st.sampled_from(
    ["\n[targets.x]", '"""', "a: b", "{sku}", "\x1b[2J\x9b1m", "\ud800", "delete_all", "\u202e"]
)
tools = st.lists(
    st.fixed_dictionaries(
        {"name": said},
        optional={
            "description": said | junk,
            "inputSchema": schemas
            | junk
            | st.builds(lambda k, v: {"required": [k], "properties": {k: {"const": v}}}, said, said),
            "annotations": st.just({"destructiveHint": True}) | junk,
        },
    ),
    max_size=4,
)


@quickly
@given(junk | st.builds(lambda name: {"server": {"name": name}}, said), tools)
def test_whatever_a_server_says_the_suite_is_good_and_calls_its_tools(about: Any, tools: list[dict[str, Any]]) -> None:
    about = about if isinstance(about, dict) else {}
    text = starter_suite(about, tools, URL)
    text.encode()
    suite = from_table(tomllib.loads(text))
    check(suite)
    assert list(suite.targets) == ["server"]
    assert suite.targets["server"].url == URL.url
    calls = [op for op in suite.scenarios[0].operations if op.tool is not None]
    harmless = [
        tool["name"].encode("utf-8", "replace").decode() for tool in tools if tool["name"] and not reason_left_out(tool)
    ]
    assert [value_template(op.tool)({}).replace("\ufffd", "?") for op in calls] == [
        n.replace("\ufffd", "?") for n in harmless
    ]


@quickly
@given(junk, tools, junk)
def test_what_is_printed_has_no_escapes(about: Any, tools: list[dict[str, Any]], junk: Any) -> None:
    about = {"server": {"name": "\x1b[31mred", "version": junk}, "protocol_version": junk, "transport": about}
    extra = [{"name": "r", "uri": tool["name"], "description": junk, "arguments": junk} for tool in tools]
    assert all(char.isprintable() or char == "\n" for char in describe(Listing(about, tools, extra, extra), URL))


def test_arguments_are_the_examples_with_what_they_mean() -> None:
    schema = {
        "properties": {
            "text": {"type": "string", "description": "Say {this}\nor that", "examples": ["Hi {name}\n"]},
            "deep": {"type": "object", "properties": {"a b": {"const": [1, None, "é"]}}, "required": ["a b"]},
            "gone": {"type": "null"},
            "more": {"type": "integer"},
        },
        "required": ["deep", "gone"],
    }
    text = starter_suite({}, [{"name": "say", "description": "\n Says.\nMore", "inputSchema": schema}], URL)
    assert from_table(tomllib.loads(text)).scenarios[0].operations[0].arguments == {
        "deep": {"a b": [1, "é"]},
        "text": "Hi {{name}}\n",
    }
    assert "\n# Says.\n" in text
    assert "  # string, optional: Say {this}\n" in text
    assert "# gone: null, required; no example" in text
    assert "# further arguments:" in text
    assert "more (integer)" in text


@pytest.mark.parametrize(
    ("tool", "harmful"),
    [
        ({"name": "fine"}, False),
        ({"name": "fine", "annotations": {"destructiveHint": True}}, True),
        ({"name": "fine", "annotations": {"destructiveHint": False}}, False),
        ({"name": "fine", "execution": {"taskSupport": "required"}}, True),
        ({"name": "fine", "execution": {"taskSupport": "optional"}}, False),
        *[
            ({"name": name}, True)
            for name in ("delete_user", "deleteUser", "deletefile", "DROP-TABLE", "users.remove", "rm")
        ],
        *[({"name": name}, False) for name in ("dropdown", "add_user", "form", "undo")],
    ],
)
def test_what_destroys_or_cannot_be_called_is_left_out(tool: dict[str, Any], harmful: bool) -> None:
    assert bool(reason_left_out(tool)) == harmful
    text = starter_suite({"capabilities": ["tools"]}, [tool], URL)
    (operation,) = from_table(tomllib.loads(text)).scenarios[0].operations
    assert (operation.tool, operation.method) == ((None, "tools/list") if harmful else (tool["name"], None))
    assert (f'# tool = "{tool["name"]}"' in text) == harmful


def test_foreign_hosts_must_be_allowed_by_hand() -> None:
    text = starter_suite({}, [{"name": "t"}], Target(kind="mcp", url="https://example.com/mcp"))
    with pytest.raises(perflib.PerflibError, match="not this machine"):
        check(from_table(tomllib.loads(text)))
    check(from_table(tomllib.loads(text.replace("# allow_hosts", "allow_hosts"))))


def test_a_file_is_named_after_the_server() -> None:
    assert file_name({"server": {"name": "../../etc/pass wd\n"}}) == "etc-pass-wd.toml"
    assert file_name({"server": "?"}) == "mcp-server.toml"


HARMLESS = ("ping", "validate_content", "list_validations", "get_stats")


def test_a_url_becomes_a_suite_that_runs(service: Server) -> None:
    ran = perflib_process("mcp", "inspect", f"{service.url}/mcp")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] == "perflib-reference 1"
    assert "reason*: string" in ran.stdout
    suite = load_suite("perflib-reference.toml")
    check(suite)
    assert {"approve", "enhance", *HARMLESS} <= {op.tool for op in suite.scenarios[0].operations}
    run = perflib.run("perflib-reference.toml", overrides=["scenarios.calls.load.duration_s=1"], progress=False)
    rows = run.rows(phase=None)
    called = rows[rows["operation"].isin(HARMLESS)]
    assert set(called["operation"]) == set(HARMLESS)
    assert called["ok"].all()
    assert set(rows["error"].dropna()) <= {"mcp_tool"}  # the server knows every tool and every argument


def test_a_command_in_another_folder_is_run_where_it_was(tmp_path: Path) -> None:
    Path("suites").mkdir()
    ran = perflib_process(
        "mcp", "inspect", sys.executable, "-m", "perflib.service", "--stdio", "--json", "--out", "suites/s.toml"
    )
    assert ran.returncode == 0, ran.stderr
    assert "ping" in [tool["name"] for tool in json.loads(ran.stdout)["tools"]]
    target = load_suite("suites/s.toml").targets["server"]
    assert target.command == (sys.executable, "-m", "perflib.service", "--stdio")
    assert target.cwd == str(tmp_path)


SERVER = """
import json, sys
PAGES = {None: ["one\\x1b[2J", "two\\n[x]"], "2": ["t{h}ree"]}
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    method, cursor = asked["method"], asked.get("params", {}).get("cursor")
    if method == "initialize":
        result = {"protocolVersion": "2025-11-25", "serverInfo": {"name": "ho\\x1bstile", "version": "1"},
                  "capabilities": {"tools": {}, "resources": {}, "prompts": {}}}
    elif method == "tools/list":
        result = {"tools": [{"name": n, "description": "\\x1b]0;title\\x07x", "inputSchema": 5} for n in PAGES[cursor]]}
        result |= {} if cursor else {"nextCursor": "2"}
    elif method == "resources/list":
        result = {"resources": [{"uri": "a://b", "name": "b"}, 7], "nextCursor": "again"}
    else:
        result = None
    answer = {"result": result} if result else {"error": {"code": -32603, "message": "no\\x1b[1m!"}}
    print("a log line", json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}), sep="\\n", flush=True)
"""


def test_pages_are_followed_and_a_hostile_server_writes_no_escapes() -> None:
    Path("server.py").write_text(SERVER)
    ran = perflib_process("mcp", "inspect", "--", sys.executable, "server.py")
    assert ran.returncode == 0, ran.stderr
    assert all(char.isprintable() or char == "\n" for char in ran.stdout)
    assert "3 tools" in ran.stdout
    assert "2 resources" in ran.stdout  # the cursor that comes again is asked for once
    assert "prompts: the server refused `prompts/list`: no!" in ran.stdout
    text = Path("ho-stile.toml").read_text()
    assert all(char.isprintable() or char == "\n" for char in text)
    operations = from_table(tomllib.loads(text)).scenarios[0].operations
    assert [op.tool for op in operations if op.tool] == [
        "one",
        "two\n[x]",
        "t{{h}}ree",
    ]
    assert {op.method for op in operations if not op.tool} == {"resources/read"}


HELPFUL = """
import json, os, sys
READS = {"annotations": {"readOnlyHint": True}}
PLACE = {"type": "object", "required": ["zone"], "properties": {"zone": {
    "type": "string", "description": "IANA name (e.g., 'Europe/Oslo', 'UTC')"}}}
DAY = {"type": "object", "required": ["day"], "properties": {"day": {"type": "string", "description": "YYYY-MM-DD"}}}
TOOLS = [
    {"name": "now", "inputSchema": PLACE, **READS},
    {"name": "hides", "inputSchema": DAY, **READS},
    {"name": "fails", "inputSchema": DAY, **READS},
    {"name": "writes", "inputSchema": DAY},
    {"name": "read_notes", "inputSchema": {"required": ["path"], "properties": {"path": {"type": "string"}}}, **READS},
    {"name": "commit", "inputSchema": {"required": ["words"], "properties": {"words": {"type": "string"}}},
     "annotations": {"readOnlyHint": False, "destructiveHint": False}},
]
for line in sys.stdin:
    asked = json.loads(line)
    params = asked.get("params", {})
    if asked["method"] == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "serverInfo": {"name": "helpful"},
                  "capabilities": {"tools": {}, "resources": {}, "prompts": {}}}
    elif asked["method"] == "tools/call":
        given = params["arguments"]
        text = {"now": f"{given.get('zone')} {os.environ['PLACE']}", "hides": "Error: no such day",
                "fails": "nothing there", "read_notes": given.get("path")}[params["name"]]
        result = {"content": [{"type": "text", "text": text}], "isError": params["name"] == "fails"}
    else:
        result = {
            "tools/list": {"tools": TOOLS},
            "resources/list": {"resources": [{"uri": "x://one"}]},
            "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "x://{id}", "name": "any"}]},
            "prompts/list": {"prompts": [{"name": "hello", "arguments": [{"name": "who", "required": True}]}]},
            "resources/read": {"contents": [{"uri": "x://one", "text": "one"}]},
        }.get(asked["method"])
    if "id" in asked:
        said = {"result": result} if result is not None else {"error": {"code": -32601, "message": "what?"}}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **said}), flush=True)
"""


def test_what_can_be_tried_is_and_what_fails_is_a_comment() -> None:
    Path("helpful.py").write_text(HELPFUL)
    Path("notes").mkdir()
    entry = {"command": sys.executable, "args": ["helpful.py", "./notes"], "env": {"PLACE": "there"}}
    Path("mcp.json").write_text(json.dumps({"mcpServers": {"mine": entry, "other": {"url": "http://127.0.0.1:1/mcp"}}}))
    ran = perflib_process("mcp", "inspect", "--try", "mcp.json", "--server", "mine")
    assert ran.returncode == 0, ran.stderr
    text = Path("helpful.toml").read_text()
    operations = {op.name: op for op in from_table(tomllib.loads(text)).scenarios[0].operations}
    assert list(operations) == ["now", "writes", "read_notes", "read x.//one"]
    assert operations["read_notes"].arguments == {"path": str(Path("notes").resolve())}  # type: ignore[attr-defined]
    assert "it may change something, so it was not tried, and these arguments are guesses: words." in text
    assert (
        '# Left out, since it failed when it was tried: what?\n# [[scenarios.operations]]\n# name = "prompt hello'
        in text
    )
    assert operations["now"].arguments == {"zone": "Europe/Oslo"}  # type: ignore[attr-defined]
    assert "# answered: Europe/Oslo there" in text
    assert operations["writes"].arguments == {"day": "2025-01-01"}  # type: ignore[attr-defined]
    assert "# Left out, since it failed when it was tried: nothing there" in text
    assert '# expect = { absent = ["Error:"] }' in text
    assert "x://{{id}}" in text
    target = load_suite("helpful.toml").targets["server"]
    assert target.env == {"PLACE": "there"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mcp.json"], "several servers in this file; choose one with --server: mine, other"),
        (["mcp.json", "--server", "theirs"], "no server 'theirs' in this file"),
        (["empty.json"], "no mcpServers in this file"),
        (["--env", "PLACE", "--", sys.executable], "not a variable; write it like NAME=value"),
    ],
)
def test_what_is_wrong_with_a_file_or_variable_is_said(arguments: list[str], words: str) -> None:
    Path("mcp.json").write_text(json.dumps({"mcpServers": {"mine": {"command": "x"}, "other": {"command": "y"}}}))
    Path("empty.json").write_text("[]")
    ran = perflib_process("mcp", "inspect", *arguments)
    assert ran.returncode == 2
    assert words in ran.stderr


def test_secrets_are_used_and_never_written(service: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "from-the-environment")
    headers = ["--header", "Authorization: Bearer ${API_TOKEN}", "--header", "X-Api-Key: typed-in"]
    ran = perflib_process("mcp", "inspect", f"{service.url}/mcp?api_key=in-the-url&page=2", "--out", "s.toml", *headers)
    assert ran.returncode == 0, ran.stderr
    target = load_suite("s.toml").targets["server"]
    assert target.headers == {"Authorization": "Bearer ${API_TOKEN}", "X-Api-Key": "${X_API_KEY}"}
    assert target.url == f"{service.url}/mcp?api_key=${{API_KEY}}&page=2"
    for secret in ("from-the-environment", "typed-in", "in-the-url"):
        assert secret not in Path("s.toml").read_text() + ran.stdout + ran.stderr


GOOD = [sys.executable, "-m", "perflib.service", "--stdio"]
WRONG = [
    (["no-such-command-here", "-y"], 2, "no-such-command-here: command not found; check that it is installed"),
    (["http://"], 2, "not a URL"),
    (["http://user:hidden@127.0.0.1:9/"], 2, "a URL with a user or password"),
    (["http://127.0.0.1:9/mcp", "--header", "hidden"], 2, "--header: not a header"),
    (["http://127.0.0.1:9/mcp", "--header", "A: ${NOT_SET_HERE}"], 2, "NOT_SET_HERE is not set"),
    (["http://127.0.0.1:9/mcp", "extra"], 2, "a URL takes no further arguments"),
    (["http://127.0.0.1:9/mcp", "--out", "mine.toml"], 2, "mine.toml: there is such a file already"),
    (["--out", "no/folder.toml", *GOOD], 2, "no/folder.toml: cannot write it"),
    (GOOD, 2, "perflib-reference.toml: there is such a file already"),
    (["http://127.0.0.1:9/mcp"], 4, "http://127.0.0.1:9/mcp: cannot reach the MCP server"),
    ([sys.executable, "-c", "raise SystemExit(3)"], 4, "it ended with code 3"),
    ([sys.executable, "-c", "input(); print(5)"], 4, "it ended with code 0"),
    (["--timeout", "0.5", sys.executable, "-c", "import time; time.sleep(60)"], 4, "no answer within 0.5 s"),
    (
        [
            sys.executable,
            "-c",
            "import json, sys\nfor line in sys.stdin:\n"
            "    if 'id' in line: print(json.dumps({'id': json.loads(line)['id'], 'result': [7]}), flush=True)",
        ],
        4,
        "MCP server?",
    ),
]


@pytest.mark.parametrize(("arguments", "code", "words"), WRONG, ids=[words for _, _, words in WRONG])
def test_what_is_wrong_is_said_in_one_line(arguments: list[str], code: int, words: str) -> None:
    for name in ("mine.toml", "perflib-reference.toml"):
        Path(name).write_text("mine")
    ran = perflib_process("mcp", "inspect", *arguments)
    assert ran.returncode == code, ran.stderr
    assert words in ran.stderr
    assert ran.stderr.startswith("perflib: ")
    assert ran.stderr.count("\n") == 1
    assert "hidden" not in ran.stderr
    assert {p.name: p.read_text() for p in Path().iterdir()} == {"mine.toml": "mine", "perflib-reference.toml": "mine"}


def test_a_url_that_is_no_mcp_server_is_named(service: Server) -> None:
    ran = perflib_process("mcp", "inspect", f"{service.url}/nothing")
    assert ran.returncode == 4
    reason = "the server refused `initialize`: HTTP status 404; Not Found; is this URL or command an MCP server?"
    assert ran.stderr == f"perflib: {service.url}/nothing: {reason}\n"


def test_a_url_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/mcp"
        ran = perflib_process("mcp", "inspect", url, "--timeout", "0.5")
    assert ran.returncode == 4
    assert ran.stderr.startswith(f"perflib: {url}: no answer within 0.5 s; ")
    assert ran.stderr.count("\n") == 1


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
open("pids.tmp", "w").write(f"{os.getpid()} {child.pid}")
os.rename("pids.tmp", "pids")
time.sleep(600)
"""


@pytest.mark.parametrize("interrupt", [False, True])
def test_no_process_is_left_over(interrupt: bool) -> None:
    command = [sys.executable, "-m", "perflib", "mcp", "inspect", "--timeout", "60" if interrupt else "5"]
    asked = subprocess.Popen([*command, sys.executable, "-c", STUBBORN], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 30
    while not Path("pids").exists() and asked.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    if interrupt:
        asked.send_signal(signal.SIGINT)
    _, said = asked.communicate(timeout=60)
    assert asked.returncode == (130 if interrupt else 4), said
    assert "Traceback" not in said
    pids = [int(pid) for pid in Path("pids").read_text().split()]
    assert len(pids) == 2
    assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
