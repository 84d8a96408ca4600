"""All formats that can be imported, and which one a file is of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from perflib.formats import (
    aiperf,
    benchmarks,
    gatling,
    gatling_binary,
    guidellm,
    hey,
    jmeter,
    k6,
    locust,
    oha,
    summary_files,
    vegeta,
)
from perflib.formats.base import Format, FormatError, first_line, head_of

FORMATS: Final = (
    k6.CSV, k6.JSON, jmeter.CSV, jmeter.XML, locust.REQUESTS_CSV, vegeta.CSV, vegeta.JSON, oha.CSV, hey.CSV,
    gatling.LOG, gatling_binary.LOG, aiperf.RECORDS, guidellm.BENCHMARKS, benchmarks.PYTEST, benchmarks.PYPERF,
)  # fmt: skip
_SUMMARY: Final = "a summary without single requests, from which no interval can be computed"


# What is known and cannot be imported: how it is recognised, what it is, and what to do instead.
_REFUSED: Final[Sequence[tuple[Callable[[str], bool], str, str]]] = (
    (lambda head: first_line(head).startswith("Timestamp,User Count"), f"Locust's history: {_SUMMARY}",
     "write a line for each request with locust.contrib.csv_request_logger"),
)  # fmt: skip


def names() -> list[str]:
    """What `--from` accepts: each format, and each tool for all of its formats."""
    return sorted({each.name for each in (*FORMATS, *summary_files.FORMATS)} | {_tool(each) for each in FORMATS})


def format_of(path: Path, wanted: str | None = None) -> tuple[Format, str]:
    """The format of a file, and the text at its beginning. `wanted` is a name of `names`.

    Raises FormatError for a file of no known format, or of another one than the wanted.
    """
    head = head_of(path)
    chosen = [each for each in FORMATS if wanted in (None, each.name, _tool(each))]
    if not chosen:
        raise FormatError(f"no format {wanted!r}", where="--from", mend=f"use one of {', '.join(names())}")
    found = [each for each in chosen if each.recognises(head)]
    if found:
        return found[0], head
    exact = [each for each in chosen if each.name == wanted]
    if exact:
        return exact[0], head
    for is_it, what, mend in _REFUSED:
        if is_it(head):
            raise FormatError(what, where=str(path), mend=mend)
    start = json.dumps(re.sub(r"[^\x20-\x7e]+", " ", head[:50]).strip())
    known = ", ".join(dict.fromkeys(each.tool for each in FORMATS))
    raise FormatError(
        f"not recognised as a result of {wanted or known}: line 1 begins with {start}",
        where=str(path),
        mend=f"name the format: --from {'|'.join(each.name for each in FORMATS)}",
    )


def _tool(each: Format) -> str:
    return each.tool.lower()
