"""Commands for runs and their reports: try, run, report, runs, show, rm, compact."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from perflib.cli.base import (
    BASELINE,
    DATA,
    EXIT,
    JSON,
    NOTEBOOKS,
    chosen_notebook,
    cli,
    exit_codes,
    margins_of,
    print_samples,
    print_table,
    print_trouble,
    print_verdicts,
    worst_code,
)
from perflib.errors import (
    EXIT_FAIL,
    EXIT_INVALID,
    EXIT_PASS,
)
from perflib.load.interrupts import exit_code as interrupted


@cli.command("try")
@click.argument("suite", default="acceptance")
@click.option("--only", multiple=True, metavar="NAME", help="Only this scenario; may be repeated.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of the suite, as in `run`.")
def try_command(suite: str, only: tuple[str, ...], overrides: tuple[str, ...]) -> int:
    """Send each operation of SUITE once, and show it.

    The request and the answer are printed, and nothing is stored.

    The operations of a scenario are sent in order by one user, those of `prepare` first. Secrets are struck out, and of
    a body the first 2 kB are shown. Exit codes: 0 all answers are as expected, 1 one is not, 2 bad input, 4 a target
    does not start or cannot be reached.
    """
    from perflib.load.tryout import try_suite
    from perflib.suite.file import load_suite

    tried = try_suite(load_suite(suite, overrides=list(overrides), only=list(only)))
    for each in tried:
        click.echo(each.in_words)
    failed = [each for each in tried if each.error]
    click.echo(f"{len(tried) - len(failed)} of {len(tried)} operations were answered as expected")
    if tried and all(each.error in ("connect", "tls") for each in tried):
        return EXIT_INVALID
    return EXIT_FAIL if failed else EXIT_PASS


@cli.command()
@click.argument("suite", default="acceptance")
@click.option("--only", multiple=True, metavar="NAME", help="Only this scenario; may be repeated.")
@click.option("--quick", is_flag=True, help="Shorten the loads to the suite's `quick` values.")
@DATA
@click.option("--seed", type=int, help="Seed of all random choices; default: the suite's.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a key of the suite, for example scenarios.browse.load.rate_per_s=800.",
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Generate the load on the workers of the Dask cluster at this address, for example tcp://scheduler:8786.",
)
@click.option(
    "--on-lost",
    type=click.Choice(["stop", "continue"]),
    help=(
        "If a worker dies, stalls or loses the network, the others stop or go on without it; default: the suite's "
        "`on_lost`."
    ),
)
@click.option(
    "--repeat",
    "runs",
    type=click.IntRange(1),
    metavar="RUNS",
    help="Run the suite so many times, each time with targets started anew; the ids are printed last, as A1,A2,A3.",
)
@click.option(
    "--until",
    multiple=True,
    metavar="METRIC=PERCENT",
    help="Repeat until the runs' mean of this metric is known to ± so many percent (p95=5); at most --repeat, or 20.",
)
@EXIT
def run(
    suite: str,
    only: tuple[str, ...],
    quick: bool,
    data: str | None,
    seed: int | None,
    overrides: tuple[str, ...],
    dask: str | None,
    on_lost: str | None,
    runs: int | None,
    until: tuple[str, ...],
    exits: tuple[str, ...],
) -> int:
    """Run SUITE, and print the run's id last. SUITE is a built-in name, or the path of a TOML file."""
    from perflib.experiments.run import run as run_suite
    from perflib.store.runs import data_folder, run_ids
    from perflib.verdicts.run import open_run

    repeated, codes = bool(runs or until), exit_codes(exits)
    if repeated and dask:
        raise click.UsageError("--repeat and --until are for this machine; they do not go with --dask")
    here = data_folder(data)  # an object store also has runs of other machines
    before = set(run_ids(here))
    overrides = (*overrides, f"on_lost={on_lost}") if on_lost else overrides
    try:
        if repeated:
            return _repeat(suite, runs, until, codes, only=only, quick=quick, data=data, seed=seed, overrides=overrides)
        with _cluster(dask) as client:
            result = run_suite(suite, only=only, quick=quick, data=data, seed=seed, overrides=overrides, client=client)
    except KeyboardInterrupt as interrupt:
        for name in sorted(set(run_ids(here)) - before):
            click.echo(f"interrupted; the rows written so far are kept: {open_run(name, here).path}", err=True)
            click.echo(name)
        return interrupted(interrupt)
    code = print_verdicts(result, codes)
    click.echo(result.id)
    return code


def _repeat(suite: str, runs: int | None, until: tuple[str, ...], codes: dict[str, int], **options: Any) -> int:
    """Run the suite several times, print each run's verdicts, and the ids last. Returns the most serious exit code."""
    from perflib.experiments.repeat import repeat

    margins = {key: value for key, value in margins_of(until, "--until").items() if value is not None}
    found: list[int] = []
    done = repeat(suite, runs, until=margins, each=lambda each: found.append(print_verdicts(each, codes)), **options)
    click.echo(",".join(each.id for each in done))
    return worst_code(*found)


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """A client of the Dask cluster, or None without an address."""
    if address is None:
        yield None
        return
    from perflib.load.cluster import connected, doubt

    if said := doubt(address):
        click.echo(f"perflib: {said}", err=True)
    with connected(address) as client:
        yield client


