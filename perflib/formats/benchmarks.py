"""Samples of benchmarks in JSON: pytest-benchmark with `--benchmark-save-data`, and pyperf.

Each sample becomes a request. When it was made is not recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from perflib.formats.base import Format, FormatError, json_of, of_rows
from perflib.store.records import TimeRecord

Samples = Iterable[tuple[str, float]]  # the name of a benchmark, and seconds


def _rows(path: Path, tool: str, samples: Samples) -> Iterator[tuple[Any, ...]]:
    try:
        for name, seconds in samples:
            yield "default", name, 0, round(float(seconds) * 1e9), None, None, None, None, None
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"not the JSON of {tool}: {type(error).__name__} {error}"
        raise FormatError(what, where=str(path), mend="import the complete file, as the tool wrote it") from None


def _read_pytest(path: Path, head: str) -> Iterator[pa.Table]:
    def samples() -> Samples:
        for benchmark in json_of(path)["benchmarks"]:
            if "data" not in benchmark["stats"]:
                what = f"{benchmark['fullname']} has a summary and no samples, from which no interval can be computed"
                raise FormatError(what, where=str(path), mend="run pytest with --benchmark-save-data")
            yield from ((benchmark["fullname"], value) for value in benchmark["stats"]["data"])

    yield from of_rows(_rows(path, "pytest-benchmark", samples()))


def _read_pyperf(path: Path, head: str) -> Iterator[pa.Table]:
    def samples() -> Samples:
        content = json_of(path)
        shared = content.get("metadata", {}).get("name")
        for number, benchmark in enumerate(content["benchmarks"]):
            name = benchmark.get("metadata", {}).get("name") or shared or f"benchmark {number + 1}"
            yield from ((name, value) for run in benchmark["runs"] for value in run.get("values", ()))

    yield from of_rows(_rows(path, "pyperf", samples()))


def _meaning(head: str) -> TimeRecord:
    return TimeRecord(begins="the call began", ends="return of the call", connecting="included")


_MEANS: Final = "each time is the mean of the calls in one round"
PYTEST: Final = Format(
    "pytest-benchmark", "pytest-benchmark",
    lambda head: head.lstrip().startswith("{") and ('"machine_info"' in head or '"commit_info"' in head),
    _meaning, _read_pytest, (_MEANS,),
)  # fmt: skip
PYPERF: Final = Format(
    "pyperf", "pyperf",
    lambda head: head.lstrip().startswith("{") and '"benchmarks"' in head and '"runs"' in head and '"values"' in head,
    _meaning, _read_pyperf, (_MEANS,),
)  # fmt: skip
