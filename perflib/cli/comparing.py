"""Commands that compare runs: compare, plan, ab."""

from __future__ import annotations

import json
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from perflib.cli.base import (
    BASELINE,
    DATA,
    EXIT,
    FORCE,
    JSON,
    MARGIN,
    NOTEBOOK,
    NOTEBOOKS,
    NOTIFY,
    chosen_notebook,
    cli,
    exit_codes,
    margins_of,
    print_table,
)
from perflib.errors import (
    EXIT_INCONCLUSIVE,
    EXIT_PASS,
)
from perflib.load.interrupts import exit_code as interrupted

if TYPE_CHECKING:
    from perflib.report.kernel import Kernel
    from perflib.verdicts.comparison import Comparison
    from perflib.verdicts.run import Run

SIDES: Final = ("base", "candidate")  # parameters of every notebook of a comparison


@cli.command()
@click.argument("runs", nargs=-1, metavar="BASE CANDIDATE")
@BASELINE
@click.option(
    "--out", type=click.Path(file_okay=False), help="Folder for the files; default: reports/<candidate>-vs-<base>."
)
@MARGIN
@FORCE
@EXIT
@click.option(
    "--confirm",
    type=click.IntRange(2),
    metavar="RUNS",
    help="Before it fails, run both sides so many times more, in turn, and judge by these runs.",
)
@click.option("--base-in", default=".", help="With --confirm: the folder in which the base is run; default: this one.")
@click.option("--candidate-in", default=".", help="The same of the candidate.")
@click.option("--title", help="Title of the page.")
@NOTIFY
@NOTEBOOK
@NOTEBOOKS
@DATA
@JSON
def compare(
    runs: tuple[str, ...],
    baseline: str | None,
    out: str | None,
    margin: tuple[str, ...],
    force: bool,
    exits: tuple[str, ...],
    confirm: int | None,
    base_in: str,
    candidate_in: str,
    title: str | None,
    notify: str | None,
    notebook: str | None,
    notebooks: Path | None,
    data: str | None,
    as_json: bool,
) -> int:
    """Judge whether CANDIDATE is worse than BASE. Prints every change with its interval, and renders compare.html,
    compare.md, summary.json and junit.xml.

    Each side is a run's id or path, a baseline's name, or `latest`. Several runs per side, separated by commas, show
    the variation between runs: perflib compare A1,A2,A3 B1,B2,B3. With --baseline, omit BASE.

    \b
    Exit codes: 0 no worse, 1 worse than the margin, 2 bad input, 3 inconclusive, or worse but perhaps within the
    margin, 4 a run is invalid. --exit changes that of the undecided ones.
    """
    from perflib.report.kernel import Kernel

    sides = ((baseline, *(runs or ("latest",))) if baseline else runs)  # fmt: skip
    if len(sides) != 2:
        raise click.UsageError(
            "name two sides, BASE and CANDIDATE, or only one with --baseline; write several runs of a side as A1,A2,A3"
        )
    codes, source = exit_codes(exits), chosen_notebook("compare", notebook, notebooks, takes=SIDES)
    if _side_by_side(sides[0], sides[1], data):
        return codes.get("inconclusive", EXIT_INCONCLUSIVE)
    with Kernel() as kernel:  # the kernel starts while the runs are compared
        compared = compare_sides(sides[0], sides[1], margin, force, data)
        if confirm:
            compared = _confirmed(compared, confirm, (base_in, candidate_in), margin, force, data)
        publish(compared, margins_of(margin), out, title, notify, as_json, source, kernel)
    return compared.exit_code(codes)


def _side_by_side(base: str, candidate: str, data: str | None) -> bool:
    """Print both sides if one of them has figures alone, which cannot be judged; whether that is so."""
    from perflib.verdicts.comparison import opened
    from perflib.verdicts.figures import has_figures_alone, side_by_side

    sides = opened(base, data), opened(candidate, data)
    if not any(has_figures_alone(run) for side in sides for run in side):
        return False
    rows, why = side_by_side(sides[0][0], sides[1][0])
    print_table(rows, False)
    for said in why:
        click.echo(said, err=True)
    click.echo(f"{base} and {candidate}: INCONCLUSIVE, side by side and without a verdict")
    return True


