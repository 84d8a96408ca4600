"""Commands that make a run and its report: run, report."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from perflib.cli.base import (
    BASELINE,
    DATA,
    EXIT,
    NOTEBOOKS,
    chosen_notebook,
    cli,
    exit_codes,
    margins_of,
    print_figures,
    print_trouble,
    print_verdicts,
    worst_code,
)
from perflib.cli.habits import Duration
from perflib.errors import (
    EXIT_PASS,
)
from perflib.load.interrupts import exit_code as interrupted
from perflib.load.worker_process import started_ahead

if TYPE_CHECKING:
    from perflib.formats.live import Exporter
    from perflib.suite.model import Suite


# What `latest` must have for a notebook that does not fit every run.
_NEEDED: Final[dict[str, Literal["requests", "steps", "ladder"]]] = {
    "capacity": "steps",
    "explore": "requests",
    "overhead": "ladder",
}


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
@click.option(
    "--rate",
    "rate_per_s",
    type=click.FloatRange(0, min_open=True),
    metavar="PER_S",
    help="With a URL: requests per second.",
)
@click.option(
    "--users", type=click.IntRange(1), help="With a URL: users, each of whom waits for an answer; default: 10."
)
@click.option("--requests", type=click.IntRange(1), help="With a URL: how many requests; default: as many as fit.")
@click.option(
    "--duration",
    "duration_s",
    type=Duration(),
    metavar="TIME",
    help="With a URL: length of the load, as 30, 30s, 2m or 1h; default: 10 s.",
)
@click.option("-H", "--header", multiple=True, metavar="'NAME: VALUE'", help="With a URL: a header; may be repeated.")
@click.option(
    "-d", "--body", metavar="TEXT|@FILE", help="With a URL: a body, as JSON where it is JSON; makes it a POST."
)
@click.option("-X", "--method", help="With a URL: the HTTP method.")
@click.option(
    "--save",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With a URL: write the suite to this file too, with ${NAME} for secrets.",
)
@click.option(
    "--metrics",
    metavar="[HOST]:PORT",
    help="Serve the run's metrics to Prometheus while it is going on; without a host to this machine alone.",
)
@click.option(
    "--remote-write", metavar="URL", help="Send the same to this URL of Prometheus' remote write every five seconds."
)
@click.option("--otlp", metavar="URL", help="Send the same to this OpenTelemetry collector, by OTLP over HTTP.")
@click.option(
    "--push-header",
    "push_headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A header of what is sent there; ${NAME} is read from the environment.",
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
    save: Path | None,
    metrics: str | None,
    remote_write: str | None,
    otlp: str | None,
    push_headers: tuple[str, ...],
    **one_line: Any,
) -> int:
    """Run SUITE, and print the run's id last. SUITE is a built-in name, the path of a TOML file, or a URL.

    \b
    perflib run checkout.toml
    perflib run http://127.0.0.1:8000/items --rate 50 --duration 20
    perflib run http://127.0.0.1:8000/orders --users 10 --requests 1000 -d '{"sku": "{random|1..9}"}' --save orders.toml
    """
    repeated, codes = bool(runs or until), exit_codes(exits)
    if repeated and dask:
        raise click.UsageError("--repeat and --until are for this machine; they do not go with --dask")
    if dask is None:
        click.get_current_context().with_resource(started_ahead())
    from perflib.experiments.run import run as run_suite  # the worker imports at the same time
    from perflib.load import neighbours
    from perflib.store.runs import data_folder, run_ids
    from perflib.verdicts.run import open_run

    exporter = _exporter(metrics, remote_write, otlp, push_headers)
    if exporter and repeated:
        raise click.UsageError("--metrics, --remote-write and --otlp are for a single run, without --repeat")
    for other in neighbours.running():
        click.echo(f"perflib: another run is under way on this machine, {other}: each disturbs the other", err=True)
    here = data_folder(data)  # an object store also has runs of other machines
    before = set(run_ids(here))
    overrides = (*overrides, f"on_lost={on_lost}") if on_lost else overrides
    source = _source(suite, save, one_line, overrides)
    command = None if source == suite else _command_line(suite, one_line, only, quick, seed, overrides)
    try:
        if repeated:
            return _repeat(
                source, runs, until, codes, only=only, quick=quick, data=data, seed=seed, overrides=overrides
            )
        with _cluster(dask) as client:
            result = run_suite(
                source,
                only=only,
                quick=quick,
                data=data,
                seed=seed,
                overrides=overrides,
                client=client,
                command=command,
                exporter=exporter,
            )
    except KeyboardInterrupt as interrupt:
        for name in sorted(set(run_ids(here)) - before):
            click.echo(f"interrupted; the rows written so far are kept: {open_run(name, here).path}", err=True)
            click.echo(name)
        return interrupted(interrupt)
    if "://" in suite:  # no objectives, but figures
        print_figures(result)
        print_trouble(result)
    code = print_verdicts(result, codes)
    click.echo(result.id)
    return code


def _exporter(
    metrics: str | None, remote_write: str | None, otlp: str | None, headers: Sequence[str]
) -> Exporter | None:
    """What shows the run's metrics while it is going on; None where nobody asks for them."""
    if metrics is None and remote_write is None and otlp is None:
        return None
    from perflib.formats.live import Exporter
    from perflib.formats.pushing import pushes
    from perflib.sources.mcp_target import headers_of

    return Exporter(metrics, pushes(remote_write, otlp, headers_of(headers)))


def _source(suite: str, save: Path | None, one_line: Mapping[str, Any], overrides: Sequence[str]) -> str | Suite:
    """The suite itself, or that of a load in one line, whose secrets become variables of this process."""
    given = {name: value for name, value in one_line.items() if value not in (None, ())}
    if "://" not in suite:
        if given or save:
            named = next(iter(_options(given)), "--save")
            raise click.UsageError(f"{named} needs a URL instead of a suite; set keys of a suite with --set")
        return suite
    from perflib.sources.one_request import draft_of, load_of
    from perflib.sources.save import save_new
    from perflib.sources.writer import written
    from perflib.suite.file import parse_suite

    load = load_of(**{key: one_line[key] for key in ("rate_per_s", "users", "requests", "duration_s")})
    draft = draft_of(suite, load, **{key: one_line[key] for key in ("method", "header", "body")})
    made = written(draft, save or Path("suite.toml"), everything=True)
    os.environ.update({name: value for name, value in made.variables.items() if value})
    parsed = parse_suite(made.text, where=str(save or suite), folder=str(Path.cwd()), overrides=overrides)
    if save is not None:
        save_new(made.text, save)
        click.echo(f"wrote {save}", err=True)
    return parsed


def _options(one_line: Mapping[str, Any]) -> Iterator[str]:
    """The options of a load in one line, as they are written."""
    for name, value in one_line.items():
        for each in value if isinstance(value, tuple) else () if value is None else (value,):
            yield from (f"--{name.removesuffix('_per_s').removesuffix('_s')}", str(each))


def _command_line(
    suite: str, one_line: Mapping[str, Any], only: Sequence[str], quick: bool, seed: int | None, overrides: Any
) -> str:
    """The command of a load in one line, without its secrets."""
    from perflib.store.metadata import python_call

    return python_call(suite, only, quick, seed, overrides, more=list(_options(one_line)))


def _repeat(suite: str | Suite, runs: int | None, until: tuple[str, ...], codes: dict[str, int], **options: Any) -> int:
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
    having = _NEEDED.get(notebook or "")
    opened, folder = open_run(run, data, having=having), Path(out) if out else None
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
