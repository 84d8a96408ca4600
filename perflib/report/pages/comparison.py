"""What a comparison says, in HTML: its opening, table and sections.

The comparison notebook is a list of calls to these.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Final

from matplotlib.figure import Figure

from perflib import charts
from perflib.metrics.selection import Selection
from perflib.report.html import Html, anchor, badge, change_bar, picture, table
from perflib.stats import Outcome
from perflib.store.manifest import GitRecord
from perflib.text import SIGNS
from perflib.verdicts.change import Change
from perflib.verdicts.comparison import Comparison, named

_ORDER: Final[tuple[Outcome, ...]] = ("fail", "inconclusive", "pass", "shown")
DRAWN: Final = 45  # parts with charts: about a megabyte
_SEEN: Final = {"worse": "▲ worse", "better": "▼ better", "": "none seen"}

_APART: Final = (
    "An interval of a change joins the two sides' own intervals, each from as many values as its series is "
    "worth (requests that follow each other are alike)."
)
_IN_PAIRS: Final = (
    "Each side had its turn for as long as the other, in random order, so that what else this machine did met both "
    "alike. A change is the mean of those "
    "between a block and its neighbour of the other side, and its interval their spread (Student's t), wide enough for "
    "having looked at it several times."
)
_JUDGED: Final = (
    "A figure passes when its whole interval is within the margin, fails when it is beyond it even with all figures "
    "taken together (Holm, 1 %), and is "
    "inconclusive otherwise. The margin speaks of getting worse; better always passes."
)


def opening(compared: Comparison, title: str | None = None) -> Html:
    """The title, the verdict in one sentence, and what stands against comparing these runs."""
    word = compared.verdict
    against = [*compared.invalid, *compared.doubts]
    listed = "".join(f"<li>{escape(text)}</li>" for text in against)
    box = f'<div class="doubts"><p><strong>{_against(compared)}</strong></p><ul>{listed}</ul></div>' if against else ""
    notes = "".join(f"<li>{escape(text)}</li>" for text in compared.notes)
    sides = " · ".join(
        f"{side}: {', '.join(f'<code>{escape(run.id)}</code>' for run in runs)}"
        for side, runs in (("base", compared.base), ("candidate", compared.candidate))
    )
    return Html(
        f'<header><h1>{escape(title or compared.title)}</h1><p class="verdict {word}"><span class="sign" '
        f'aria-hidden="true">{SIGNS[word]}</span> '
        f'{escape(compared.sentence)}</p>{box}<p class="small">{sides}</p><ul class="small">{notes}</ul></header>'
    )


def changes(compared: Comparison) -> Html:
    """The table of all figures, what is worse first."""
    if not compared.changes:
        return Html("<p>Nothing was measured on both sides.</p>")
    return Html(f"<h2 id='changes'>Changes</h2>{_table(compared)}")


def beside(compared: Comparison) -> Html:
    """The same within a run's own report: how it compares with its baseline."""
    word = compared.verdict
    against = "".join(f"<li>{escape(text)}</li>" for text in (*compared.invalid, *compared.doubts, *compared.notes))
    said = (
        f'<p class="{word}"><strong><span aria-hidden="true">{SIGNS[word]}</span> '
        f"{escape(compared.sentence)}</strong></p>"
    )
    return Html(
        f"<h2 id='baseline'>Beside {escape(named(compared.base))}</h2>{said}<ul "
        f"class='small'>{against}</ul>{_table(compared, link=False)}"
    )


def parts(compared: Comparison) -> Html:
    """A section for each scenario, stage and operation; those that are not within their margins are open and have more
    charts."""
    known = [each for each in compared.measured if _changes_of(compared, each)]
    drawn = set(sorted(known, key=lambda each: _ORDER.index(_word(compared, each)))[:DRAWN])
    return Html("".join(part(compared, each, draw=each in drawn) for each in known))