@cli.command()
@click.argument("run", default="latest")
@MARGIN
@DATA
@JSON
def plan(run: str, margin: tuple[str, ...], data: str | None, as_json: bool) -> int:
    """Compute how long runs must be to see a change, and to fail one. RUN is a pilot run: an id, a path, a baseline's
    name, or `latest`.

    At that length, 95 of 100 comparisons see a change as large as the margin (the verdict is at least `worse`), or,
    with several runs a side, fail one of twice the margin; a figure that has not changed passes.
    """
    from perflib.text import a_while
    from perflib.verdicts.power import FAILS, lengths
    from perflib.verdicts.run import open_side

    plans = lengths(open_side(run, data)[0], margins_of(margin))
    if as_json:
        click.echo(json.dumps([each.as_dict() for each in plans], indent=1))
        return EXIT_PASS

    def cell(requests: int | None, seconds: float | None) -> str:
        return "–" if requests is None or seconds is None else f"{requests:,} ({a_while(seconds)})"

    rows = [
        {
            "scenario": str(each.part),
            "figure": each.metric.name,
            "requests in this run": f"{each.pilot_requests:,}",
            "a change of": f"{each.margin:g} {each.metric.margin_unit}",
            "is seen after": cell(each.requests, each.seconds),
            "one of": f"{FAILS * each.margin:g} {each.metric.margin_unit}",
            "fails after": cell(each.fail_requests, each.fail_seconds),
            "": each.reason,
        }
        for each in plans
    ]
    print_table(rows, False)
    for name in dict.fromkeys(each.part.scenario for each in plans):
        known = [each for each in plans if each.part.scenario == name and each.seconds and each.fail_seconds]
        for key, does in (
            ("seconds", "see a change as large as the margin"),
            ("fail_seconds", "fail one twice as large"),
        ):
            if known:
                longest = max(known, key=attrgetter(key))
                length, what = a_while(getattr(longest, key)), f"{longest.metric.name} of {longest.part}"
                click.echo(f"{name}: {length} of load per run to {does}, for {what}")
    click.echo(
        "This leaves out the variation between runs of the same version: compare several runs per side.", err=True
    )
    return EXIT_PASS


