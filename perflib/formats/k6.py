"""k6: `k6 run --out csv=FILE` and `--out json=FILE`, also compressed with gzip.

k6 writes a line for each metric, nine for a request. They follow each other, the first is `http_reqs`, and they carry
the time at which the answer was complete. `http_req_duration` is sending + waiting + receiving: connecting is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perflib.formats.base import REQUESTS, Format, broken, csv_table, first_line, json_lines, lines_of, query
from perflib.store.records import TimeRecord

# A request's metrics that are read. The first begins a request, and the second has its tags.
_METRICS: Final = ("http_reqs", "http_req_duration", "http_req_sending", "http_req_waiting", "http_req_failed")
_CODE: Final = f"(list_position({list(_METRICS)}, metric) - 1)::tinyint"
_NS: Final = {10: 1_000_000_000, 13: 1_000_000, 16: 1_000, 19: 1}  # by the number of digits of a time
_TAGS: Final = ("name", "method", "scenario", "status", "error_code")

_READ: Final = {  # in SQL, what is read of the tags of a request
    "scenario": "coalesce(nullif(scenario, ''), 'default')",
    "operation": "coalesce(nullif(trim(concat_ws(' ', method, name)), ''), 'request')",
    "status": "coalesce(try_cast(status as integer), 0)",
    "error_code": "error_code",
}


def _nanoseconds(time: str) -> str:
    """SQL for a date with a time zone, in ns since 1970."""
    return f"epoch_ns(cast({time} as timestamp_ns))"


def _unit_ns(head: str) -> int:
    """What a time is counted in, ns; 0 for a date."""
    lines = head.splitlines()
    stamp = lines[1].split(",")[1] if len(lines) > 1 and lines[1].count(",") > 1 else ""
    return _NS.get(len(stamp), 0) if stamp.isdecimal() else 0


def _meaning(head: str, clock_ns: int) -> TimeRecord:
    return TimeRecord(begins="the request was sent", ends="last byte", connecting="left out", clock_ns=clock_ns)


def _csv_meaning(head: str) -> TimeRecord:
    stamp = first_line(head.partition("\n")[2]).split(",")[1:2]
    seconds = stamp and "." not in stamp[0] and "T" in stamp[0]
    return _meaning(head, _unit_ns(head) or (1_000_000_000 if seconds else 1))


def _read_csv(path: Path, head: str) -> Iterator[pa.Table]:
    names = first_line(head).split(",")
    needed = ("metric_name", "timestamp", "metric_value")
    if missing := [name for name in needed if name not in names]:
        raise broken(path, 1, f"the header has no {', '.join(missing)}")
    unit_ns = _unit_ns(head)
    kinds = {"timestamp": "BIGINT" if unit_ns else "VARCHAR", "metric_value": "DOUBLE"}
    table = csv_table(path, {name: kinds.get(name, "VARCHAR") for name in names})
    time = f"timestamp * {unit_ns}" if unit_ns else _nanoseconds("timestamp")
    tags = ", ".join(f"{tag if tag in names else 'null'} as {tag}" for tag in _TAGS)
    yield from _pivoted(
        path, f"select metric_name as metric, {time} as t_ns, metric_value as value, {tags} from {table}"
    )


def _read_json(path: Path, head: str) -> Iterator[pa.Table]:
    tags = ", ".join(f"{tag} varchar" for tag in _TAGS)
    columns = {
        "metric": "varchar",
        "type": "varchar",
        "data": f"struct(time varchar, value double, tags struct({tags}))",
    }
    chosen = ", ".join(f"data.tags.{tag} as {tag}" for tag in _TAGS)
    lines = f"select metric, {_nanoseconds('data.time')} as t_ns, data.value as value, {chosen}"
    yield from _pivoted(path, f"{lines} from {json_lines(path, columns)} where type = 'Point'")


def _pivoted(path: Path, lines: str) -> Iterator[pa.Table]:
    """Requests from lines of metrics."""
    tags = ", ".join(f"case when metric = 'http_req_duration' then {sql} end as {tag}" for tag, sql in _READ.items())
    listed = ", ".join(f"'{metric}'" for metric in _METRICS)
    sql = f"select {_CODE} as code, t_ns, value, {tags} from ({lines}) where metric in ({listed})"
    rest, done = None, 0
    for piece in query(path, sql):
        table = piece if rest is None else pa.concat_tables([rest, piece])
        code = _codes(table)
        last = int(np.flatnonzero(code == 0)[-1]) if (code == 0).any() else 0
        whole, rest = table.slice(0, last), table.slice(last)
        if len(whole):
            yield _requests(path, whole, done)
            done += int((_codes(whole) == 0).sum())
    if rest is not None and len(rest):
        yield _requests(path, rest, done)


def _codes(table: pa.Table) -> NDArray[np.int8]:
    return np.asarray(table["code"].to_numpy())


def _requests(path: Path, table: pa.Table, before: int) -> pa.Table:
    """The requests of whole groups of lines; `before` is the number of those before them in the file."""
    code, value = _codes(table), np.asarray(table["value"].to_numpy())
    group = np.cumsum(code == 0) - 1
    timed = np.flatnonzero(code == 1)
    _check(path, group[timed], value[timed], int(group[-1]) + 1, before)

    def values(metric: str) -> NDArray[np.float64]:
        """A metric of each request; NaN where it has none."""
        at = code == _METRICS.index(metric)
        found = np.full(len(timed), np.nan)
        found[group[at]] = value[at]
        return found

    rows = table.take(pa.array(timed))
    end, status = (np.asarray(rows[name].to_numpy()) for name in ("t_ns", "status"))
    start = end - np.rint(value[timed] * 1e6).astype(np.int64)
    until_first_ms = np.nan_to_num(values("http_req_sending") + values("http_req_waiting"))
    first = start + np.rint(until_first_ms * 1e6).astype(np.int64)
    failed = values("http_req_failed")  # older files have none: then by k6's own rule
    wrong = np.asarray(np.where(np.isnan(failed), (status == 0) | (status >= 400), failed > 0), bool)
    unanswered = status == 0
    columns = {
        "scenario": rows["scenario"],
        "operation": rows["operation"],
        "start_ns": pa.array(start),
        "end_ns": pa.array(end),
        "first_byte_ns": pa.array(np.minimum(first, end), mask=unanswered | (first <= start)),
        "error": pa.array(_errors(status, rows["error_code"], wrong), pa.string()),
        "status": pa.array(status, pa.int32(), mask=unanswered),
    }
    return pa.table([columns.get(f.name, pa.nulls(len(timed), f.type)) for f in REQUESTS], schema=REQUESTS)


def _check(path: Path, timed: NDArray[Any], took_ms: NDArray[Any], requests: int, before: int) -> None:
    """Raise FormatError if not each request has one time. `timed` are the numbers of those that have one."""
    wrong = np.flatnonzero(~np.isfinite(took_ms)).tolist()
    if len(timed) != requests or (timed != np.arange(requests)).any():
        wrong = [next((i for i in range(requests) if i >= len(timed) or timed[i] != i), requests - 1)]
    if wrong:
        what = "a request has no usable http_req_duration: the file was cut, or lines were left out"
        raise broken(path, _line_of(path, before + wrong[0]), what)


def _errors(status: NDArray[Any], codes: pa.ChunkedArray, wrong: NDArray[np.bool_]) -> NDArray[Any]:
    """The class of each error; None for a good answer."""
    found = np.full(len(status), None, object)
    for i in np.flatnonzero(wrong):
        code = codes[int(i)].as_py() or ""
        found[i] = f"http_{status[i] // 100}xx" if status[i] >= 300 else "check" if status[i] else _of_code(code)
    return found


def _of_code(code: str) -> str:
    """The class of one of k6's error codes (errext and lib/netext/httpext/error_codes.go)."""
    if code in ("1050", "1211"):
        return "timeout" if code == "1050" else "connect"
    if code in ("1201", "1220"):
        return "reset"
    return {"11": "connect", "12": "connect", "13": "tls"}.get(code[:2], "failed")


def _line_of(path: Path, request: int) -> int:
    """The line at which a request begins, by its number from 0."""
    seen = -1
    number = 1
    for number, line in lines_of(path):
        if line.startswith("http_reqs,") or (line.startswith("{") and '"http_reqs"' in line and '"Point"' in line):
            seen += 1
            if seen == request:
                return number
    return number


def _is_json(head: str) -> bool:
    line = first_line(head)
    if not line.startswith("{"):
        return False
    try:
        found: Any = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and {"metric", "type", "data"} <= set(found)


CSV: Final = Format(
    "k6-csv",
    "k6",
    lambda head: first_line(head).startswith("metric_name,timestamp,metric_value"),
    _csv_meaning,
    _read_csv,
)
JSON: Final = Format("k6-json", "k6", _is_json, lambda head: _meaning(head, 1), _read_json)
