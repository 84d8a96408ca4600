"""oha: `oha --output-format csv`. It has the requests that were answered, in seconds since the start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa

from perflib.formats.base import BY_STATUS, Format, csv_table, first_line, requests
from perflib.store.records import TimeRecord

_COLUMNS: Final = {
    "request-start": "DOUBLE", "DNS": "DOUBLE", "DNS+dialup": "DOUBLE", "Response-delay": "DOUBLE",
    "request-duration": "DOUBLE", "bytes": "BIGINT", "status": "INTEGER",
}  # fmt: skip


def _read(path: Path, head: str) -> Iterator[pa.Table]:
    yield from requests(
        path,
        csv_table(path, _COLUMNS),
        {
            "scenario": "'default'", "operation": "'request'", "start_ns": "start_",
            "end_ns": 'start_ + ("request-duration" * 1e9)::bigint',
            "first_byte_ns": 'start_ + ("Response-delay" * 1e9)::bigint',
            "error": f"case when status >= 400 then {BY_STATUS} end", "status": "status", "bytes_received": "bytes",
        },
        prepared='("request-start" * 1e9)::bigint as start_',
    )  # fmt: skip


def _meaning(head: str) -> TimeRecord:
    return TimeRecord(
        begins="the request was sent, or was due with --latency-correction",
        ends="last byte",
        connecting="included",
        clock_ns=1,
    )


CSV: Final = Format(
    "oha-csv", "oha", lambda head: first_line(head) == ",".join(_COLUMNS), _meaning, _read,
    ("requests that got no answer are not in the file: nothing is known about them",), all_requests=False,
)  # fmt: skip
