"""Alert and recording rules for Prometheus from a suite's objectives, and tests of them for promtool.

An objective on errors or on a percentile is a share of the requests that may miss it, its budget: 1 % for "p99 response
< 250 ms". An alert fires where the budget burns too fast over a long and a short window, as the Site Reliability
Workbook has it (chapter 5, "Multiwindow, Multi-Burn-Rate Alerts"): 14.4 times as fast over 1 h and 5 min, 6 times over
6 h and 30 min, as fast as it may over 3 d and 6 h. An objective on a gauge, or on a mean, is compared as it is.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import rstr
import yaml

from perflib.errors import SuiteError
from perflib.formats.exporting import escaped_label
from perflib.formats.production import Names, Selector
from perflib.metrics.gauges import name_and_labels
from perflib.suite.model import Scenario, Suite
from perflib.suite.objectives import Objective

# how fast a budget burns, the long and the short window, the word in the alert's name, how urgent it is
BURNS: Final = (
    (14.4, "1h", "5m", "BurnsFast", "page"),
    (6.0, "6h", "30m", "Burns", "page"),
    (1.0, "3d", "6h", "BurnsSlowly", "ticket"),
)
WINDOWS: Final = ("5m", "30m", "1h", "6h", "3d")
RECORDED: Final = "perflib:missed:ratio_rate"
_TEST_MINUTES: Final = 20
_TEST_PER_MINUTE: Final = 1000


@dataclass(frozen=True)
class Share:
    """An objective as a share of requests that may miss it.

    missed, all   the rates of both, in PromQL, over a window W
    bad, good     the series that they are made of: the errors, or what is within the limit; and all requests
    bad_is_part   whether `good` has the series of `bad` among its own
    """

    scenario: str
    objective: Objective
    budget: float
    missed: str
    all: str
    bad: Selector
    good: Selector
    bad_is_part: bool


@dataclass(frozen=True)
class Level:
    """An objective on a number that is compared as it is. number, missed: in PromQL, and what of it may not hold."""

    scenario: str
    objective: Objective
    number: str
    missed: str


def translated(suite: Suite, names: Names) -> tuple[list[Share | Level], list[str]]:
    """The objectives of a suite as shares and levels, and which ones cannot be translated, with the reason."""
    found: list[Share | Level] = []
    losses = []
    for scenario in suite.scenarios:
        for objective in scenario.objectives:
            made = _translated(suite, scenario, objective, names)
            if isinstance(made, str):
                losses.append(f"{scenario.name}: {objective.text}: {made}")
            else:
                found.append(made)
    return found, losses


def _translated(suite: Suite, scenario: Scenario, objective: Objective, names: Names) -> Share | Level | str:
    if objective.stage is not None:
        return "production has no stages"
    of = {"suite": suite.name, "scenario": scenario.name, "operation": objective.operation}
    limit = objective.limit or 0.0
    if objective.metric in ("error rate", "success"):
        budget = (limit if objective.metric == "error rate" else 100 - limit) / 100
        if not 0 < budget < 1:
            return "it leaves no budget of errors"
        missed, every = names.of(names.errors, **of), names.of(names.requests, **of)
        expressions = f"(sum(rate({missed}[W])) or vector(0))", f"sum(rate({every}[W]))"
        return Share(scenario.name, objective, budget, *expressions, missed, every, missed.metric == every.metric)
    if objective.metric == "response" and objective.q is not None:
        return _of_percentile(scenario, objective, names, of)
    if objective.metric == "response" and objective.statistic == "mean":
        times = names.of(names.times, **of)
        sums, counts = (times.named(f"{times.metric}_{part}") for part in ("sum", "count"))
        mean = f"sum(rate({sums}[30m])) / sum(rate({counts}[30m]))"
        return Level(scenario.name, objective, mean, f"{_missed(objective)} {limit / 1000:g}")
    if objective.metric == "gauge":
        return _of_gauge(scenario, objective, names)
    return {
        "throughput": "how much is asked of production is up to its users",
        "cpu": "name a metric instead, like rate process_cpu_seconds_total",
    }.get(objective.metric, "it is about a load test")


def _of_percentile(scenario: Scenario, objective: Objective, names: Names, of: dict[str, str | None]) -> Share | str:
    if not objective.wants_less:
        return "it wants slow answers"
    limit_s = (objective.limit or 0.0) / 1000
    edges = [edge for edge in names.buckets_s if edge <= limit_s * (1 + 1e-9)]
    if not edges:
        return f"no bucket ends at or below {limit_s:g} s: --buckets has those of your histogram"
    times = names.of(names.times, **of)
    within = times.named(f"{times.metric}_bucket").with_labels(("le", "=~", _edge(edges[-1])))
    every = times.named(f"{times.metric}_count")
    counted = f"sum(rate({every}[W]))"
    missed = f"({counted} - sum(rate({within}[W])))"
    return Share(scenario.name, objective, 1 - (objective.q or 0.0), missed, counted, within, every, False)


def _edge(edge_s: float) -> str:
    """A bucket's edge as `le` may have it: Prometheus 3 writes 1.0 for 1."""
    text = f"{edge_s:g}".replace(".", "[.]")
    return text if "[" in text else f"{text}(?:[.]0)?"


