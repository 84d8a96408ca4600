"""Locust's log of single requests (`locust.contrib.csv_request_logger.CsvRequestLogger`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa

from perflib.formats.base import BY_STATUS, Format, csv_table, first_line, requests
from perflib.store.records import TimeRecord

_COLUMNS: Final = {
    "timestamp": "DOUBLE", "request_type": "VARCHAR", "name": "VARCHAR", "response_time_ms": "DOUBLE",
    "response_length": "BIGINT", "status_code": "INTEGER", "exception": "VARCHAR",
}  # fmt: skip
_ERROR: Final = (
    f"case when coalesce(exception, '') = '' then null when status >= 300 then {BY_STATUS} "
    "when exception ilike '%timeout%' or exception ilike '%timed out%' then 'timeout' "
    "when exception ilike '%ssl%' then 'tls' "
    "when exception ilike '%reset%' or exception ilike '%aborted%' then 'reset' "
    "when exception ilike '%connect%' or exception ilike '%resolve%' then 'connect' "
    "when status > 0 then 'check' else 'failed' end"
)


def _read(path: Path, head: str) -> Iterator[pa.Table]:
    yield from requests(
        path,
        csv_table(path, _COLUMNS),
        {
            "scenario": "'default'", "operation": "trim(concat_ws(' ', request_type, name))", "start_ns": "start_",
            "end_ns": "start_ + (response_time_ms * 1e6)::bigint", "error": _ERROR,
            "status": "nullif(status_code, 0)", "bytes_received": "response_length",
        },
        prepared="(timestamp * 1e6)::bigint * 1000 as start_, status_code as status",
    )  # fmt: skip


def _meaning(head: str) -> TimeRecord:
    return TimeRecord(
        begins="the request was sent", ends="last byte", connecting="included", clock_ns=1_000, error_ns=5_000
    )


REQUESTS_CSV: Final = Format(
    "locust-csv", "Locust", lambda head: first_line(head) == ",".join(_COLUMNS), _meaning, _read
)
