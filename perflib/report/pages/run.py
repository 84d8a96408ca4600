"""What a report says, in HTML: its opening, tables and sections. The report notebook is a list of calls to these.

All text that a target or a suite had a hand in is escaped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any, Final

from matplotlib.figure import Figure

from perflib import charts
from perflib.metrics.incidents import incidents
from perflib.metrics.scenario import scenario_figures
from perflib.report.html import Html, anchor, badge, folded, interval_bar, picture, sign, table
from perflib.report.pages.scenario import errors_table, figures_table, memory_table
from perflib.store.recording import ScenarioRun
from perflib.text import ms, number
from perflib.verdicts.next_steps import STATUS, Step, cautions, next_steps
from perflib.verdicts.run import Run
from perflib.verdicts.verdict import Verdict

CHARTS: Final = 100  # on one page: about a megabyte
SECTIONS: Final = 60  # scenarios with a section of their own


def opening(run: Run, title: str | None = None) -> Html:
    """The title, the verdict in one sentence, what to do next, and what makes the run doubtful, if anything."""
    word = run.verdict
    heading = title or f"Performance of {run.suite.name}"
    reasons = "".join(f"<li>{escape(str(reason))}</li>" for reason in run.manifest.reasons)
    box = (
        f'<div class="doubts"><p><strong>Why</strong></p><ul>{reasons}</ul></div>'
        if run.status in STATUS and reasons
        else ""
    )
    steps = "".join(f"<li>{_step(run, step)}</li>" for step in next_steps(run))
    health = " See <a href='#generator'>the load generator's own health</a>." if cautions(run) else ""
    when = escape(str(run.manifest.started_at)[:16].replace("T", " "))
    return Html(
        f'<header><h1>{escape(heading)}</h1><p class="verdict {word}">{sign(word)} {sentence(run)}</p>'
        f'<div class="next"><h2>What to do next</h2><ul>{steps}</ul></div>{box}'
        f'<p class="small">Run <code>{escape(run.id)}</code>, {when} UTC.{health}</p></header>'
    )


def _step(run: Run, step: Step) -> str:
    """A step with the scenario's name as a link to it."""
    before, name, after = step.text.partition(step.scenario or step.text)
    return escape(before) + (_link(run, name) if step.scenario else escape(name)) + escape(after)


def _link(run: Run, name: str) -> str:
    """A scenario's name, a link where it has a section."""
    return f'<a href="#{anchor(name)}">{escape(name)}</a>' if name in _sections(run) else escape(name)


def sentence(run: Run) -> str:
    """The verdict in words: "All 14 objectives are met." (HTML)"""
    judged = [v for v in run.verdicts() if v.judged]
    if run.status != "complete":
        reason = run.manifest.reasons[0] if run.manifest.reasons else STATUS[run.status]
        return f"This run is {escape(run.status)}: {escape(reason)}"
    if not judged:
        return "No objective was set: there is nothing to judge, only to see."
    failed, unclear = ([v for v in judged if v.verdict == word] for word in ("fail", "inconclusive"))
    if failed:
        return (
            f"{len(failed)} of {len(judged)} objectives {'is' if len(failed) == 1 else 'are'} missed: "
            f"{_listed(failed)}."
        )
    if unclear:
        return (
            f"None of {len(judged)} objectives is missed, but {len(unclear)} could not be decided: {_listed(unclear)}."
        )
    return f"All {len(judged)} objectives are met." if len(judged) > 1 else "The objective is met."


def objectives(run: Run) -> Html:
    """Limit, observed figure, interval and margin of every objective: what is missed or undecided open, the rest
    folded."""
    found = run.verdicts()
    if not found:
        return Html("")
    urgent = sorted((v for v in found if v.verdict in ("fail", "inconclusive")), key=lambda v: v.verdict != "fail")
    met, shown = ([v for v in found if v.verdict == word] for word in ("pass", "shown"))
    first = _objectives_table(run, urgent, "Objectives that are missed or undecided") if urgent else ""
    rest = [
        (met, "met", "objective", not urgent, "Objectives that are met"),
        (shown, "shown", "figure", False, "Figures without a limit"),
    ]
    folds = "".join(
        folded(
            f"objectives-{key}",
            f"{len(each)} {noun}{'s' if len(each) > 1 else ''} {_KEPT[key]}",
            _objectives_table(run, each, caption),
            opened=opened,
            level=3,
        )
        for each, key, noun, opened, caption in rest
        if each
    )
    return Html(f'<section id="objectives"><h2>Objectives</h2>{first}{folds}</section>')


