"""A dashboard for Grafana: what a suite speaks of, over time, with its objectives as limits and its runs as marks."""

from __future__ import annotations

import json
from typing import Any, Final

from perflib.formats.exporting import escaped_label
from perflib.formats.production import Names, Selector
from perflib.formats.rules import RECORDED, Level, translated
from perflib.suite.model import Suite

SCHEMA: Final = 36  # of the dashboard's JSON: that of Grafana 9, which later versions read
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 12, 8


def dashboard(suite: Suite, names: Names) -> str:
    """The dashboard as JSON, as Grafana imports it."""
    of = {"suite": suite.name}
    requests, errors, times = (names.of(each, **of) for each in (names.requests, names.errors, names.times))
    by = [label for name in ("scenario", "operation") if (label := names.label(name))]
    grouped, legend = ", ".join(by), " ".join(f"{{{{{label}}}}}" for label in by) or "all"
    rate = "[$__rate_interval]"
    buckets = times.named(f"{times.metric}_bucket")
    panels = [
        ("Requests per second", "reqps", [(f"sum by ({grouped}) (rate({requests}{rate}))", legend)], None),
        (
            "Share of requests that failed", "percentunit",
            [(f"sum by ({grouped}) (rate({errors}{rate})) / sum by ({grouped}) (rate({requests}{rate}))", legend)],
            None,
        ),
        *((
            f"p{q:g} response", "s",
            [(f"histogram_quantile({q / 100:g}, sum by ({', '.join(['le', *by])}) (rate({buckets}{rate})))", legend)],
            _limit_s(suite, q),
        ) for q in _percentiles(suite)),
    ]  # fmt: skip
    if names == Names():  # what only a run has
        panels += _of_run(of, names)
    found, _ = translated(suite, names)
    missed = [each for each in found if not isinstance(each, Level)]
    if missed:
        series = Selector(f"{RECORDED}1h", (("suite", "=", escaped_label(suite.name)),))
        legend = "{{scenario}}: {{objective}}"
        panels.append(("Share that misses an objective, last hour", "percentunit", [(str(series), legend)], None))
    for each in found:
        if isinstance(each, Level) and each.objective.gauge:
            limit = (each.objective.limit or 0.0) / each.objective.factor
            panels.append((each.objective.name, "short", [(each.number, each.scenario)], limit))
    content = {
        "title": suite.name,
        "schemaVersion": SCHEMA,
        "tags": ["perflib"],
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "timezone": "",
        "editable": True,
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]
        },
        "annotations": {"list": [_runs(suite)]},
        "panels": [_panel(number, *panel) for number, panel in enumerate(panels)],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _percentiles(suite: Suite) -> list[float]:
    """The percentiles of which objectives speak, or the usual ones."""
    asked = {
        each.q for scenario in suite.scenarios for each in scenario.objectives if each.metric == "response" and each.q
    }
    return sorted(round(100 * q, 3) for q in asked) or [50.0, 95.0, 99.0]


def _limit_s(suite: Suite, percent: float) -> float | None:
    """The limit of the objectives on a percentile, if it is the same everywhere."""
    limits = {
        each.limit
        for scenario in suite.scenarios
        for each in scenario.objectives
        if each.metric == "response" and each.q and each.limit and round(100 * each.q, 3) == percent
    }
    return limits.pop() / 1000 if len(limits) == 1 else None


def _of_run(of: dict[str, str], names: Names) -> list[Any]:
    def chosen(name: str) -> Selector:
        return names.of(Selector(f"perflib_{name}"), **of)

    late = chosen("late_seconds_bucket")
    return [
        ("Offered and achieved per second", "reqps", [(str(chosen("offered_per_second")), "{{scenario}} offered"),
         (str(chosen("achieved_per_second")), "{{scenario}} achieved")], None),
        ("Requests in flight", "short", [(str(chosen("in_flight")), "{{scenario}}")], None),
        ("p99 of how late requests were sent", "s",
         [(f"histogram_quantile(0.99, sum by (le, scenario) (rate({late}[$__rate_interval])))", "{{scenario}}")], None),
    ]  # fmt: skip


def _panel(number: int, title: str, unit: str, series: list[tuple[str, str]], limit: float | None) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if limit is not None:
        steps.append({"color": "red", "value": limit})
    shown = {"thresholdsStyle": {"mode": "line" if limit is not None else "off"}, "fillOpacity": 0, "lineWidth": 1}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": _SOURCE,
        "gridPos": {"x": _WIDTH * (number % 2), "y": _HEIGHT * (number // 2), "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {
            "defaults": {"unit": unit, "min": 0, "custom": shown, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "none"},
        },
        "targets": [
            {"refId": chr(65 + index), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for index, (expression, legend) in enumerate(series)
        ],
    }


def _runs(suite: Suite) -> dict[str, Any]:
    """Marks where a run began. What stands below the colour is for the data source, and in no schema of Grafana's."""
    runs = Selector("perflib_run_info", (("suite", "=", escaped_label(suite.name)),))
    return {
        "name": "runs",
        "enable": True,
        "datasource": _SOURCE,
        "iconColor": "blue",
        "expr": f"{runs} unless {runs} offset 1m",
        "step": "10s",
        "titleFormat": "run {{run}}",
    }
