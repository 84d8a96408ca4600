"""`python -m tests.support.side_by_side`: what perflib, curl and httpx count of the same servers, ordinary and hostile.

Each sends REQUESTS requests, one after the other, on a kept connection where the server allows it.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import httpx

from tests.support.runs import run_quietly
from tests.support.servers import Answer, raw_server, says
from tests.support.suites import suite

REQUESTS: Final = 20
BODY: Final = b"a good answer"
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(BODY)
GOOD: Final = HEAD + b"\r\n" + BODY
ZIPPED: Final = gzip.compress(BODY)
SERVERS: Final[dict[str, Answer]] = {
    "ordinary": says(GOOD),
    "closes after each answer and says so": says(HEAD + b"Connection: close\r\n\r\n" + BODY, keep=False),
    "closes after each answer without a word": says(GOOD, keep=False),
    "answers until it closes": says(b"HTTP/1.1 200 OK\r\n\r\n" + BODY, keep=False),
    "writes its head in pieces": says(GOOD[:9], GOOD[9:30], GOOD[30:], pause_s=0.002),
    "sends 103 Early Hints first": says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", GOOD, pause_s=0.002),
    "ends lines with a line feed": says(GOOD.replace(b"\r\n", b"\n")),
    "names its length twice": says(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY),
    "sends chunks": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "compresses": says(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED
    ),
    "answers 500 and closes": says(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", keep=False),
    "cuts its answer": says(GOOD[:-5], keep=False),
    "cuts its chunks": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n" + BODY[:5], keep=False),
    "dies after 103": says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", keep=False),
    "closes without an answer": says(keep=False),
    "speaks something else": says(b"220 mail.example.org ESMTP\r\n", keep=False),
}


def of_perflib(url: str, folder: Path) -> Counter[str]:
    operation = {"name": "get", "path": "/", "expect": {"contains": BODY.decode()}}
    load = {"model": "closed", "concurrency": 1, "requests": REQUESTS}
    target = {"kind": "http", "url": url, "timeout_s": 5}
    made = run_quietly(suite(target, operations=[operation], load=load, warmup={"duration_s": 0}), folder)
    return Counter(made.rows(phase=None)["error"].astype(object).fillna("ok"))


def of_curl(url: str) -> Counter[str]:
    form = "\\n%{stderr}%{json}\\n"
    command = ["curl", "-s", "--compressed", "--max-time", "5", "-w", form, *[url] * REQUESTS]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stderr
    each = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return Counter(
        f"error {one['exitcode']}"
        if one["exitcode"]
        else "ok"
        if one["http_code"] < 400
        else f"http_{one['http_code']}"
        for one in each
    )


def of_httpx(url: str) -> Counter[str]:
    found: Counter[str] = Counter()
    with httpx.Client(timeout=5, trust_env=False) as client:
        for _ in range(REQUESTS):
            try:
                answer = client.get(url)
                found["ok" if answer.is_success else f"http_{answer.status_code}"] += 1
            except httpx.HTTPError as problem:
                found[type(problem).__name__] += 1
    return found


def counted(name: str, folder: Path) -> dict[str, Counter[str]]:
    """What each client counts of a server."""
    with raw_server(SERVERS[name]) as url:
        return {"perflib": of_perflib(url, folder), "curl": of_curl(url), "httpx": of_httpx(url)}


def in_words(counts: Counter[Any]) -> str:
    return ", ".join(f"{number} × {name}" for name, number in counts.most_common())


def main() -> None:
    print("| the server | perflib | curl | httpx |\n| --- | --- | --- | --- |")
    for name in SERVERS:
        with tempfile.TemporaryDirectory() as folder:
            found = counted(name, Path(folder))
        print(f"| {name} | " + " | ".join(map(in_words, found.values())) + " |", flush=True)


if __name__ == "__main__":
    main()
