"""Random requests to a server of random bytes: every load ends on time, and every request that begins is a row."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perflib.load.generator import plan
from perflib.load.generator.job import Job
from perflib.load.generator.prepare import compile_operations, make_driver
from perflib.store.schema import Recorder
from perflib.suite.file import from_table
from tests.support.suites import table

TIMEOUT_S, LOAD_S, MARGIN_S = 0.05, 0.1, 1.0

LINES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200\r\n",
    b"HTTP/1.1 103 Early Hints\r\n",
    b"HTTP/1.1 500 No\r\n",
    b"HTTP/1.1 101 X\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 5\n",
    b"content-length: 5, 5\r\n",
    b"Content-Length: 99999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Server-Timing: total;dur=1e300, a;dur=-1\r\n",
    b"Connection: close\r\n",
    b"Content-Type: text/html; charset=utf-7\r\n",
    b"\r\n",
    b"\n",
    b"hello",
    b'{"v": "\\ud800"}',
    b"[" * 3_000,
    b"5\r\nhello\r\n0\r\n\r\n",
]
ANSWERS = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from(LINES), max_size=8).map(b"".join),
    st.sampled_from([b'{"v": "\\ud800"}', b'{"v": ' + b"7" * 5_000 + b"}", b'{"v": {"a": [null]}}']).map(
        lambda body: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    ),
)
TEXTS = st.text(max_size=8).map(lambda text: text.replace("{", "").replace("}", "")) | st.sampled_from(
    ["{v}", "{w}", "{v}{w}"]
)
OPERATIONS = st.fixed_dictionaries(
    {"path": TEXTS.map(lambda text: f"/{text}"), "method": st.sampled_from(["GET", "POST", "HEAD"])},
    optional={
        "body": TEXTS,
        "headers": st.dictionaries(st.sampled_from(["X-A", "X-B"]), TEXTS, max_size=2),
        "keep": st.just({"v": "$.v"}),
        "expect": st.sampled_from([{"status": 200}, {"json": {"$.v": 1}}, {"contains": "x"}]),
    },
)
LOADS = st.sampled_from([
    ("sequence", {"model": "closed", "concurrency": 3, "duration_s": LOAD_S}),
    ("sequence", {"model": "closed", "concurrency": 3, "requests": 6}),
    ("sequence", {"model": "closed", "concurrency": 3, "duration_s": LOAD_S, "think_time_s": 0.02}),
    ("sequence", {"model": "closed", "concurrency": 3, "duration_s": LOAD_S, "think_time_s": 9}),
    ("weighted", {"model": "closed", "concurrency": 3, "duration_s": LOAD_S}),
    ("weighted", {"model": "constant", "rate_per_s": 100, "duration_s": LOAD_S}),
])  # fmt: skip


@dataclass
class Server:
    """Answers each request with the next of its answers; an empty one closes the connection."""

    answers: list[bytes]
    asked: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65536):
                self.asked += 1
                answer = self.answers[self.asked % len(self.answers)]
                if not answer:
                    break
                writer.write(answer)
        except OSError:
            pass
        finally:
            writer.close()


async def loaded(
    answers: list[bytes], operations: list[dict[str, Any]], order: str, load: Any, folder: Path
) -> Recorder:
    server = await asyncio.start_server(Server(answers).serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        made = table(operations=operations, order=order, load=load)
        made["targets"]["api"] = {"kind": "http", "url": f"http://127.0.0.1:{port}", "timeout_s": TIMEOUT_S}
        suite = from_table(made)
        job = Job("", suite.scenarios[0], dict(suite.targets), 0, 0, 1, 0, 0, folder=str(folder))
        targets, ops = compile_operations(job, job.scenario.operations, {}, in_sequence=False)
        recorder = Recorder.discarding([op.name for op in ops])
        driver = make_driver(job, targets, ops, recorder)
        limit_s = LOAD_S + TIMEOUT_S + MARGIN_S + (12 * (1.0 + TIMEOUT_S) if "requests" in load else 0)
        try:
            async with asyncio.timeout(limit_s):
                await driver.run(plan.segments(job.scenario, 0)[0], time.monotonic_ns())
            assert driver.inflight == 0
            await asyncio.sleep(0)
        finally:
            driver.close()
    return recorder


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answers=st.lists(ANSWERS, min_size=1, max_size=4),
    operations=st.lists(OPERATIONS, min_size=1, max_size=3),
    load=LOADS,
    data=st.none()
    | st.lists(st.dictionaries(st.sampled_from("vw"), st.text(max_size=5) | st.integers(), max_size=2), min_size=1),
)
def test_every_load_ends_on_time_whatever_is_sent_and_answered(
    answers: list[bytes], operations: list[dict[str, Any]], load: Any, data: Any, tmp_path: Path
) -> None:
    order, spec = load
    if data is not None:
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
    named = [
        operation | {"name": f"o{number}"} | ({"data": "rows.jsonl"} if data is not None else {})
        for number, operation in enumerate(operations)
    ]
    recorder = asyncio.run(loaded(answers, named, order, spec, tmp_path))
    if "requests" in spec:
        assert recorder.count == spec["requests"]
    elif spec["model"] == "constant":
        assert recorder.count == round(spec["rate_per_s"] * LOAD_S)
    else:
        assert recorder.count >= 3
    assert not [name for name in recorder.errors if name.startswith("exception:")], recorder.error_texts