def _of_gauge(scenario: Scenario, objective: Objective, names: Names) -> Level | str:
    name, labels = name_and_labels(objective.gauge)
    selector = Selector(name, tuple((key, "=", value) for key, value in labels.items())).with_labels(*names.where)
    missed = f"{_missed(objective)} {(objective.limit or 0.0) / objective.factor:g}"
    numbers = {
        "max": f"max(max_over_time({selector}[5m]))", "min": f"min(min_over_time({selector}[5m]))",
        "mean": f"avg(avg_over_time({selector}[5m]))", "rate": f"sum(rate({selector}[5m]))",
    }  # fmt: skip
    if objective.statistic in numbers:
        return Level(scenario.name, objective, numbers[objective.statistic], missed)
    q, buckets = float(objective.statistic[1:]) / 100, selector.named(f"{name}_bucket")
    quantile = f"histogram_quantile({q:g}, sum by (le) (rate({buckets}[5m])))"
    return Level(scenario.name, objective, quantile, missed)


def _missed(objective: Objective) -> str:
    """The comparison that holds where an objective is missed."""
    return {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}[objective.comparator or "<"]


def rules(suite: Suite, names: Names) -> str:
    """The rules as YAML, with what could not be translated as comments. Raises SuiteError if nothing could."""
    found, losses = translated(suite, names)
    if not found:
        why = losses[0] if losses else "it has none"
        raise SuiteError("no objective can be an alert", where=suite.name, mend=f"add one on errors or times; {why}")
    groups = []
    for number, each in enumerate(found):
        recorded = _recordings(suite, each) if isinstance(each, Share) else []
        groups.append({"name": f"{_plain(suite.name)}-{number + 1}", "rules": [*recorded, *_alerts(suite, each)]})
    head = [f"Objectives of {_plain(suite.name)}, made by perflib rules."]
    head += [f"Not translated: {_plain(loss)}" for loss in losses]
    return "".join(f"# {line}\n" for line in head) + _yaml({"groups": groups})


def _yaml(content: Any) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000))


def _plain(text: str) -> str:
    """A text in which Prometheus sees no template, on one line."""
    return " ".join(text.replace("{{", "{ {").replace("}}", "} }").split())


def _labels(suite: Suite, each: Share | Level) -> dict[str, str]:
    return {"suite": _plain(suite.name), "scenario": _plain(each.scenario), "objective": _plain(each.objective.text)}


def _recordings(suite: Suite, share: Share) -> list[dict[str, Any]]:
    return [
        {
            "record": f"{RECORDED}{window}",
            "expr": f"{share.missed} / {share.all}".replace("[W]", f"[{window}]"),
            "labels": _labels(suite, share),
        }
        for window in WINDOWS
    ]


