"""vegeta: `vegeta encode --to csv` (12 columns, 9 in older versions, no header) and `--to json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from perflib.formats.base import BY_STATUS, Format, broken, csv_table, first_line, json_lines, requests
from perflib.store.records import TimeRecord

_COLUMNS: Final = {
    "time_ns": "BIGINT", "code": "INTEGER", "latency": "BIGINT", "bytes_out": "BIGINT", "bytes_in": "BIGINT",
    "error": "VARCHAR", "body": "VARCHAR", "attack": "VARCHAR", "seq": "BIGINT", "method": "VARCHAR", "url": "VARCHAR",
    "headers": "VARCHAR",
}  # fmt: skip
_OLDER: Final = 9
_ROW: Final = re.compile(r"\d{19},\d{1,3},\d+,\d+,\d+,")
_KEYS: Final = {
    "attack": "VARCHAR", "code": "INTEGER", "timestamp": "VARCHAR", "latency": "BIGINT", "bytes_out": "BIGINT",
    "bytes_in": "BIGINT", "error": "VARCHAR", "method": "VARCHAR", "url": "VARCHAR",
}  # fmt: skip
# vegeta counts a status from 200 to 399 as good, and writes the status line as the error of others.
_ERROR: Final = (
    f"case when coalesce(error, '') = '' and status between 200 and 399 then null when status >= 400 then {BY_STATUS} "
    "when status >= 200 then 'check' when error ilike '%timeout%' or error ilike '%deadline%' then 'timeout' "
    "when error ilike '%reset%' or error ilike '%eof%' or error ilike '%broken pipe%' then 'reset' "
    "when error ilike '%tls%' or error ilike '%x509%' then 'tls' "
    "when error ilike '%dial%' or error ilike '%refused%' or error ilike '%no such host%' then 'connect' "
    "else 'failed' end"
)


def _read_csv(path: Path, head: str) -> Iterator[pa.Table]:
    names = list(_COLUMNS)
    count = first_line(head).count(",") + 1
    if count not in (len(names), _OLDER):
        raise broken(path, 1, f"{count} columns instead of {len(names)}, or {_OLDER} of older versions")
    columns = {name: _COLUMNS[name] for name in names[:count]}
    yield from _requests(path, csv_table(path, columns, header=False), "time_ns", count == len(names))


def _read_json(path: Path, head: str) -> Iterator[pa.Table]:
    yield from _requests(path, json_lines(path, _KEYS), "epoch_ns(cast(timestamp as timestamp_ns))", True)


def _requests(path: Path, table: str, start: str, has_url: bool) -> Iterator[pa.Table]:
    request = "trim(concat_ws(' ', method, regexp_extract(url, '^[a-z]+://[^/]*(/[^?]*)', 1)))" if has_url else "''"
    yield from requests(
        path,
        table,
        {
            "scenario": "coalesce(nullif(attack, ''), 'default')",
            "operation": f"coalesce(nullif({request}, ''), 'request')",
            "start_ns": "start_", "end_ns": "start_ + latency", "error": _ERROR, "status": "nullif(code, 0)",
            "bytes_sent": "bytes_out", "bytes_received": "bytes_in",
        },
        prepared=f"{start} as start_, code as status",
    )  # fmt: skip


def _meaning(head: str) -> TimeRecord:
    return TimeRecord(begins="the request was sent", ends="last byte", connecting="included", clock_ns=1)


def _is_json(head: str) -> bool:
    line = first_line(head)
    try:
        found: Any = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return False
    return isinstance(found, dict) and {"code", "timestamp", "latency", "bytes_out"} <= set(found)


CSV: Final = Format("vegeta-csv", "vegeta", lambda head: bool(_ROW.match(first_line(head))), _meaning, _read_csv)
JSON: Final = Format("vegeta-json", "vegeta", _is_json, _meaning, _read_json)
