"""aiperf: a record for each request (`profile_export.jsonl`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from perflib.formats.base import BY_STATUS, Format, first_line, json_lines, requests
from perflib.store.records import TimeRecord

_KEYS: Final = {
    "metadata": "STRUCT(request_start_ns BIGINT, request_end_ns BIGINT, was_cancelled BOOLEAN)",
    "metrics": 'STRUCT(time_to_first_token STRUCT("value" DOUBLE, unit VARCHAR))',
    "error": 'STRUCT(code INTEGER, "type" VARCHAR, message VARCHAR)',
}
_ERROR: Final = (
    "case when error is null then null when metadata.was_cancelled then 'aborted' "
    f"when status between 300 and 599 then {BY_STATUS} "
    "when error.type ilike '%timeout%' then 'timeout' when error.type ilike '%connect%' then 'connect' "
    "else 'failed' end"
)
_TO_NS: Final = "case metrics.time_to_first_token.unit when 'ms' then 1e6 when 'sec' then 1e9 when 'ns' then 1 end"


def _read(path: Path, head: str) -> Iterator[pa.Table]:
    yield from requests(
        path,
        json_lines(path, _KEYS),
        {
            "scenario": "'default'", "operation": "'request'", "start_ns": "metadata.request_start_ns",
            "end_ns": "metadata.request_end_ns", "error": _ERROR, "status": "status",
            "first_byte_ns": "case when error is null then metadata.request_start_ns + "
            f"(metrics.time_to_first_token.value * {_TO_NS})::bigint end",
        },
        prepared="case when error.code between 100 and 599 then error.code end as status",
    )  # fmt: skip


def _meaning(head: str) -> TimeRecord:
    return TimeRecord(begins="the request was sent", ends="last byte", clock_ns=1)


def _is_it(head: str) -> bool:
    line = first_line(head)
    try:
        found: Any = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return False
    metadata = found.get("metadata") if isinstance(found, dict) else None
    return isinstance(metadata, dict) and {"request_start_ns", "request_end_ns"} <= metadata.keys()


RECORDS: Final = Format("aiperf-jsonl", "aiperf", _is_it, _meaning, _read)