def _burns(share: Share) -> Iterator[tuple[float, str, str, str, str]]:
    """The burn rates that can be: a share of all requests cannot be above one."""
    return (each for each in BURNS if each[0] * share.budget < 1)


def alert_name(each: Share | Level, word: str) -> str:
    words = f"{each.scenario} {each.objective.operation or ''} {each.objective.name}"
    return "".join(part[:1].upper() + part[1:] for part in re.findall(r"[A-Za-z0-9]+", words)) + word


def _alerts(suite: Suite, each: Share | Level) -> Iterator[dict[str, Any]]:
    labels = _labels(suite, each)
    what = _plain(f"{each.scenario}: {each.objective.text}")
    if isinstance(each, Level):
        yield {
            "alert": alert_name(each, "Missed"), "expr": f"{each.number} {each.missed}", "for": "5m",
            "labels": {"severity": "page", **labels}, "annotations": {"summary": f"{what} is missed"},
        }  # fmt: skip
        return
    matchers = ",".join(f'{key}="{escaped_label(value)}"' for key, value in labels.items())
    for factor, long, short, word, severity in _burns(each):
        limit = f"{factor * each.budget:.6g}"
        said = f"{what} is missed by more than {100 * factor * each.budget:.3g} % of the requests of the last {long}"
        yield {
            "alert": alert_name(each, word),
            "expr": f"{RECORDED}{short}{{{matchers}}} > {limit} and {RECORDED}{long}{{{matchers}}} > {limit}",
            "labels": {"severity": severity, **labels},
            "annotations": {"summary": f"{said}, {factor:g} times as many as it may"},
        }


def rule_tests(suite: Suite, names: Names, rule_file: str) -> str:
    """Tests of the rules as YAML, for `promtool test rules`: series that must fire an alert, and some that must not."""
    cases = []
    for each in translated(suite, names)[0]:
        if isinstance(each, Level):
            continue
        for share, fires in ((1.0, True), (0.5 * each.budget, False)):
            cases.append(_case(suite, each, share, fires))
    return _yaml({"rule_files": [rule_file], "evaluation_interval": "1m", "tests": cases})


def _case(suite: Suite, each: Share, share: float, fires: bool) -> dict[str, Any]:
    bad, good = share * _TEST_PER_MINUTE, (1 - share) * _TEST_PER_MINUTE
    if each.objective.metric == "response":  # `bad` selects what is within the limit
        series = {_series(each.bad): good, _series(each.good): _TEST_PER_MINUTE}
    else:
        series = {_series(each.bad): bad, _series(each.good): good if each.bad_is_part else _TEST_PER_MINUTE}
    alerts = {alert["alert"]: alert for alert in _alerts(suite, each)}
    checks = [
        {
            "eval_time": f"{_TEST_MINUTES}m",
            "alertname": name,
            "exp_alerts": [{"exp_labels": alert["labels"], "exp_annotations": alert["annotations"]}] if fires else [],
        }
        for name, alert in alerts.items()
    ]
    return {
        "name": f"{each.scenario}: {each.objective.text}: {100 * share:.3g} % miss it",
        "interval": "1m",
        "input_series": [{"series": name, "values": f"0+{rise:.6g}x{_TEST_MINUTES}"} for name, rise in series.items()],
        "alert_rule_test": checks,
    }


def _series(selector: Selector) -> str:
    """A series that a selector chooses."""
    example = rstr.Rstr(random.Random(0))
    labels = {}
    for label, compared, value in selector.matchers:
        if label == "le":
            labels[label] = value.replace("[.]", ".").removesuffix("(?:.0)?")
        elif compared in ("=", "=~"):
            labels[label] = value if compared == "=" else example.xeger(value)
    inner = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{selector.metric}{{{inner}}}"