@cli.command()
@click.argument("run", default="latest")
@BASELINE
@click.option("--out", type=click.Path(file_okay=False), help="Folder for the files; default: reports/<run>.")
@click.option("--title", help="Title of the report.")
@click.option(
    "--notebook",
    metavar="NAME|FILE",
    help="Another notebook: capacity, overhead or explore; or the file of a report of your own.",
)
@NOTEBOOKS
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a parameter of the notebook, for example scenario=browse.",
)
@click.option("--pdf", "as_pdf", is_flag=True, help="Also print the page to a PDF, with an installed Chromium.")
@DATA
def report(
    run: str,
    baseline: str | None,
    out: str | None,
    title: str | None,
    notebook: str | None,
    notebooks: Path | None,
    settings: tuple[str, ...],
    as_pdf: bool,
    data: str | None,
) -> int:
    """Render the report of RUN. RUN is an id, a path, or `latest`.

    The files are report.html, report.md, summary.json and junit.xml.

    --notebook NAME renders another notebook on the same run as one HTML file: capacity, overhead, explore. --notebook
    FILE renders the report from a notebook of your own; perflib notebooks copy gives you one to start from.
    """
    from perflib.report.notebooks import is_file_name
    from perflib.report.render import page
    from perflib.report.render import report as render
    from perflib.suite.file import setting
    from perflib.suite.redaction import learn_setting
    from perflib.verdicts.run import open_run, open_side

    if settings and not (notebook or notebooks):
        raise click.UsageError("--set needs --notebook")
    other = notebook not in (None, "report") and not is_file_name(str(notebook))
    if other and (title or baseline):
        raise click.UsageError(
            f"--title and --baseline are for the report only; use --set with the notebook {notebook}"
        )
    source = chosen_notebook("report", notebook, notebooks, takes=["run"])
    for text in settings:
        learn_setting(text)
    parameters = dict(setting(text) for text in settings)
    opened, folder = open_run(run, data), Path(out) if out else None
    if other:
        written = page(source, opened, parameters=parameters, out=folder)
    else:
        beside = open_side(baseline, data) if baseline else ()
        written = (
            render(opened, baseline=beside, out=folder, title=title, notebook=source, parameters=parameters)
            / "report.html"
        )
    click.echo(str(written))
    if as_pdf:
        from perflib.report.pdf import pdf

        click.echo(str(pdf(written)))
    return EXIT_PASS


@cli.command()
@DATA
@JSON
def runs(data: str | None, as_json: bool) -> int:
    """List the runs, the latest first."""
    from perflib.verdicts.run import open_runs

    opened, errors = open_runs(data, rows=False)
    for error in errors:
        click.echo(f"left out: {error}", err=True)
    table = [
        {
            "run": r.id,
            "status": r.status,
            "scenarios": len(r.scenarios),
            "quick": r.manifest.quick,
            "started": r.manifest.started_at[:19],
        }
        for r in reversed(opened)
    ]
    print_table(table, as_json)
    return EXIT_PASS


@cli.command()
@click.argument("run", default="latest")
@DATA
@JSON
def show(run: str, data: str | None, as_json: bool) -> int:
    """Print the scenarios of RUN with their figures."""
    from perflib.metrics.scenario import shown_time
    from perflib.text import number
    from perflib.verdicts.run import open_run

    opened = open_run(run, data)
    figures = opened.summary()
    if as_json:
        click.echo(json.dumps(figures, indent=1))
        return EXIT_PASS
    click.echo(f"{opened.id}: {opened.status}, {opened.manifest.command}")
    for reason in opened.manifest.reasons:
        click.echo(f"  {reason}")
    if imported := opened.manifest.imported:
        click.echo(f"  made by {imported.tool}; times are {imported.time.in_words}")
        for note in imported.notes:
            click.echo(f"  {note}")
    print_table(
        [
            {
                "scenario": s["name"],
                "requests": f"{s['requests']:,}",
                "errors": f"{s['errors']:,}",
                "/s": number(s["throughput_per_s"]),
                **{f"{key} ms": shown_time(s, key) for key in ("p50", "p95", "p99", "max")},
            }
            for s in figures["scenarios"]
        ],
        False,
    )
    print_trouble(opened)
    print_samples(opened)
    return EXIT_PASS


@cli.command()
@click.argument("run")
@DATA
def rm(run: str, data: str | None) -> int:
    """Delete RUN from the data folder."""
    from perflib.store.runs import remove_run

    click.echo(f"removed {remove_run(run, data).id}")
    return EXIT_PASS


@cli.command()
@click.argument("run", default="latest")
@DATA
def compact(run: str, data: str | None) -> int:
    """Rewrite the part files of RUN as a few sorted ones. They are read faster.

    No row is lost, even if the command is interrupted.
    """
    from perflib.store.compaction import compact as rewrite
    from perflib.store.remote import folder_only
    from perflib.verdicts.run import open_run

    folder_only(data, "compact")
    opened = open_run(run, data)
    done = rewrite(opened)
    click.echo(
        f"{opened.id}: {done.rows:,} rows, {done.files_before:,} files of {done.bytes_before / 1e6:,.1f} MB "
        f"are now {done.files_after:,} of {done.bytes_after / 1e6:,.1f} MB"
    )
    return EXIT_PASS
