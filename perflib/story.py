"""What a report says, in HTML: its opening, tables and sections. The report notebook is a list of calls to these.

All text that a target or a suite had a hand in is escaped.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any, Final

from matplotlib.figure import Figure

from perflib import charts
from perflib.figures import scenario_figures
from perflib.runs import Run
from perflib.verdicts import Verdict, overall
from perflib.wording import SIGNS, ms, number, observed

ADVICE: Final = {
    "incomplete": "The run's process ended before the run did; its rows up to the last two seconds are here. Run it again.",
    "interrupted": "The run was interrupted; its rows so far are here. Run it again for verdicts.",
    "invalid": "Do not judge the target by this run: mend the cause and run it again.",
    "running": "The run is still going on; this is what it has so far.",
}


class Html(str):
    """HTML that a notebook shows as such."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


def opening(run: Run, title: str | None = None) -> Html:
    """The title, the verdict in one sentence, and what makes the run doubtful, if anything."""
    word = overall(run)
    heading = title or f"Performance of {run.manifest['suite']['name']}"
    doubts = "".join(f"<li>{escape(reason)}</li>" for reason in _doubts(run))
    box = (
        f'<div class="doubts"><p><strong>{escape(ADVICE[run.status])}</strong></p><ul>{doubts}</ul></div>'
        if run.status in ADVICE
        else ""
    )
    cautions = len({name for name, _ in _cautions(run)})
    caution = (
        f'<p class="inconclusive">{cautions} of {len(run.scenarios)} scenarios with a caution: see <a href="#generator">the load generator\'s own health</a>.</p>'
        if cautions
        else ""
    )
    when = escape(str(run.manifest["started_at"])[:16].replace("T", " "))
    return Html(
        f'<header><h1>{escape(heading)}</h1><p class="verdict {word}"><span class="sign" aria-hidden="true">{SIGNS[word]}</span> {sentence(run)}</p>'
        f'{box}{caution}<p class="small">Run <code>{escape(run.id)}</code>, {when} UTC</p></header>'
    )


def sentence(run: Run) -> str:
    """The verdict in words: "All 14 objectives are met." (HTML)"""
    judged = [v for v in run.verdicts() if v.judged]
    if run.status != "complete":
        reason = run.manifest["reasons"][0] if run.manifest["reasons"] else ADVICE[run.status]
        return f"This run is {escape(run.status)}: {escape(reason)}"
    if not judged:
        return "No objective was set: there is nothing to judge, only to see."
    failed, unclear = ([v for v in judged if v.verdict == word] for word in ("fail", "inconclusive"))
    if failed:
        return f"{len(failed)} of {len(judged)} objectives {'is' if len(failed) == 1 else 'are'} missed: {_listed(failed)}."
    if unclear:
        return (
            f"None of {len(judged)} objectives is missed, but {len(unclear)} could not be decided: {_listed(unclear)}."
        )
    return f"All {len(judged)} objectives are met." if len(judged) > 1 else "The objective is met."


def objectives(run: Run) -> Html:
    """The table of objectives: limit, observed with interval, margin, verdict."""
    found = run.verdicts()
    if not found:
        return Html("")
    rows = [
        _objective_row(v)
        for v in sorted(found, key=lambda v: ("fail", "inconclusive", "pass", "shown").index(v.verdict))
    ]
    head = ("Verdict", "Scenario", "Objective", "Observed", "95 % interval", "Margin", "n", "")
    return Html(
        f"<h2 id='objectives'>Objectives</h2>{table(head, rows, 'Objectives with limit, observed figure and verdict')}"
    )


def contents(run: Run) -> Html:
    """Links to the scenarios, each with its verdict."""
    items = [
        f'<li><a href="#{anchor(e["name"])}"><span class="sign {_word(run, e["name"])}" aria-hidden="true">{SIGNS[_word(run, e["name"])]}</span> {escape(e["name"])}</a></li>'
        for e in run.scenarios
    ]
    return Html(f'<nav aria-label="Scenarios"><h2>Scenarios</h2><ul class="contents">{"".join(items)}</ul></nav>')