_KEPT: Final = {"met": "met", "shown": "only shown"}


def contents(run: Run) -> Html:
    """Links to the sections: beside the page where there is room, before the scenarios where not."""
    items = "".join(
        f'<li><a href="#{anchor(entry.name)}">{sign(word)} {escape(entry.name)}<span class="unseen">: '
        f"{word}</span></a></li>"
        for entry in run.scenarios
        if entry.name in _sections(run)
        for word in [_word(run, entry.name)]
    )
    parts = "".join(f'<li><a href="#{at}">{text}</a></li>' for at, text in _PARTS)
    return Html(
        f'<nav class="rail" aria-label="Sections"><ul class="parts">{parts}</ul><ul class="contents">{items}</ul></nav>'
    )


_PARTS: Final = (
    ("objectives", "Objectives"),
    ("load", "Load"),
    ("generator", "Load generator"),
    ("machine", "Machine"),
)


def scenarios(run: Run) -> Html:
    """A section for each scenario; those that were not met are open. Where they are many, they have fewer charts."""
    drawn = _sections(run)
    sections = "".join(scenario(run, name, charts_shown=count) for name, count in drawn.items())
    left_out = len(run.scenarios) - len(drawn)
    fewer = any(count < len(_draws(run.scenario(name))) for name, count in drawn.items())
    said = (
        "<p>The page stays small: not every scenario has all of its charts. Draw them from the run with "
        "explore.ipynb.</p>"
        if fewer
        else ""
    )
    said += (
        f"<p>{left_out:,} more scenarios were met and are left out here; their figures are in summary.json.</p>"
        if left_out
        else ""
    )
    return Html(f'<section id="scenarios"><h2>Scenarios</h2>{said}{sections}</section>')


def scenario(run: Run, name: str, *, charts_shown: int | None = None) -> Html:
    """One scenario: what it does, what happened, its figures, its charts."""
    measured = run.scenario(name)
    figures, word = scenario_figures(measured), _word(run, name)
    described = f"<p>{escape(figures['description'])}.</p>" if figures["description"] else ""
    happened = "".join(f"<li>{escape(each.text)}</li>" for each in incidents(measured))
    marks = f'<ul class="happened">{happened}</ul>' if happened else ""
    pictures = "".join(picture(draw) for draw in _draws(measured)[:charts_shown])
    summary = (
        f'{sign(word)} {escape(name)}<span class="unseen">: {word}.</span> <span '
        f'class="small">{_in_short(figures)}</span>'
    )
    body = (
        f"{described}{marks}<div "
        f'class="charts">{pictures}</div>{figures_table(figures)}{errors_table(figures)}{memory_table(measured)}'
    )
    opened = word in ("fail", "inconclusive", "invalid")
    return Html(folded(anchor(name), summary, body, opened=opened, level=3, kind="scenario"))


def _sections(run: Run) -> dict[str, int]:
    """The scenarios that have a section, each with its count of charts: the urgent ones all, the others a share of what
    is left."""
    if "_charts" in run.__dict__:
        return run.__dict__["_charts"]  # type: ignore[no-any-return]
    order = ("invalid", "fail", "inconclusive", "shown", "pass")
    names = sorted((entry.name for entry in run.scenarios), key=lambda name: order.index(_word(run, name)))
    left, found = CHARTS, {}
    for index, name in enumerate(names[:SECTIONS]):
        share = left if _word(run, name) in order[:3] else left // (len(names[:SECTIONS]) - index)
        found[name] = min(share, len(_draws(run.scenario(name))))
        left -= found[name]
    run.__dict__["_charts"] = {entry.name: found[entry.name] for entry in run.scenarios if entry.name in found}
    return run.__dict__["_charts"]  # type: ignore[no-any-return]


