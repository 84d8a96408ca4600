"""Numbers that a target reports about itself: a JSON object of numbers, or the text of Prometheus or OpenMetrics.

    page = Page(only=["db_*"])
    page.read(body)          # [("db_pool_in_use{pool="main"}", "gauge", 12.0), …]

prometheus_client parses the text, which takes it about 50 µs a line. What stands before a value is the same each time,
so a line that was parsed once is known from then on, and only its value is read (under 1 µs).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from perflib.errors import PerflibError, install
from perflib.store.schema import label, series_label

MOST_SERIES: Final = 5_000  # of one source
LONGEST_LINE: Final = 2_000  # characters
LARGEST: Final = 1e300  # a larger number is none, and neither is NaN
Series = tuple[str, str]  # its name with labels, and its kind
Reading = tuple[str, str, float]
_NEW: Final = ("", "")  # a line that was not parsed before


class Page:
    """The pages of one source, one after the other.

    only       patterns of the names to keep; none: all
    instance   a label of all its series, by which they are told from those of the same name of another source
    """

    def __init__(self, only: Sequence[str] = (), instance: str = "") -> None:
        self._only, self._own = only, {"instance": instance} if instance else {}
        self._known: dict[str, Series | None] = {}  # by what stands before the value; None: it is left out

    def read(self, body: bytes) -> list[Reading]:
        """The numbers of a page. Raises ValueError for one that is neither of the formats, and PerflibError without
        the package that parses them."""
        text = body.decode("utf-8", "replace")
        if text.lstrip().startswith("{"):
            try:
                return self._of_json(json.loads(text))
            except ValueError:
                pass  # a name in quotes, as Prometheus writes it since version 3
            except RecursionError:
                raise ValueError("the JSON is nested too deeply") from None
        return self._of_known_lines(text) or self._parsed(text)

    def _of_json(self, values: dict[str, Any]) -> list[Reading]:
        numbers = (
            (series_label(label(name), self._own), "unknown", float(value))
            for name, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
        )
        return [reading for reading in numbers if self._wanted(reading[0].partition("{")[0])][:MOST_SERIES]

    def _of_known_lines(self, text: str) -> list[Reading]:
        """The numbers of a page whose lines are all known; else none."""
        found: dict[str, Reading] = {}
        for line in text.split("\n"):
            if not line or line[0] == "#":
                continue
            before, _, value = line.rpartition(" ")
            series = self._known.get(before, _NEW)
            if series is _NEW:
                return []
            if series is not None:
                number = _float(value)
                if abs(number) <= LARGEST:
                    found[series[0]] = (*series, number)
        return list(found.values())

    def _parsed(self, text: str) -> list[Reading]:
        lines = [line for line in text.split("\n") if len(line) <= LONGEST_LINE]
        samples = list(_samples("\n".join(lines).rstrip("\n") + "\n"))
        found: dict[str, Reading] = {}
        for name, kind, labels, number in samples:
            series = series_label(name, self._own | labels)
            if kind and series and self._wanted(name) and abs(number) <= LARGEST and len(found) < MOST_SERIES:
                found[series] = (series, kind, number)
        self._learn([line for line in lines if line and not line.lstrip().startswith("#")], samples, found)
        return list(found.values())

    def _learn(self, lines: list[str], samples: list[Any], found: dict[str, Reading]) -> None:
        """Know these lines from now on. The parser keeps their order, and each value must be that of its line; a line
        with a time or an exemplar behind its value is left to the parser."""
        self._known.clear()
        if len(lines) != len(samples):
            return
        for line, (name, _, labels, number) in zip(lines, samples, strict=True):
            before, _, value = line.rpartition(" ")
            if _is_series(before) and " # " not in line and _is(value, number):
                reading = found.get(series_label(name, self._own | labels))
                self._known[before] = reading[:2] if reading else None

    def _wanted(self, name: str) -> bool:
        return not self._only or any(fnmatchcase(name, pattern) for pattern in self._only)


def _is_series(text: str) -> bool:
    """Whether a text is a name, or a name and its labels, without a value behind it."""
    text = text.rstrip()
    return text.endswith("}") or len(text.split()) == 1


def _float(text: str) -> float:
    """A number as Prometheus writes it. Raises ValueError."""
    if "_" in text:  # which Python takes
        raise ValueError(f"not the text format of Prometheus: the number {text!r}")
    return float(text)


def _is(text: str, number: float) -> bool:
    """Whether a text is this number."""
    try:
        value = _float(text)
    except ValueError:
        return False
    return value == number or (math.isnan(value) and math.isnan(number))


def _samples(text: str) -> Iterator[tuple[str, str, dict[str, str], float]]:
    """Name, kind, labels and value of each line. A kind "" is none that is kept, as when a counter was created."""
    try:
        from prometheus_client import parser
        from prometheus_client.openmetrics import parser as openmetrics
    except ImportError:
        what = "metrics in the text format of Prometheus need the package prometheus-client"
        raise PerflibError(what, where="gauges", mend=install("prometheus")) from None
    chosen = openmetrics if text.rstrip().endswith("# EOF") else parser
    try:
        for family in chosen.text_string_to_metric_families(text):
            for sample in family.samples:
                yield sample.name, _kind(family.type, sample.name), sample.labels, float(sample.value or 0.0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:  # what its parsers raise
        raise ValueError(f"not the text format of Prometheus: {error}") from None


def _kind(family: str, sample: str) -> str:
    """What can be asked of a sample: of a "counter" its rate, of a "bucket" quantiles, of others their values."""
    if sample.endswith("_created"):  # when a counter began, which is no metric of the target
        return ""
    if family == "histogram" and sample.endswith("_bucket"):
        return "bucket"
    if family in ("counter", "histogram") or (family == "summary" and sample.endswith(("_count", "_sum"))):
        return "counter"
    return {"gauge": "gauge", "summary": "gauge", "stateset": "gauge", "info": ""}.get(family, "unknown")
