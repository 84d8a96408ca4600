"""Canaries: secrets of every kind in one suite, whose targets echo all that they get wherever they can.

    planted = plant(folder)                 # canaries.toml, its data and its servers; the canaries by their kinds
    printed = use(planted)                  # what the command line prints: run, try, show, check, inspect, …
    leaks(planted, printed)                 # ["password in JSON: data/runs/…/run.json", …]

This file is also the servers: `python canaries.py http PORT …` and `python canaries.py mcp …`.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

PEM = "-----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----"
SUITE = """
name = "canaries"
[targets.api]
kind = "http"
url = "http://127.0.0.1:{{port}}"
start = ["{{python}}", "{here}", "http", "{{port}}", "--api-key", "{option}", "--password={joined}", "--dsn",
         "postgres://ann:p@ss-{dsn}@db/x", "--client-secret=${{START_VALUE}}"]
env = {{ DB_PASSWORD = "{env}", DATABASE_URL = "postgres://ann:{database}@db/x", GREETING = "${{ENV_VALUE}}" }}
headers = {{ Authorization = "Bearer ${{TARGET_VALUE}}", X-Plain = "${{PLAIN_VALUE}}", X-Api-Key = "{api_key}" }}
ready = {{ http = "/health", timeout_s = 30 }}
gauges = "/gauges"
[targets.tools]
kind = "mcp"
command = ["{{python}}", "{here}", "mcp", "--api-key", "{mcp_option}"]
env = {{ MCP_TOKEN = "{mcp_env}" }}
[targets.function]
kind = "callable"
function = "canary_functions:shout"
env = {{ FUNCTION_SECRET = "{function_env}" }}
[[scenarios]]
name = "all"
target = "api"
order = "sequence"
load = {{ model = "closed", concurrency = 1, requests = 20 }}
operations = [
    {{ name = "login", path = "/login", keep = {{ token = "$.token" }} }},
    {{ name = "kept", path = "/echo?n={{token}}", headers = {{ X-Kept = "{{token}}" }} }},
    {{ name = "basic", path = "/echo", headers = {{ Authorization = "Basic {basic}" }} }},
    {{ name = "bearer", path = "/echo", headers = {{ Authorization = "Bearer {bearer}", Cookie = "sid={cookie}" }} }},
    {{ name = "variable", path = "/echo", headers = {{ X-Thing = "${{OPERATION_VALUE}}" }} }},
    {{ name = "json", path = "/echo", json = {{ password = "{json}", n = {{ client_secret = "{deep}" }} }} }},
    {{ name = "table", path = "/echo", json = {{ credentials = {{ user = "{table}" }}, tokens = ["{listed}"] }} }},
    {{ name = "odd", path = "/echo", json = {{ password = "{odd}\\"\\\\ä/+ ?" , pin = {pin} }} }},
    {{ name = "pem", path = "/echo", json = {{ private_key = "{pem}" }} }},
    {{ name = "form", path = "/echo", body = "user=ann&password={form}" }},
    {{ name = "presigned", path = "/echo?X-Amz-Credential={amz_credential}&X-Amz-Signature={amz_signature}" }},
    {{ name = "temporary", path = "/echo?X-Amz-Security-Token={amz_token}&x=1" }},
    {{ name = "shared access", path = "/echo?sv=1&sig={sig}" }},
    {{ name = "grant", path = "/echo?code={code}" }},
    {{ name = "map", path = "/echo?key={key}" }},
    {{ name = "query", path = "/echo?access_token={access_token}&session_id={session_id}" }},
    {{ name = "rows", path = "/rows", json = {{ password = "{{password}}" }}, data = "rows.csv" }},
    {{ name = "jwt", path = "/echo", headers = {{ X-Proof-Token = "eyJhbGciOi.eyJzdWIi.{jwt}" }} }},
    {{ name = "echo", target = "tools", tool = "echo", arguments = {{ token = "{mcp_argument}" }} }},
    {{ name = "shout", target = "function", kwargs = {{ password = "{function_argument}" }} }},
]
"""
FUNCTIONS = """
import os, sys
def shout(password):
    for stream in (sys.stdout, sys.stderr):
        print("environment", os.environ["FUNCTION_SECRET"], "argument", password, file=stream)
    raise ValueError(f"no {os.environ['FUNCTION_SECRET']} with {password}")
"""
VARIABLES = {  # in the environment
    "TARGET_VALUE": "variable in a target's header",
    "PLAIN_VALUE": "variable in a header with a plain name",
    "OPERATION_VALUE": "variable in an operation's header",
    "ENV_VALUE": "variable in the environment of a target",
    "START_VALUE": "variable in a started command",
    "AWS_SECRET_ACCESS_KEY": "secret of the environment that no suite names",
}
LITERALS = {  # in the suite, by the names of its gaps
    "option": "option with its value behind it",
    "joined": "option with its value in it",
    "dsn": "password with an @ in an option's URL",
    "env": "password in the environment of a target",
    "database": "password in a URL in the environment",
    "api_key": "header X-Api-Key",
    "bearer": "header Authorization",
    "cookie": "cookie",
    "json": "password in JSON",
    "deep": "secret in nested JSON",
    "table": "value in a table of credentials",
    "listed": "token in a list",
    "odd": "password with quotes, backslashes, umlauts",
    "form": "password in a form",
    "amz_credential": "credential of a presigned query",
    "amz_signature": "signature of a presigned query",
    "amz_token": "security token of a presigned query",
    "sig": "query parameter sig",
    "code": "query parameter code",
    "key": "query parameter key",
    "access_token": "query parameter access_token",
    "session_id": "query parameter session_id",
    "jwt": "JSON Web Token",
    "mcp_option": "option of an MCP server",
    "mcp_env": "environment of an MCP server",
    "mcp_argument": "argument of an MCP tool",
    "function_env": "environment of a function",
    "function_argument": "argument of a function",
}
COMMANDS = {  # in options of the command line
    "set": "--set of a header",
    "set_table": "--set of an inline table",
    "set_wrong": "--set of what the suite does not take",
    "set_unreadable": "--set that cannot be read",
    "inspect_option": "mcp inspect COMMAND --api-key",
    "inspect_header": "mcp inspect --header",
    "inspect_query": "query of mcp inspect URL",
    "store": "password in the URL of a store",
    "notify": "URL of a webhook",
}
OTHERS = {
    "basic": "password in Basic",
    "pin": "number",
    "pem": "private key",
    "rows": "data file",
    "kept": "kept field",
}


@dataclass
class Planted:
    """A folder with a suite; the canaries by their kinds, and the environment that has some of them."""

    folder: Path
    canaries: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def everything(self) -> dict[str, str]:
        """All canaries by their kinds, in words."""
        return self.canaries

    def perflib(self, *arguments: str) -> str:
        """Run the command line there, and return all that it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "perflib", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            timeout=120,
            check=False,
        )
        return f"$ perflib {arguments[0]}\n{done.stdout.decode()}{done.stderr.decode()}"


def _canary(number: int) -> str:
    """A secret that occurs nowhere else; it has no word that would tell a redaction what it is."""
    return f"kanarie{number:02d}x{number * 7919 % 9973:04d}vogel"


def plant(folder: Path) -> Planted:
    """Write the suite with its canaries."""
    planted = Planted(folder, environment=dict(os.environ))
    numbers = iter(range(100))

    def new(kind: str) -> str:
        planted.canaries[kind] = _canary(next(numbers))
        return planted.canaries[kind]

    planted.environment |= {name: new(kind) for name, kind in VARIABLES.items()}
    gaps = {gap: new(kind) for gap, kind in LITERALS.items()}
    planted.options = {gap: new(kind) for gap, kind in COMMANDS.items()}
    planted.canaries[OTHERS["pin"]] = "8302917465"
    gaps["basic"] = base64.b64encode(f"ann:{new(OTHERS['basic'])}".encode()).decode()
    gaps |= {"pem": PEM.format(new(OTHERS["pem"])), "pin": planted.canaries[OTHERS["pin"]], "here": __file__}
    (folder / "canaries.toml").write_text(SUITE.format(**gaps), "utf-8")
    (folder / "rows.csv").write_text(f"password\n{new(OTHERS['rows'])}\n")
    planted.environment["SERVER_ANSWERS"] = new(OTHERS["kept"])
    (folder / "canary_functions.py").write_text(FUNCTIONS)
    planted.environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), str(folder)])
    return planted