def load_facts(run: Run) -> Html:
    """What was offered and achieved, how late requests were sent, what was cut away."""
    rows = []
    for entry in run.scenarios:
        load = scenario_figures(entry)["load"]
        late = load["late_ms"]
        rows.append((
            escape(entry.name), escape(load["model"]), number(load["offered_per_s"]), number(load["achieved_per_s"]),
            "–" if not late else f"{ms(late['p50'])} / {ms(late['p99'])} / {ms(late['max'])}", number(load["unsent"]),
            number(load["warmup_requests"]), number(load["prepare_requests"]), number(load["max_inflight"]),
        ))  # fmt: skip
    head = (
        "Scenario",
        "Model",
        "Offered /s",
        "Requests /s",
        "Sent late, ms (p50 / p99 / max)",
        "Unsent",
        "Warm-up requests",
        "Prepared",
        "Most in flight",
    )
    return Html(folded("load", "Load", table(head, rows, "Load offered and achieved")))


def generator(run: Run) -> Html:
    """How the load generator fared."""
    rows = []
    for entry in run.scenarios:
        health, shares = scenario_figures(entry)["generator"], entry.record.machine
        if health["workers"]:
            pause, late = health["loop_pause_ms"], health["late_ms"]
            rows.append(
                (
                    escape(entry.name),
                    number(health["workers"]),
                    f"{health['cpu_cores']:.2f}",
                    f"{ms(pause['p50'])} / {ms(pause['p99'])} / {ms(pause['max'])}",
                    f"{ms(late['p99'])} / {ms(late['max'])}" if late["max"] else "–",
                    number(health["waited"]),
                    f"{health['gc_count']} ({health['gc_ms']:.0f} ms)",
                    f"{100 * shares.other_share:.0f} / {100 * shares.steal_share:.0f} %" if shares else "–",
                )
            )
    head = (
        "Scenario",
        "Workers",
        "CPU of the busiest, cores",
        "Event-loop pauses, ms (p50 / p99 / max)",
        "Handed out late by at most, ms (p99 / max)",
        "Waited for a connection",
        "Garbage collections",
        "Other load / stolen",
    )
    note = (
        "<p>A worker near one core is the bottleneck itself: give the load more workers. A callable runs inside its "
        "worker and is counted with it.</p>"
    )
    said = "".join(f"<li>{escape(f'{name}: {text}')}</li>" for name, text in cautions(run))
    said += "".join(f"<li>{escape(text)}</li>" for text in _missing(run))
    listed = f"<ul>{said}</ul>" if said else ""
    body = f"{note}{listed}{table(head, rows, 'Health of the load generator')}{_clocks(run)}"
    return Html(folded("generator", "The load generator's own health", body, opened=bool(said)))


def _missing(run: Run) -> list[str]:
    """Workers that were lost, and what went with them."""
    lost = [(entry.name, m) for entry in run.scenarios for m in entry.record.missing]
    return [
        f"{name}: worker {m.worker}{' on ' if m.host else ''}{m.host} was lost"
        f"{'' if m.after_s is None else ' after ' + number(m.after_s) + ' s'}; its share of {m.share:.0%} is missing "
        "from there on"
        for name, m in lost
    ]


def _clocks(run: Run) -> str:
    """How the clocks of other machines stood to ours, where the load came from such."""
    rows = [
        (
            escape(entry.name),
            f"<code>{escape(c.host)}</code>",
            ", ".join(map(str, c.workers)),
            f"{c.offset_ns / 1e9:,.6f}",
            ms(c.uncertainty_ns / 1e6),
            "–" if c.drift_ns is None else ms(abs(c.drift_ns) / 1e6),
        )
        for entry in run.scenarios
        for c in entry.record.clocks
    ]
    head = ("Scenario", "Machine", "Workers", "Clock ahead of ours by, s", "Known to ±, ms", "Drift meanwhile, ms")
    return f"<h3>Clocks</h3>{table(head, rows, 'Clocks of the machines that made the load')}" if rows else ""


