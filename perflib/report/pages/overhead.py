"""The pieces of notebooks/overhead.ipynb: the ladder's answer and its tables."""

from __future__ import annotations

from html import escape

import numpy as np

from perflib.metrics.overhead import parts, rungs, sentence, told
from perflib.report.html import Html, table
from perflib.stats import Interval
from perflib.store.recording import ScenarioRun
from perflib.text import ms


def answer(scenario: ScenarioRun) -> Html:
    return Html(f"<p><strong>{escape(sentence(scenario))}</strong> Medians of paired differences, 95 % intervals.</p>")


def rungs_table(scenario: ScenarioRun) -> Html:
    rows = [
        (
            escape(r.operation),
            _cell(r.p50),
            _cell(r.p99) if np.isfinite(r.p99.high) else f"{ms(r.p99.estimate)} (too few to bound)",
            f"{_cell(r.more)} over {escape(r.below or '')}" if r.more else "–",
            f"{r.requests:,}",
        )
        for r in rungs(scenario)
    ]
    head = ("Way", "p50, ms", "p99, ms", "takes more, ms", "rounds")
    return Html(
        table(
            head, rows, "Response times by every way, and what each adds: medians of paired differences, 95 % intervals"
        )
    )


def parts_table(scenario: ScenarioRun) -> Html:
    found = parts(scenario)
    rows = [(escape(p.name), _cell(p.takes)) for p in found]
    return Html(
        table(
            ("Part", "ms"), rows, "What a call by the SDK's client over streamable HTTP is made of, from the inside out"
        )
    )


def _cell(interval: Interval) -> str:
    return f'<span class="number">{told(interval)}</span>'