def use(planted: Planted, *, quick: bool = False) -> str:
    """Give the command line everything, and return what it prints. `quick`: only `run`, which writes nearly all."""
    given, port = planted.options, "http://127.0.0.1:9"
    sets = [
        *("--set", f"targets.api.headers.X-Auth-Token={given['set']}"),
        *("--set", f'targets.api.ready={{ http = "/health?token={given["set_table"]}" }}'),
    ]
    server = [sys.executable, __file__, "mcp", "--api-key", given["inspect_option"]]
    commands = [
        ["run", "canaries.toml", *sets],
        ["try", "canaries.toml", *sets],
        ["run", "canaries.toml", "--set", f'targets.api.headers={{ Authorization = "{given["set_wrong"]}", x = 1 }}'],
        ["run", "canaries.toml", "--set", f"password:{given['set_unreadable']}"],
        ["show"],
        ["check", "--notify", f"{port}/services/{given['notify']}"],
        ["check", "--json"],
        ["runs", "--json"],
        ["runs", "--data", f"s3://ann:{given['store']}@bucket/x"],
        ["mcp", "inspect", "--out", "inspected.toml", "--", *server],
        ["mcp", "inspect", "--json", "--out", "again.toml", "--", *server],
        [
            "mcp",
            "inspect",
            "--header",
            f"X-Thing: {given['inspect_header']}",
            f"{port}/?token={given['inspect_query']}",
        ],
    ]
    return "\n".join(planted.perflib(*command) for command in (commands[:1] if quick else commands))


