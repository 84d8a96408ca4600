"""guidellm: the requests of its `benchmarks.json`. Each benchmark of several, like those of a sweep, is a scenario."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from perflib.formats.base import Format, FormatError, json_of, of_rows
from perflib.store.records import TimeRecord

_STATUS: Final = re.compile(r"\berror '(\d{3})\b")  # as httpx words it
_KINDS: Final = re.compile(r"generative_benchmark|generative_request_stats|guidellm_version")


def _read(path: Path, head: str) -> Iterator[pa.Table]:
    yield from of_rows(_requests(path))


def _requests(path: Path) -> Iterator[tuple[Any, ...]]:
    try:
        benchmarks = json_of(path)["benchmarks"]
        for number, benchmark in enumerate(benchmarks, 1):
            _check_complete(path, number, benchmark)
            scenario = "default" if len(benchmarks) == 1 else f"{_strategy(benchmark)} {number}"
            for status in ("successful", "errored", "incomplete"):
                for record in benchmark["requests"].get(status) or ():
                    if (row := _row(scenario, record, status)) is not None:
                        yield row
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"not the JSON of guidellm: {type(error).__name__} {error}"
        raise FormatError(what, where=str(path), mend="import the complete file, as the tool wrote it") from None


def _check_complete(path: Path, number: int, benchmark: Mapping[str, Any]) -> None:
    """Raise FormatError where guidellm has left requests out, and so changed the share of errors, and the rate."""
    made = benchmark.get("scheduler_metrics", {}).get("requests_made", {})
    for status in ("successful", "errored"):
        listed, wanted = len(benchmark["requests"].get(status) or ()), made.get(status, 0)
        if listed < wanted:
            what = f"benchmark {number} has a sample, {listed:,} of {wanted:,} {status} requests"
            raise FormatError(what, where=str(path), mend="let guidellm keep all requests: no sample size")


def _strategy(benchmark: Mapping[str, Any]) -> str:
    """How it sent requests, like "constant"; versions before 0.4 have that elsewhere."""
    about = benchmark.get("config") or benchmark.get("args") or {}
    return str((about.get("strategy") or {}).get("type_", "benchmark"))


def _row(scenario: str, record: Mapping[str, Any], status: str) -> tuple[Any, ...] | None:
    """A request as a row; None for one that was cancelled before it was sent. Versions before 0.4 have other keys."""
    info = record.get("info") or {}
    timings = info.get("timings") or {}
    start = record.get("request_start_time", record.get("start_time"))
    end = record.get("request_end_time", record.get("end_time"))
    first = timings.get("first_token_iteration", record.get("first_token_time"))
    if start is None and status == "incomplete":
        return None
    message = str(info.get("error") or record.get("error") or "")
    found = _STATUS.search(message) if status == "errored" else None
    code = int(found[1]) if found else None
    error = {"successful": None, "incomplete": "aborted"}.get(status, _class_of(code, message.lower()))
    first_ns = None if first is None or error else _ns(first)
    return scenario, "request", _ns(start), _ns(end), first_ns, error, code, None, None


def _ns(seconds: Any) -> int:
    return round(float(seconds) * 1e9)


def _class_of(status: int | None, message: str) -> str:
    if status is not None and 300 <= status < 600:
        return f"http_{status // 100}xx"
    if "timeout" in message or "timed out" in message:
        return "timeout"
    return "connect" if "connect" in message else "failed"


def _meaning(head: str) -> TimeRecord:
    return TimeRecord(begins="the request was sent", ends="last byte", clock_ns=1)


BENCHMARKS: Final = Format(
    "guidellm-json", "guidellm",
    lambda head: head.lstrip().startswith("{") and bool(_KINDS.search(head)),
    _meaning, _read, ("requests of guidellm's own warm-up are part of it: --warmup leaves out the beginning",),
)  # fmt: skip
