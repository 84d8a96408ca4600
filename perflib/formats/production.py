"""How production's metrics are called: the names and labels under which rules and dashboards look for what a suite
speaks of. By default they are those that `perflib run --metrics` serves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from perflib.errors import SuiteError
from perflib.formats.exporting import BUCKETS_MS, escaped_label

LABELS: Final = ("suite", "scenario", "operation")
_METRIC: Final = re.compile(r"([A-Za-z_:][\w:]*)(?:\{([^{}]*)\})?")
_MATCHER: Final = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
Matcher = tuple[str, str, str]  # label, comparison, value as it stands in PromQL


@dataclass(frozen=True)
class Selector:
    """A metric and what its labels must be, as in PromQL."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    @classmethod
    def parse(cls, text: str, where: str) -> Selector:
        """Selector.parse('http_requests_total{status=~"5.."}', "--errors"). Raises SuiteError."""
        match = _METRIC.fullmatch(text.strip())
        inner = match[2] or "" if match else ""
        matchers, at = [], 0
        while match and at < len(inner):
            one = _MATCHER.match(inner, at)
            if one is None:
                match = None
                break
            matchers.append((one[1], one[2], one[3]))
            at = one.end()
        if match is None:
            raise SuiteError(f"{text!r} is no metric", where=where, mend='write name or name{label="value"}')
        return cls(match[1], tuple(matchers))

    def with_labels(self, *more: Matcher) -> Selector:
        return Selector(self.metric, (*self.matchers, *more))

    def named(self, metric: str) -> Selector:
        return Selector(metric, self.matchers)

    def __str__(self) -> str:
        inner = ",".join(f'{label}{compared}"{value}"' for label, compared, value in self.matchers)
        return f"{self.metric}{{{inner}}}" if inner else self.metric


@dataclass(frozen=True)
class Names:
    """The metrics of production, and the labels that are called otherwise than perflib's.

    requests, errors   counters; `errors` may be some series of the same metric
    times              a histogram of response times in seconds, without _bucket
    labels             by perflib's name of a label the one in production; "" where there is none
    where              further labels that all series must have
    buckets_s          the upper edges of the histogram's buckets, s
    """

    requests: Selector = Selector("perflib_requests_total")
    errors: Selector = Selector("perflib_request_errors_total")
    times: Selector = Selector("perflib_response_seconds")
    labels: Mapping[str, str] = field(default_factory=dict)
    where: tuple[Matcher, ...] = ()
    buckets_s: Sequence[float] = tuple(edge / 1000 for edge in BUCKETS_MS)

    def of(self, selector: Selector, **values: str | None) -> Selector:
        """The series of a suite, a scenario, an operation."""
        matchers = [
            (self.labels.get(label, label), "=", escaped_label(value))
            for label, value in values.items()
            if value is not None
        ]
        return selector.with_labels(*(each for each in matchers if each[0]), *self.where)

    def label(self, name: str) -> str:
        """What perflib's label is called there; "" where there is none."""
        return self.labels.get(name, name)


def names_of(
    requests: str | None,
    errors: str | None,
    times: str | None,
    labels: Sequence[str],
    where: Sequence[str],
    buckets: str | None,
) -> Names:
    """The names from options of a command. Raises SuiteError."""
    usual, renamed, found = Names(), dict[str, str](), list[Matcher]()
    for text in labels:
        mine, separator, theirs = (part.strip() for part in text.partition("="))
        if not separator or mine not in LABELS or not re.fullmatch(r"\w*", theirs):
            mend = f"write one of {', '.join(LABELS)} and its name there: scenario=service, or operation= for none"
            raise SuiteError(f"cannot read {text!r}", where="--label", mend=mend)
        renamed[mine] = theirs
    for text in where:
        found += Selector.parse(f"x{{{text}}}", "--where").matchers
    try:
        edges = tuple(sorted(float(edge) for edge in buckets.split(","))) if buckets else usual.buckets_s
    except ValueError:
        mend = "write the upper edges in seconds: 0.1,0.25,0.5,1"
        raise SuiteError(f"cannot read {buckets!r}", where="--buckets", mend=mend) from None
    return Names(
        Selector.parse(requests, "--requests") if requests else usual.requests,
        Selector.parse(errors, "--errors") if errors else usual.errors,
        Selector.parse(times, "--times") if times else usual.times,
        renamed,
        tuple(found),
        edges,
    )