def leaks(planted: Planted, printed: str) -> list[str]:
    """Each canary that was written or printed, with the file: as it is, or encoded."""
    texts = {"printed": printed, **dict(_written(planted.folder))}
    return [
        f"{kind}: {name}"
        for kind, canary in planted.canaries.items()
        for name, text in texts.items()
        if any(form in text for form in (canary, base64.b64encode(canary.encode()).decode()[:-4]))
    ]


def _written(folder: Path) -> Any:
    """The files that perflib wrote below a folder, as text; Parquet as the values of its columns."""
    import pyarrow.parquet as pq

    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name in ("canaries.toml", "rows.csv") or "canary_functions" in path.name:
            continue
        name = str(path.relative_to(folder))
        if path.suffix == ".parquet":
            yield name, json.dumps(pq.read_table(path).to_pydict(), default=str, ensure_ascii=False)
        else:
            yield name, path.read_text("utf-8", "replace")


# The servers.


class Echo(BaseHTTPRequestHandler):
    """Answers with all that it knows, as it is and encoded, and prints it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode("utf-8", "replace")
        if self.path.startswith("/health"):
            self._answer(200, {})
        elif self.path.startswith("/gauges"):
            self._answer(200, {f"gauge {os.environ['GREETING']}": 1})
        elif self.path == "/login":
            self._answer(200, {"token": os.environ["SERVER_ANSWERS"]})
        else:
            headers = {name: _decoded(value) for name, value in self.headers.items()}
            known = f"{unquote(self.path)} {headers} {_decoded(body)}"
            if "/rows" not in self.path and os.environ["SERVER_ANSWERS"] not in known:  # it need not hide its own
                print("request", known, base64.b64encode(known.encode()).decode(), quote(known), flush=True)
            self._answer(500, {"detail": f"{known} {sys.argv} {html.escape(known)}"}, known)

    do_POST = do_GET

    def _answer(self, status: int, content: Any, known: str = "") -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if known:
            token = re.sub(r"\W", "", self.headers.get("Authorization", ""))[-20:]
            self.send_header("Server-Timing", f"a;dur=1, {token};dur=2, {os.environ['GREETING']};dur=3")
            self.send_header("X-Echo", quote(known)[:1500])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *about: Any) -> None:
        if os.environ["SERVER_ANSWERS"] not in self.path:
            print("log", unquote(self.path), flush=True)


def _decoded(text: str) -> str:
    """The text with what it says in base64, and in JSON."""
    if text.startswith("Basic "):
        return f"{text} = {base64.b64decode(text[6:]).decode()}"
    try:
        return f"{text} = {json.loads(text)}"
    except ValueError:
        return text


def serve_http(port: int) -> None:
    own = {name: value for name, value in os.environ.items() if name != "SERVER_ANSWERS"}
    print("started", sys.argv, own, flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Echo).serve_forever()


def serve_mcp() -> None:
    """An MCP server of the handshake era, whose name, tools and errors say what it was given."""
    known = f"{sys.argv[2:]} {os.environ.get('MCP_TOKEN', '')}"
    print(f"started with {known}", file=sys.stderr, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        method, number = request.get("method"), request.get("id")
        if method == "initialize":
            result: Any = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": f"server {known}", "version": "1"},
            }
        elif method == "tools/list":
            tool = {"name": "echo", "description": f"It knows {known}", "inputSchema": {"type": "object"}}
            result = {"tools": [tool]}
        elif method == "tools/call":
            said = f"failed with {known} {request['params']['arguments']}"
            print(said, file=sys.stderr, flush=True)
            result = {"isError": True, "content": [{"type": "text", "text": said}]}
        elif number is None:
            continue
        else:
            error = {"code": -32601, "message": f"what is {method}? {known}"}
            print(json.dumps({"jsonrpc": "2.0", "id": number, "error": error}), flush=True)
            continue
        print(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}), flush=True)


if __name__ == "__main__":
    serve_http(int(sys.argv[2])) if sys.argv[1] == "http" else serve_mcp()