def machine(run: Run) -> Html:
    """Host, versions, targets, and the command that repeats the run."""
    m = run.manifest
    host = m.host
    facts = [
        (
            "Machine",
            f"{host.cpu}, {host.cores} cores, {host.memory_bytes / 1e9:.0f} GB, {host.os} {host.kernel}",
        ),
        ("Versions", ", ".join(f"{k} {v}" for k, v in m.versions.items())),
        (
            "Commit",
            f"{m.git.commit[:12]}{' with uncommitted changes' if m.git.dirty else ''}"
            if m.git
            else "not in a repository",
        ),
        ("Seed", str(m.seed)),
        *(
            (
                f"Target {name}",
                ", ".join(
                    f"{k.replace('_', ' ')} {_plain(v)}" for k, v in about.model_dump().items() if v and k != "pids"
                ),
            )
            for name, about in m.targets.items()
        ),
    ]
    rows = [(f"<strong>{escape(name)}</strong>", escape(value)) for name, value in facts]
    counted = (
        "<p>This run has many rows: its percentiles are read off counts in steps of 0.1 %, so that they, and the "
        "bounds of their intervals, "
        "are within 0.1 % of the exact ones. Counts, means and maxima are exact.</p>"
        if run.many
        else ""
    )
    damaged = "".join(f"<p class='doubts'>Nothing passes: {escape(damage)}.</p>" for damage in run.damage)
    again = f'<h3>Repeat it</h3><pre tabindex="0">{escape(m.command)}</pre>'
    about = f"{table(('', ''), rows, 'Machine and versions')}{again}"
    return Html(f"{damaged}{counted}{folded('machine', 'Machine, versions, how to repeat it', about)}")


def _plain(value: Any) -> str:
    """A value of run.json as words."""
    if isinstance(value, dict):
        return " ".join(str(v) for v in value.values() if isinstance(v, str | int | float))
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _objectives_table(run: Run, verdicts: list[Verdict], caption: str) -> str:
    head = ("Verdict", "Objective", "Observed, 95 % interval", "Against the limit", "Margin", "n")
    return table(head, (_objective_row(run, v) for v in verdicts), caption, kind="objectives")


def _objective_row(run: Run, v: Verdict) -> tuple[str, ...]:
    figure, bounds = (escape(text) for text in v.observed)
    margin = (
        "–"
        if v.margin is None or not v.judged
        else f"{100 * v.margin + 0:+.0f} %"
        if abs(v.margin) < 10
        else f"{v.margin:,.0f} ×"
    ).replace("-", "−")
    why = f'<br><span class="small">{escape(v.reason)}</span>' if v.reason else ""
    seen = f'<span class="number">{figure}</span><br><span class="small number">{bounds}</span>'
    return (
        badge(v.verdict),
        f"{_link(run, v.scenario)}<br>{escape(v.objective.text)}{why}",
        seen,
        interval_bar(v),
        margin,
        f"{v.interval.n:,}",
    )


def _draws(scenario: ScenarioRun) -> list[Callable[[], Figure]]:
    """The charts of a scenario that show something."""
    each = [charts.latency_percentiles, charts.response_over_time, charts.throughput, charts.inflight]
    figures = scenario_figures(scenario)
    each += [charts.breakdown] if figures["timed_parts"] else []
    each += [charts.errors_over_time] if figures["errors"] else []
    each += [charts.memory, charts.cpu] if figures["memory_mb"] else []
    each += [charts.gauges] if scenario.run.query("select 1 from gauges limit 1").fetchone() else []
    if scenario.spec.load.model == "steps":
        each[:0] = [charts.capacity_throughput, charts.capacity_times]
    if any(objective.metric == "median difference" for objective in scenario.spec.objectives):
        each.insert(0, charts.paired_differences)
    return [partial(draw, scenario) for draw in each]


def _in_short(figures: dict[str, Any]) -> str:
    times = figures["response_ms"]
    highest = next(
        (f", {name} {ms(times[name])} ms" for name in ("p99", "p95", "p90", "p50") if times[name] is not None), ""
    )
    return f"{figures['requests']:,} requests, {figures['errors']:,} errors{highest}"


def _word(run: Run, name: str) -> str:
    if run.scenario(name).record.status != "complete":
        return "invalid"
    words = {v.verdict for v in run.verdicts() if v.scenario == name and v.judged}
    return next((word for word in ("fail", "inconclusive", "pass") if word in words), "shown")


def _listed(verdicts: list[Verdict]) -> str:
    texts = [f"{escape(v.scenario)}, {escape(v.objective.text)}" for v in verdicts[:3]]
    return "; ".join(texts) + (f"; and {len(verdicts) - 3} more" if len(verdicts) > 3 else "")
