"""hey: `hey -o csv`. It has the requests that were answered, at most a million of them, in steps of 0.1 ms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa

from perflib.formats.base import BY_STATUS, Format, csv_table, first_line, requests
from perflib.store.records import TimeRecord

_COLUMNS: Final = ("response-time", "DNS+dialup", "DNS", "Request-write", "Response-delay", "Response-read")
_STEP_NS: Final = 100_000


def _names(head: str) -> list[str]:
    return first_line(head).split(",")


def _read(path: Path, head: str) -> Iterator[pa.Table]:
    names = _names(head)
    columns = {name: "INTEGER" if name == "status-code" else "DOUBLE" for name in names}
    status = '"status-code"' if "status-code" in names else "null::integer"
    start = '("offset" * 1e9)::bigint' if "offset" in names else "0"  # older versions do not say
    yield from requests(
        path,
        csv_table(path, columns),
        {
            "scenario": "'default'", "operation": "'request'", "start_ns": "start_",
            "end_ns": 'start_ + ("response-time" * 1e9)::bigint',
            "error": f"case when status >= 400 then {BY_STATUS} end", "status": "status",
        },
        prepared=f"{start} as start_, {status} as status",
    )  # fmt: skip


def _meaning(head: str) -> TimeRecord:
    clock_ns = _STEP_NS if "offset" in _names(head) else 0
    return TimeRecord(
        begins="the request was sent",
        ends="last byte",
        connecting="included",
        clock_ns=clock_ns,
        error_ns=_STEP_NS // 2,
    )


CSV: Final = Format(
    "hey-csv", "hey", lambda head: _names(head)[: len(_COLUMNS)] == list(_COLUMNS), _meaning, _read,
    ("requests that got no answer are not in the file: nothing is known about them",
     "hey writes at most one million requests"), all_requests=False,
)  # fmt: skip
