"""JMeter's result files (JTL): CSV with or without a header, and XML."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pyarrow as pa

from perflib.formats.base import Format, broken, check_end, csv_table, first_line, last_line, of_rows, requests
from perflib.store.records import TimeRecord

_DEFAULT: Final = (
    "timeStamp", "elapsed", "label", "responseCode", "responseMessage", "threadName", "dataType", "success",
    "failureMessage", "bytes", "sentBytes", "grpThreads", "allThreads", "URL", "Latency", "IdleTime", "Connect",
)  # fmt: skip
_NEEDED: Final = ("timeStamp", "elapsed", "label", "success")
_DELIMITERS: Final = ",;\t|"
_ROW: Final = re.compile(r'"?(\d{13}|\d{4}[/-]\d\d[/-]\d\d \d\d:\d\d:\d\d[.,]?\d*)"?([,;\t|])\d+\2')
_DATES: Final = ("%Y-%m-%d %H:%M:%S.%g", "%Y/%m/%d %H:%M:%S.%g", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S")
# By the name of the Java exception that JMeter writes as the code of the answer.
_ERROR: Final = (
    "case when lower(success) = 'true' then null when status >= 300 then {by_status} "
    "when contains({code}, 'Timeout') then 'timeout' when contains({code}, 'SSL') then 'tls' "
    "when contains({code}, 'UnknownHost') or contains({code}, 'Connect') or contains({code}, 'NoRoute') then 'connect' "
    "when contains({code}, 'SocketException') or contains({code}, 'NoHttpResponse') then 'reset' "
    "when status is null then 'failed' else 'check' end"
)
_BY_STATUS: Final = (
    "case when status < 400 then 'http_3xx' when status < 500 then 'http_4xx' when status < 600 then 'http_5xx' "
    "else 'failed' end"
)
_SAMPLES: Final = ("httpSample", "sample")


def _meaning(head: str) -> TimeRecord:
    row = _ROW.search(head)
    seconds = row is not None and len(row[1]) == 19 and not row[1].isdecimal()
    clock_ns = 1_000_000_000 if seconds else 1_000_000
    return TimeRecord(
        begins="the request was sent", ends="last byte", connecting="included", clock_ns=clock_ns, error_ns=1_000_000
    )


def _is_csv(head: str) -> bool:
    line = first_line(head)
    return bool(_ROW.match(line)) or ("timeStamp" in line and "elapsed" in line and not line.startswith(("<", "{")))


def _read_csv(path: Path, head: str) -> Iterator[pa.Table]:
    line = first_line(head)
    header = "timeStamp" in line
    found = _ROW.match(line)
    delimiter = found[2] if found else next((sign for sign in _DELIMITERS if sign in line), ",")
    fields = next(csv.reader(io.StringIO(head), delimiter=delimiter))  # a message may have several lines
    names = fields if header else _without_header(path, len(fields))
    if missing := [name for name in _NEEDED if name not in names]:
        raise broken(path, 1, f"the header has no {', '.join(missing)}")
    whole = dict.fromkeys(("elapsed", "bytes", "sentBytes", "Latency", "Connect"), "BIGINT")
    row = _ROW.search(head)
    if row is None or row[1].isdecimal():
        whole["timeStamp"] = "BIGINT"
        start = "timeStamp * 1000000"
    else:
        dates = ", ".join(f"'{date}'" for date in _DATES)
        start = f"epoch_ns(strptime(replace(timeStamp, ',', '.'), [{dates}]))"
    code = "coalesce(responseCode, '')" if "responseCode" in names else "''"
    prepared = f"try_cast({code} as integer) as status_, {start} as start_"
    error = _ERROR.format(code=code, by_status=_BY_STATUS).replace("status", "status_")
    first = "case when Latency > 0 then start_ + Latency * 1000000 end" if "Latency" in names else "null"
    yield from requests(
        path,
        csv_table(path, {name: whole.get(name, "VARCHAR") for name in names}, header=header, delimiter=delimiter),
        {
            "scenario": "'default'", "operation": "label", "start_ns": "start_", "end_ns": "start_ + elapsed * 1000000",
            "first_byte_ns": first, "error": error, "status": "status_",
            "bytes_sent": "sentBytes" if "sentBytes" in names else "null",
            "bytes_received": "bytes" if "bytes" in names else "null",
        },
        prepared=prepared,
    )  # fmt: skip


def _without_header(path: Path, count: int) -> list[str]:
    """The columns of a file without a header: the usual ones, or those of older versions, which have no URL."""
    older = [name for name in _DEFAULT if name != "URL"]
    for names in (list(_DEFAULT), older):
        if len(names) == count:
            return names
    what = f"{count} columns and no header: the usual ones are {len(_DEFAULT)}, or {len(older)}"
    raise broken(path, 1, f"{what}; write the file with jmeter.save.saveservice.print_field_names=true")


def _read_xml(path: Path, head: str) -> Iterator[pa.Table]:
    check_end(path)
    yield from of_rows(_samples(path))


def _samples(path: Path) -> Iterator[tuple[Any, ...]]:
    """The samples of the first level; those within another one are parts of it."""
    depth, number = 0, 0
    try:
        pieces = ElementTree.iterparse(path, events=("start", "end"))
        _, root = next(pieces)
        for event, element in pieces:
            depth += 1 if event == "start" else -1
            if event == "end" and depth == 0:
                if element.tag in _SAMPLES:
                    number += 1
                    yield _sample(path, number, element.attrib)
                root.clear()  # what was read is not kept
    except ElementTree.ParseError as error:
        raise broken(path, error.position[0] if error.position else last_line(path), f"no valid XML: {error}") from None


def _sample(path: Path, number: int, of: dict[str, str]) -> tuple[Any, ...]:
    try:
        start, took = int(of["ts"]) * 1_000_000, int(of["t"]) * 1_000_000
        first = int(of.get("lt") or 0) * 1_000_000
        code = of.get("rc", "")
        status = int(code) if code.isdecimal() else None
        error = None if of["s"] == "true" else _class_of(status, code)
        received = int(of["by"]) if "by" in of else None
        sent = int(of["sby"]) if "sby" in of else None
    except (KeyError, ValueError) as wrong:
        what = f"sample {number} has no usable attribute {wrong}"
        raise broken(path, "of that sample", what) from None
    return (
        "default",
        of.get("lb", ""),
        start,
        start + took,
        start + first if first else None,
        error,
        status,
        sent,
        received,
    )


def _class_of(status: int | None, code: str) -> str:
    if status is not None:
        return f"http_{status // 100}xx" if 300 <= status < 600 else "check"
    for sign, name in (("Timeout", "timeout"), ("SSL", "tls"), ("UnknownHost", "connect"), ("Connect", "connect"),
                       ("NoRoute", "connect"), ("SocketException", "reset"), ("NoHttpResponse", "reset")):  # fmt: skip
        if sign in code:
            return name
    return "failed"


CSV: Final = Format("jmeter-csv", "JMeter", _is_csv, _meaning, _read_csv)
XML: Final = Format("jmeter-xml", "JMeter", lambda head: "<testResults" in head, _meaning, _read_xml)