def part(compared: Comparison, which: Selection, *, draw: bool = True) -> Html:
    """One of them."""
    word = _word(compared, which)
    base, candidate = (sum(m.requests for m in side) for side in compared.measured[which])
    draws: list[Callable[[Comparison, Selection], Figure]] = [charts.forest]
    if any(c.metric.key == "p50" for c in _changes_of(compared, which)):
        more = [] if word == "pass" else [charts.forest, charts.two_distributions]
        draws = [charts.shift_function, *more]
    pictures = "".join(picture(lambda each=each: each(compared, which)) for each in draws) if draw else ""  # type: ignore[misc]
    shown = (
        f'<div class="charts">{pictures}</div>'
        if draw
        else f"<p>Without charts: a page has those of {DRAWN} parts.</p>"
    )
    opened = "" if word in ("pass", "shown") else " open"
    summary = (
        f'<span class="sign {word}" aria-hidden="true">{SIGNS[word]}</span> {escape(str(which))} <span '
        f'class="small">{base:,} and {candidate:,} requests</span>'
    )
    return Html(
        '<details class="scenario" '
        f'id="{anchor(str(which))}"{opened}><summary><h3>{summary}</h3></summary>{shown}</details>'
    )


def sides(compared: Comparison) -> Html:
    """Where and how each side was run, and the command that repeats it."""
    rows = [
        (
            side,
            f"<code>{escape(run.id)}</code>",
            escape(str(run.manifest.host.cpu)),
            escape(str(run.manifest.versions.get("python", "?"))),
            escape(_commit(run.manifest.git)),
            escape(str(run.manifest.started_at)[:16].replace("T", " ")),
            f"<code>{escape(str(run.manifest.command))}</code>",
        )
        for side, runs in (("base", compared.base), ("candidate", compared.candidate))
        for run in runs
    ]
    head = ("Side", "Run", "Machine", "Python", "Commit", "Started, UTC", "Repeat")
    method = _IN_PAIRS if compared.base[0].manifest.ab is not None else _APART
    return Html(
        f"<h2>Both sides</h2>{table(head, rows, 'The runs of both sides')}<h2>How to read it</h2><p>{method} "
        f"{_JUDGED}</p>"
    )


def _table(compared: Comparison, *, link: bool = True) -> str:
    ordered = sorted(compared.changes, key=lambda c: _ORDER.index(c.verdict))
    head = (
        "Verdict",
        "Scenario",
        "Figure",
        "Base",
        "Candidate",
        "Change",
        "95 % interval",
        "Against the margin",
        "Margin",
        "Any change",
        "",
    )
    return table(
        head, [_row(c, link) for c in ordered], "Every figure of both sides with its change, margin and verdict"
    )


def _row(c: Change, link: bool) -> tuple[str, ...]:
    base, candidate, change, bounds = (f'<span class="number">{escape(text)}</span>' for text in c.cells)
    word = badge(c.verdict)
    where = f'<a href="#{anchor(str(c.part))}">{escape(str(c.part))}</a>' if link else escape(str(c.part))
    margin = "–" if c.margin is None else f"{c.margin:g} {c.metric.margin_unit}"
    return (
        word,
        where,
        escape(c.metric.name),
        base,
        candidate,
        change,
        bounds,
        change_bar(c),
        margin,
        _SEEN[c.seen],
        escape(c.reason),
    )


def _changes_of(compared: Comparison, which: Selection) -> list[Change]:
    return [c for c in compared.changes if c.part == which]


def _word(compared: Comparison, which: Selection) -> Outcome:
    words = {c.verdict for c in _changes_of(compared, which)}
    return next((word for word in _ORDER if word in words), "shown")


def _against(compared: Comparison) -> str:
    if compared.invalid:
        return "These runs cannot be judged:"
    return "Judged in spite of (--force):" if compared.forced else "These runs are not comparable:"


def _commit(git: GitRecord | None) -> str:
    return f"{git.commit[:12]}{' + changes' if git.dirty else ''}" if git else "–"