@cli.command()
@click.argument("suite", default="acceptance")
@click.option("--a", multiple=True, metavar="KEY=VALUE", help="Set a key of the suite for side a; may be repeated.")
@click.option("--b", multiple=True, metavar="KEY=VALUE", help="The same for side b.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this scenario; may be repeated.")
@click.option("--quick", is_flag=True, help="Use a third of the budget, and the suite's `quick` values.")
@click.option("--block", "block_s", default=1.0, show_default=True, help="Length of a turn, s.")
@click.option(
    "--budget", "budget_s", type=float, help="Time under load of each scenario, both sides together, s; default: 60."
)
@click.option(
    "--looks",
    default=10,
    show_default=True,
    help="How often, at most, to check whether all figures are decided; 1: use the whole budget.",
)
@click.option(
    "--out", type=click.Path(file_okay=False), help="Folder for the files; default: reports/<run>@b-vs-<run>@a."
)
@MARGIN
@EXIT
@NOTIFY
@NOTEBOOK
@NOTEBOOKS
@DATA
@click.option("--seed", type=int, help="Seed of all random choices; default: the suite's.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of the suite for both sides.")
@JSON
def ab(
    suite: str,
    a: tuple[str, ...],
    b: tuple[str, ...],
    only: tuple[str, ...],
    quick: bool,
    block_s: float,
    budget_s: float | None,
    looks: int,
    out: str | None,
    margin: tuple[str, ...],
    exits: tuple[str, ...],
    notify: str | None,
    notebook: str | None,
    notebooks: Path | None,
    data: str | None,
    seed: int | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Judge whether side B of SUITE is worse than side A. Both run in one run, in short turns in random order, until
    every figure is decided or the budget is used up. The output is that of perflib compare, and then the run's id.

    perflib ab shop.toml --a targets.api.url=http://127.0.0.1:8001 --b targets.api.url=http://127.0.0.1:8002

    \b
    Exit codes: 0 no worse, 1 worse than the margin, 2 bad input, 3 inconclusive, or worse but perhaps within the
    margin, 4 the run is invalid. --exit changes that of the undecided ones.
    """
    from perflib.experiments.ab import ab as run_both

    if not a and not b:
        raise click.UsageError(
            "say what differs: --b KEY=VALUE; give both sides the same value to see how large the noise is"
        )
    codes, source = exit_codes(exits), chosen_notebook("compare", notebook, notebooks, takes=SIDES)
    try:
        compared = run_both(
            suite,
            a,
            b,
            only=only,
            quick=quick,
            data=data,
            seed=seed,
            overrides=overrides,
            margin_percent=margins_of(margin),
            block_s=block_s,
            budget_s=budget_s or (20.0 if quick else 60.0),
            looks=looks,
        )
    except KeyboardInterrupt as interrupt:
        click.echo("interrupted; the rows written so far are kept: perflib runs", err=True)
        return interrupted(interrupt)
    publish(compared, margins_of(margin), out, None, notify, as_json, source)
    click.echo(compared.base[0].id.rpartition("@")[0], err=as_json)
    return compared.exit_code(codes)


def _confirmed(
    compared: Comparison, runs: int, folders: tuple[str, str], margin: tuple[str, ...], force: bool, data: str | None
) -> Comparison:
    """The comparison of new runs of both sides, where this one fails or is worse."""
    from perflib.experiments.confirm import confirm

    def tell(text: str) -> None:
        click.echo(text, err=True)

    again = confirm(
        compared, runs, folders=folders, margin_percent=margins_of(margin), data=data, force=force, tell=tell
    )
    if again is not compared:
        tell(f"{compared.title}: {compared.verdict}. Confirmed by {runs} runs a side:")
    return again


def compare_sides(
    base: str, candidate: str | Run, margin: tuple[str, ...], force: bool, data: str | None
) -> Comparison:
    from perflib.verdicts.comparison import compare

    return compare(base, candidate, margin_percent=margins_of(margin), data=data, force=force)


def publish(
    compared: Comparison,
    margin_percent: dict[str, float | None],
    out: str | None,
    title: str | None,
    notify: str | None,
    as_json: bool,
    notebook: Path,
    kernel: Kernel | None = None,
) -> None:
    """Write a comparison to the terminal, GitHub, a webhook and files."""
    from perflib.report import github
    from perflib.report.comparison import report as render
    from perflib.report.markdown import of_comparison

    if as_json:
        click.echo(json.dumps(compared.as_dict(), indent=1))
    else:
        print_comparison(compared)
    github.tell(lambda: of_comparison(compared, title), github.of_comparison(compared))
    if notify:
        from perflib.report import webhook as webhook

        webhook.notify(notify, compared.title, webhook.of_comparison(compared))
    folder = render(
        compared,
        margin_percent=margin_percent,
        out=Path(out) if out else None,
        title=title,
        notebook=notebook,
        kernel=kernel,
    )
    click.echo(str(folder / "compare.html"), err=as_json)


def print_comparison(compared: Comparison) -> None:

    rows = []
    for c in compared.changes:
        base, candidate, change, bounds = c.cells
        margin = "–" if c.margin is None else f"{c.margin:g} {c.metric.margin_unit}"
        rows.append(
            {
                "scenario": str(c.part),
                "figure": c.metric.name,
                "base": base,
                "candidate": candidate,
                "change": f"{change} [{bounds}]",
                "margin": margin,
                "verdict": c.verdict.upper(),
                "": c.reason,
            }
        )
    print_table(rows, False)
    for text in (*compared.invalid, *compared.doubts, *compared.notes):
        click.echo(text, err=True)
    click.echo(f"{compared.title}: {compared.verdict.upper()}. {compared.sentence}")