def scenarios(run: Run) -> Html:
    """A section for each scenario; those that were not met are open."""
    return Html("".join(scenario(run, entry["name"]) for entry in run.scenarios))


def scenario(run: Run, name: str) -> Html:
    """One scenario: what it does, its figures, its charts."""
    figures, word = scenario_figures_cached(run, name), _word(run, name)
    described = f"<p>{escape(figures['description'])}.</p>" if figures["description"] else ""
    pictures = "".join(picture(draw) for draw in _draws(run, name))
    opened = " open" if word in ("fail", "inconclusive", "invalid") else ""
    summary = f'<span class="sign {word}" aria-hidden="true">{SIGNS[word]}</span> {escape(name)} <span class="small">{_in_short(figures)}</span>'
    return Html(
        f'<details class="scenario" id="{anchor(name)}"{opened}><summary><h3>{summary}</h3></summary>{described}'
        f'{_figures_table(figures)}{_errors(figures)}<div class="charts">{pictures}</div></details>'
    )


def load_facts(run: Run) -> Html:
    """What was offered and achieved, how late requests were sent, what was cut away."""
    rows = []
    for entry in run.scenarios:
        load = scenario_figures_cached(run, entry["name"])["load"]
        late = load["late_ms"]
        rows.append((
            escape(entry["name"]), escape(load["model"]), number(load["offered_per_s"]), number(load["achieved_per_s"]),
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
    return Html(f"<h2>Load</h2>{table(head, rows, 'Load offered and achieved')}")


def generator(run: Run) -> Html:
    """How the load generator fared."""
    rows = []
    for entry in run.scenarios:
        health, shares = scenario_figures_cached(run, entry["name"])["generator"], entry.get("machine")
        if health["workers"]:
            pause, late = health["loop_pause_ms"], health["late_ms"]
            rows.append((
                escape(entry["name"]), number(health["workers"]), f"{health['cpu_cores']:.2f}", f"{ms(pause['p50'])} / {ms(pause['p99'])} / {ms(pause['max'])}",
                f"{ms(late['p99'])} / {ms(late['max'])}" if late["max"] else "–", number(health["waited"]), f"{health['gc_count']} ({health['gc_ms']:.0f} ms)",
                f"{shares['other_share']:.0%} / {shares['steal_share']:.0%}" if shares else "–",
            ))  # fmt: skip
    head = (
        "Scenario", "Workers", "CPU of the busiest, cores", "Event-loop pauses, ms (p50 / p99 / max)", "Handed out late by at most, ms (p99 / max)",
        "Waited for a connection", "Garbage collections", "Other load / stolen",
    )  # fmt: skip
    note = "<p>A worker near one core is the bottleneck itself: give the load more workers. A callable runs inside its worker and is counted with it.</p>"
    cautions = "".join(f"<li>{escape(f'{name}: {text}')}</li>" for name, text in _cautions(run))
    listed = f"<ul>{cautions}</ul>" if cautions else ""
    return Html(
        f"<h2 id='generator'>The load generator's own health</h2>{note}{listed}{table(head, rows, 'Health of the load generator')}{_clocks(run)}"
    )


def _clocks(run: Run) -> str:
    """How the clocks of other machines stood to ours, where the load came from such."""
    rows = [
        (escape(entry["name"]), f"<code>{escape(str(c['host']))}</code>", ", ".join(map(str, c["workers"])), f"{c['offset_ns'] / 1e9:,.6f}",
         ms(c["uncertainty_ns"] / 1e6), "–" if c["drift_ns"] is None else ms(abs(c["drift_ns"]) / 1e6))
        for entry in run.scenarios for c in entry.get("clocks", ())
    ]  # fmt: skip
    head = ("Scenario", "Machine", "Workers", "Clock ahead of ours by, s", "Known to ±, ms", "Drift meanwhile, ms")
    return f"<h3>Clocks</h3>{table(head, rows, 'Clocks of the machines that made the load')}" if rows else ""


def _cautions(run: Run) -> list[tuple[str, str]]:
    """What speaks against the figures without making the run invalid: (scenario, what)."""
    said = [(entry["name"], str(text)) for entry in run.scenarios for text in entry.get("doubts", ())]
    never = "response times never settled at a level: what is measured is still warming up, or drifts; run it longer"
    return said + [(name, never) for name in run.unsettled]


def machine(run: Run) -> Html:
    """Host, versions, targets, and the command that repeats the run."""
    m = run.manifest
    host = m["host"]
    facts = [
        (
            "Machine",
            f"{host['cpu']}, {host['cores']} cores, {host['memory_bytes'] / 1e9:.0f} GB, {host['os']} {host['kernel']}",
        ),
        ("Versions", ", ".join(f"{k} {v}" for k, v in m["versions"].items())),
        (
            "Commit",
            f"{m['git']['commit'][:12]}{' with uncommitted changes' if m['git']['dirty'] else ''}"
            if m["git"]
            else "not in a repository",
        ),
        ("Seed", str(m["seed"])),
        *(
            (
                f"Target {name}",
                ", ".join(f"{k.replace('_', ' ')} {_plain(v)}" for k, v in about.items() if v and k != "pids"),
            )
            for name, about in m["targets"].items()
        ),
    ]
    rows = [(f"<strong>{escape(name)}</strong>", escape(value)) for name, value in facts]
    counted = (
        "<p>This run has many rows: its percentiles are read off counts in steps of 0.1 %, so that they, and the bounds of their intervals, "
        "are within 0.1 % of the exact ones. Counts, means and maxima are exact.</p>"
        if run.many
        else ""
    )
    damaged = (
        f"<p class='doubts'>Unreadable part files, left out: {escape(', '.join(run.corrupt))}</p>"
        if run.corrupt
        else ""
    )
    return Html(
        f"<h2>Machine</h2>{damaged}{counted}{table(('', ''), rows, 'Machine and versions')}<h2>Repeat it</h2><pre>{escape(m['command'])}</pre>"
    )


def _plain(value: Any) -> str:
    """A value of run.json as words."""
    if isinstance(value, dict):
        return " ".join(str(v) for v in value.values() if isinstance(v, str | int | float))
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def picture(draw: Callable[[], Figure]) -> str:
    """A chart as an image that needs no other file, with its message as the alternative text."""
    from PIL import Image

    figure, raw, small = draw(), io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png", dpi=120)
    # A chart has few colours: a palette makes it a third of the size.
    Image.open(raw).convert("RGB").quantize(48, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    width, height = (round(inches * 96) for inches in figure.get_size_inches())
    data = base64.b64encode(small.getvalue()).decode()
    return f'<img alt="{escape(str(figure.get_label()), quote=True)}" width="{width}" height="{height}" src="data:image/png;base64,{data}">'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """An accessible table of cells that are HTML already."""
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head) if any(head) else ""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    top = f"<thead><tr>{columns}</tr></thead>" if columns else ""
    return f'<div class="scroll"><table><caption>{escape(caption)}</caption>{top}<tbody>{body}</tbody></table></div>'


def scenario_figures_cached(run: Run, name: str) -> dict[str, Any]:
    """Figures of a scenario, computed once per run object."""
    cache = run.__dict__.setdefault("_figures", {})
    if name not in cache:
        cache[name] = scenario_figures(run, name)
    return cache[name]  # type: ignore[no-any-return]


def _objective_row(v: Verdict) -> tuple[str, ...]:
    figure, bounds = observed(v)
    margin = (
        "–"
        if v.margin is None or not v.judged
        else f"{v.margin + 0:+.0%}"
        if abs(v.margin) < 10
        else f"{v.margin:,.0f} ×"
    )
    word = f'<span class="badge {v.verdict}"><span aria-hidden="true">{SIGNS[v.verdict]}</span> {v.verdict}</span>'
    link = f'<a href="#{anchor(v.scenario)}">{escape(v.scenario)}</a>'
    figure, bounds = (f'<span class="number">{escape(text)}</span>' for text in (figure, bounds))
    return word, link, escape(v.objective.text), figure, bounds, margin, f"{v.interval.n:,}", escape(v.reason)


def _draws(run: Run, name: str) -> list[Callable[[], Figure]]:
    each = [charts.latency_percentiles, charts.response_over_time, charts.throughput, charts.inflight]
    figures = scenario_figures_cached(run, name)
    each += [charts.breakdown] if figures["timed_parts"] else []
    each += [charts.errors_over_time] if figures["errors"] else []
    each += [charts.memory, charts.cpu] if figures["memory_mb"] else []
    each += [charts.gauges] if run.query("select 1 from gauges limit 1").fetchone() else []
    draws: list[Callable[[], Figure]] = [lambda draw=draw: draw(run, name) for draw in each]  # type: ignore[misc]
    if run.spec(name)["load"]["model"] == "steps":
        draws[:0] = [lambda: charts.capacity_throughput(run, name), lambda: charts.capacity_times(run, name)]
    if any("median difference" in text for text in run.spec(name).get("objectives", ())):
        draws.insert(0, lambda: charts.paired_differences(run, name))
    return draws


def _figures_table(figures: dict[str, Any]) -> str:
    head = (
        "Operation",
        "Requests",
        "Errors",
        "Good answers /s",
        "",
        "mean",
        "p50",
        "p90",
        "p95",
        "p99",
        "p99.9",
        "max",
    )
    rows = []
    operations = figures["operations"] if len(figures["operations"]) > 1 else []
    for each, label in ((figures, "all"), *((op, op["name"]) for op in operations)):
        first = (escape(label), f"{each['requests']:,}", f"{each['errors']:,}", number(each["throughput_per_s"]))
        for kind, times, lead in (
            ("response, ms", each["response_ms"], first),
            ("service, ms", each["service_ms"], ("", "", "", "")),
        ):
            if kind.startswith("service") and times == each["response_ms"]:
                continue  # nothing was scheduled: they are the same
            rows.append(
                (*lead, kind, *(number(times[key]) for key in ("mean", "p50", "p90", "p95", "p99", "p99_9", "max")))
            )
    return table(head, rows, f"Figures of {figures['name']}")


def _errors(figures: dict[str, Any]) -> str:
    if not figures["errors"]:
        return (
            f"<p>No errors in {figures['requests']:,} requests.</p>"
            if figures["requests"]
            else "<p>Nothing was measured.</p>"
        )
    rows = [
        (escape(str(error)), f"{count:,}", f"{count / figures['requests']:.2%}")
        for error, count in list(figures["errors_by_class"].items())[:20]
    ]
    return table(("Error", "Requests", "Share"), rows, "Errors by class")


def _in_short(figures: dict[str, Any]) -> str:
    p99 = figures["response_ms"]["p99"]
    return (
        f"{figures['requests']:,} requests, {figures['errors']:,} errors, p99 {ms(p99)} ms"
        if p99 is not None
        else f"{figures['requests']:,} requests"
    )


def _word(run: Run, name: str) -> str:
    if run.scenario(name)["status"] != "complete":
        return "invalid"
    words = {v.verdict for v in run.verdicts() if v.scenario == name and v.judged}
    return next((word for word in ("fail", "inconclusive", "pass") if word in words), "shown")


def _doubts(run: Run) -> list[str]:
    return [str(reason) for reason in run.manifest["reasons"]]


def _listed(verdicts: list[Verdict]) -> str:
    texts = [f"{escape(v.scenario)}, {escape(v.objective.text)}" for v in verdicts[:3]]
    return "; ".join(texts) + (f"; and {len(verdicts) - 3} more" if len(verdicts) > 3 else "")


def anchor(name: str) -> str:
    return "s-" + "".join(c if c.isalnum() else "-" for c in name)
