"""The command line: parse, call, print, exit. Everything heavy is imported by the command that needs it.

Exit codes: 0 passed · 1 an objective failed · 2 bad input · 3 inconclusive · 4 run invalid · 130 interrupted.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perflib.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAIL,
    EXIT_INCONCLUSIVE,
    EXIT_INTERRUPTED,
    EXIT_INVALID,
    EXIT_PASS,
    PerflibError,
)

if TYPE_CHECKING:
    from perflib.comparison import Comparison
    from perflib.runs import Run

_DATA = click.option("--data", type=click.Path(file_okay=False), help="Folder of the runs; default: data.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
_BASELINE = click.option("--baseline", metavar="NAME|RUN", help="The baseline, or run, to compare with.")
_NOTIFY = click.option(
    "--notify",
    metavar="URL",
    help="A webhook to tell of what is missed or worse, Slack's way; ${NAME} from the environment.",
)
_FORCE = click.option("--force", is_flag=True, help="Judge in spite of doubts, as another machine or load.")
_MARGIN = click.option(
    "--margin",
    multiple=True,
    metavar="METRIC=PERCENT",
    help="How much worse still passes: p50, mean, throughput 5, p95, p99, memory, cpu 10 (%), errors 0.5 (points); `p99=off` judges it not.",
)
_EXITS = {"pass": EXIT_PASS, "fail": EXIT_FAIL, "inconclusive": EXIT_INCONCLUSIVE, "invalid": EXIT_INVALID}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="perflib")
def cli() -> None:
    """Load tests whose every request is a row and whose every verdict has an interval.

    \b
    perflib run                                   the acceptance suite on the reference service
    perflib run checkout.toml --only browse       one scenario of your own suite
    perflib report                                the latest run as reports/<run>/report.html
    perflib check                                 its verdicts, as a table and an exit code
    perflib compare main latest                   is it no worse than the baseline `main`?

    \b
    Exit codes: 0 passed, 1 an objective failed, 2 bad input, 3 inconclusive, 4 run invalid, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: errors become one line on stderr and their exit code."""
    try:
        code = cli.main(
            args=list(arguments) if arguments is not None else None, prog_name="perflib", standalone_mode=False
        )
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        _die("interrupted", EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        _die("interrupted", EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_BAD_INPUT)
    except PerflibError as error:
        _die(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


@cli.command()
@click.argument("suite", default="acceptance")
@click.option("--only", multiple=True, metavar="NAME", help="Only this scenario; may be repeated.")
@click.option("--quick", is_flag=True, help="Shorten the long loads, as the suite says.")
@_DATA
@click.option("--seed", type=int, help="Seed of everything random; default: the suite's.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a key of the suite, as scenarios.browse.load.rate_per_s=800.",
)
def run(
    suite: str, only: tuple[str, ...], quick: bool, data: str | None, seed: int | None, overrides: tuple[str, ...]
) -> int:
    """Run SUITE (a built-in name, or the path of a TOML file) and print the run's id last."""
    from perflib.engine import run as run_suite
    from perflib.runs import open_run, run_ids

    before = set(run_ids(data))
    try:
        made = run_suite(suite, only=only, quick=quick, data=data, seed=seed, overrides=overrides)
    except KeyboardInterrupt:
        for name in sorted(set(run_ids(data)) - before):
            click.echo(f"interrupted; the rows so far are kept: {open_run(name, data).path}", err=True)
            click.echo(name)
        return EXIT_INTERRUPTED
    code = _print_verdicts(made)
    click.echo(made.id)
    return code


@cli.command()
@click.argument("run", default="latest")
@_BASELINE
@click.option("--out", type=click.Path(file_okay=False), help="Folder for the files; default: reports/<run>.")
@click.option("--title", help="Title of the report.")
@click.option("--notebook", metavar="NAME", help="Another notebook than the report, as capacity, overhead or explore.")
@_DATA
def report(
    run: str, baseline: str | None, out: str | None, title: str | None, notebook: str | None, data: str | None
) -> int:
    """Render report.html, report.md, summary.json and junit.xml of RUN (an id, a path, or `latest`).

    With --notebook another notebook on the same run instead, as one HTML file: capacity, overhead, explore.
    """
    from perflib.baselines import open_side
    from perflib.report import page
    from perflib.report import report as render
    from perflib.runs import open_run

    found = open_run(run, data)
    if notebook:
        click.echo(str(page(notebook, found, out=Path(out) if out else None)))
        return EXIT_PASS
    beside = open_side(baseline, data) if baseline else None
    folder = render(found, baseline=beside, out=Path(out) if out else None, title=title)
    click.echo(str(folder / "report.html"))
    return EXIT_PASS


@cli.command()
@click.argument("run", default="latest")
@_BASELINE
@_MARGIN
@_FORCE
@_NOTIFY
@_DATA
@_JSON
def check(
    run: str,
    baseline: str | None,
    margin: tuple[str, ...],
    force: bool,
    notify: str | None,
    data: str | None,
    as_json: bool,
) -> int:
    """Print the verdicts of RUN, with --baseline also whether it is no worse than that; the exit code says what they come to."""
    from perflib import github
    from perflib.contrast_report import markdown as compared_markdown
    from perflib.report import markdown
    from perflib.runs import open_run
    from perflib.verdicts import overall

    found = open_run(run, data)
    compared = _compare(baseline, found, margin, force, data) if baseline else None
    if as_json:
        objectives = [v.as_dict() for v in found.verdicts()]
        click.echo(
            json.dumps(
                {"objectives": objectives, "comparison": compared.as_dict()} if compared else objectives, indent=1
            )
        )
        code = _exit_code(found, overall(found))
    else:
        code = _print_verdicts(found)
    github.tell(lambda: markdown(found, found.summary()), github.of_verdicts(found.verdicts()))
    if notify:
        from perflib import notify as webhook

        missed = webhook.of_verdicts(found.verdicts()) if found.status == "complete" else []
        worse = webhook.of_comparison(compared) if compared else []
        webhook.notify(notify, f"{found.manifest['suite']['name']}, run {found.id}", missed + worse)
    if compared is None:
        return code
    if not as_json:
        _print_comparison(compared)
    github.tell(lambda: compared_markdown(compared), github.of_comparison(compared))
    return _worst(code, _EXITS[compared.verdict])


@cli.command()
@click.argument("runs", nargs=-1, metavar="BASE CANDIDATE")
@_BASELINE
@click.option(
    "--out", type=click.Path(file_okay=False), help="Folder for the files; default: reports/<candidate>-vs-<base>."
)
@_MARGIN
@_FORCE
@click.option("--title", help="Title of the page.")
@_NOTIFY
@_DATA
@_JSON
def compare(
    runs: tuple[str, ...], baseline: str | None, out: str | None, margin: tuple[str, ...], force: bool, title: str | None, notify: str | None,
    data: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Is CANDIDATE no worse than BASE? Prints every change with its interval, and renders compare.html, compare.md,
    summary.json and junit.xml.

    Each side is a run's id or path, a baseline's name, or `latest`; several runs of a side, which tell what two runs of the same
    thing differ by, are separated by commas: perflib compare A1,A2,A3 B1,B2,B3. With --baseline, BASE is left out.

    \b
    Exit codes: 0 no worse, 1 worse than the margin, 2 bad input, 3 inconclusive, 4 a run is invalid.
    """
    from perflib import github
    from perflib.contrast_report import markdown
    from perflib.contrast_report import report as render

    sides = ((baseline, *(runs or ("latest",))) if baseline else runs)  # fmt: skip
    if len(sides) != 2:
        raise click.UsageError(
            "name two sides, BASE and CANDIDATE, or one with --baseline; several runs of a side: A1,A2,A3"
        )
    compared = _compare(sides[0], sides[1], margin, force, data)
    if as_json:
        click.echo(json.dumps(compared.as_dict(), indent=1))
    else:
        _print_comparison(compared)
    github.tell(lambda: markdown(compared, title), github.of_comparison(compared))
    if notify:
        from perflib import notify as webhook

        webhook.notify(notify, compared.title, webhook.of_comparison(compared))
    folder = render(compared, margin_percent=_margins(margin), out=Path(out) if out else None, title=title)
    click.echo(str(folder / "compare.html"), err=as_json)
    return _EXITS[compared.verdict]


@cli.command()
@click.option("--metric", help="Only this metric: p50, p95, p99, mean, throughput, errors, memory or cpu.")
@click.option("--out", type=click.Path(file_okay=False), help="Folder for history.html, with a chart of each series.")
@_DATA
@_JSON
def history(metric: str | None, out: str | None, data: str | None, as_json: bool) -> int:
    """Record the runs that are not in the history yet, and print each figure's series with its last change of level."""
    from perflib.history import damaged, record_all
    from perflib.history import history as all_series
    from perflib.measures import METRICS
    from perflib.report import execute, html, write
    from perflib.wording import number, signed

    if metric is not None and metric not in METRICS:
        raise click.UsageError(f"there is no metric {metric!r}; known: {', '.join(METRICS)}")
    record_all(data)
    for file in damaged(data):
        click.echo(f"{file} cannot be read; its run is left out", err=True)
    rows = []
    for series in all_series(metric, data):
        last = series.changes[-1] if series.changes else None
        size = series.percent(last) if last else None
        rows.append({
            "series": str(series), "machine": series.machine, "runs": len(series.points), "latest": f"{number(series.points[-1].estimate)} {series.unit}",
            "last change": f"{signed(size[0])} % [{signed(size[1])} … {signed(size[2])}]" if size else "none",
            "since": series.points[last.index].run if last else "", "commits": " … ".join(c[:12] or "–" for c in series.commits(last)) if last else "",
        })  # fmt: skip
    _print_table(rows, as_json)
    if out:
        Path(out).mkdir(parents=True, exist_ok=True)
        made = execute("history", {"metric": metric, "data": data}, Path(out) / "history.ipynb")
        write(Path(out) / "history.html", html(made, "History"))
        click.echo(str(Path(out) / "history.html"), err=as_json)
    return EXIT_PASS


@cli.group()
def baseline() -> None:
    """Runs kept under a name, to compare others with."""


@baseline.command("set")
@click.argument("name")
@click.argument("run", default="latest")
@_DATA
def baseline_set(name: str, run: str, data: str | None) -> int:
    """Keep RUN under NAME, in place of the one that had it. It stays when the run itself is removed."""
    from perflib.baselines import set_baseline
    from perflib.runs import open_run

    click.echo(f"{name}: {set_baseline(name, open_run(run, data), data).id}")
    return EXIT_PASS


@baseline.command("list")
@_DATA
@_JSON
def baseline_list(data: str | None, as_json: bool) -> int:
    """The baselines there are."""
    from perflib.baselines import baselines

    found = baselines(data).items()
    _print_table(
        [{"baseline": name, "run": run.id, "started": run.manifest["started_at"][:19]} for name, run in found], as_json
    )
    return EXIT_PASS


@baseline.command("rm")
@click.argument("name")
@_DATA
def baseline_rm(name: str, data: str | None) -> int:
    """Forget the baseline NAME."""
    from perflib.baselines import remove_baseline

    remove_baseline(name, data)
    click.echo(f"removed {name}")
    return EXIT_PASS


@cli.command()
@_DATA
@_JSON
def runs(data: str | None, as_json: bool) -> int:
    """List the runs there are, the latest first."""
    from perflib.runs import open_run, run_ids

    found = [open_run(name, data) for name in reversed(run_ids(data))]
    table = [
        {
            "run": r.id,
            "status": r.status,
            "scenarios": len(r.scenarios),
            "quick": r.manifest["quick"],
            "started": r.manifest["started_at"][:19],
        }
        for r in found
    ]
    _print_table(table, as_json)
    return EXIT_PASS


@cli.command()
@click.argument("run", default="latest")
@_DATA
@_JSON
def show(run: str, data: str | None, as_json: bool) -> int:
    """What is known of RUN: its scenarios with their figures."""
    from perflib.figures import summary
    from perflib.runs import open_run
    from perflib.wording import number

    found = open_run(run, data)
    figures = summary(found)
    if as_json:
        click.echo(json.dumps(figures, indent=1))
        return EXIT_PASS
    click.echo(f"{found.id}: {found.status}, {found.manifest['command']}")
    for reason in found.manifest["reasons"]:
        click.echo(f"  {reason}")
    times = [(s, s["response_ms"]) for s in figures["scenarios"]]
    _print_table([
        {"scenario": s["name"], "requests": f"{s['requests']:,}", "errors": s["errors"], "/s": f"{s['throughput_per_s']:,.1f}",
         **{f"{key} ms": number(ms[key]) for key in ("p50", "p95", "p99", "max")}}
        for s, ms in times
    ], False)  # fmt: skip
    return EXIT_PASS


@cli.command()
@click.argument("run")
@_DATA
def rm(run: str, data: str | None) -> int:
    """Delete RUN from the data folder."""
    from perflib.runs import remove_run

    click.echo(f"removed {remove_run(run, data).id}")
    return EXIT_PASS


@cli.command()
@click.option(
    "--http",
    "port",
    type=click.IntRange(0, 65535),
    help="REST and MCP at this port; 0: a free one, printed. Default: 8000.",
)
@click.option("--stdio", is_flag=True, help="MCP over stdin and stdout.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--database", type=click.Path(dir_okay=False), help="SQLite file; default: a temporary one.")
@click.option(
    "--cache", default=0, show_default=True, type=click.IntRange(0), help="Results kept for repeated content."
)
@click.option("--pool", default=8, show_default=True, type=click.IntRange(0), help="Database connections kept open.")
@click.option(
    "--parallel", default=0, show_default=True, type=click.IntRange(0), help="Rules checked at the same time."
)
@click.option(
    "--threads", default=16, show_default=True, type=click.IntRange(1), help="Requests worked on at the same time."
)
@click.option(
    "--leak-bytes-per-request", default=0, type=click.IntRange(0), help="Fault: memory each request leaves behind."
)
@click.option(
    "--stall-after-s", default=0.0, type=click.FloatRange(0), help="Fault: freeze this long after the start …"
)
@click.option("--stall-s", default=0.0, type=click.FloatRange(0), help="… for so long.")
@click.option("--error-rate", default=0.0, type=click.FloatRange(0, 1), help="Fault: share of requests that fail.")
@click.option("--latency-s", default=0.0, type=click.FloatRange(0), help="Fault: extra time of every request.")
@click.option("--seed", default=0, type=int, help="Seed of the injected errors.")
def serve(port: int | None, stdio: bool, host: str, **options: Any) -> int:
    """Start the reference service: REST and MCP over HTTP, or MCP over stdio."""
    from perflib.service.options import Options
    from perflib.service.server import serve as serve_forever

    if stdio and port is not None:
        raise click.UsageError("--stdio and --http exclude each other")
    try:
        serve_forever(Options(**options), http_port=None if stdio else 8000 if port is None else port, host=host)
    except KeyboardInterrupt:
        pass  # asked to stop, and stopped
    return EXIT_PASS


@cli.group()
def mcp() -> None:
    """MCP servers: see what one offers, and get a suite to load it with."""


@mcp.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("server", nargs=-1, required=True, type=click.UNPROCESSED, metavar="URL|COMMAND...")
@click.option("--json", "as_json", is_flag=True, help="Print the lists as the server gave them.")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="The suite; default: <server-name>.toml.")
@click.option(
    "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="With each request; ${VAR} is filled."
)
@click.option(
    "--timeout", "timeout_s", default=60.0, show_default=True, metavar="SECONDS",
    type=click.FloatRange(0, min_open=True), help="For starting and answering, in all.",
)  # fmt: skip
def inspect(
    server: tuple[str, ...], as_json: bool, out: Path | None, headers: tuple[str, ...], timeout_s: float
) -> int:
    """Print what an MCP server offers, and write a suite of its tools that `perflib run` takes as it is.

    \b
    perflib mcp inspect http://127.0.0.1:8000/mcp --header 'Authorization: Bearer ${API_TOKEN}'
    perflib mcp inspect npx -y @modelcontextprotocol/server-everything
    perflib mcp inspect --timeout 10 -- my-server --json      # after -- every option is the command's own

    \b
    Exit codes: 0 written, 2 bad input or the file exists already, 4 no MCP server answered.
    """
    import asyncio

    from perflib import discover

    target = discover.target_of(server, discover.headers_of(headers))
    if out is not None:
        discover.must_be_new(out)
    found = asyncio.run(discover.listing(target, timeout_s))
    lists = {"about": found.about, "tools": found.tools, "resources": found.resources, "prompts": found.prompts}
    click.echo(json.dumps(lists, indent=1) if as_json else discover.describe(found, target))
    path = out or Path(discover.file_name(found.about))
    discover.save(discover.suite_of(found, target, path), path)
    click.echo(f"\nwrote {path}; read it, edit its arguments, then: perflib run {shlex.quote(str(path))}", err=as_json)
    return EXIT_PASS


@cli.command()
@_JSON
def doctor(as_json: bool) -> int:
    """Is this machine fit to measure? Each finding with what it means and how to mend it."""
    from perflib.doctor import examine

    findings = examine()
    _print_table(
        [
            {"check": f.name, "found": f.found, "verdict": "fit" if f.fit else "unfit", "advice": f.advice}
            for f in findings
        ],
        as_json,
    )
    return EXIT_PASS if all(f.fit for f in findings) else EXIT_FAIL


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lab(arguments: tuple[str, ...]) -> int:
    """Open JupyterLab on the notebooks; further ARGUMENTS go to it."""
    import importlib.util
    import subprocess

    if importlib.util.find_spec("jupyterlab") is None:
        raise PerflibError("JupyterLab is not installed", mend='pip install "perflib[lab]"')
    from perflib.report import notebooks_folder

    # A page configuration of ours asks no question about news, and none about updates.
    settings = [str(Path(__file__).parent / "templates" / "lab"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    environment = {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, settings))}
    command = [
        sys.executable, "-m", "jupyterlab", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        f"--ServerApp.root_dir={notebooks_folder().parent}", "--LabApp.default_url=/lab/tree/notebooks/quickstart.ipynb",
    ]  # fmt: skip
    return subprocess.call([*command, *arguments], env=environment)


def _print_verdicts(run: Run) -> int:
    from perflib.verdicts import overall
    from perflib.wording import observed

    verdicts = run.verdicts()
    _print_table([
        {"scenario": v.scenario, "objective": v.objective.text, "observed": "{} [{}]".format(*observed(v)), "n": f"{v.interval.n:,}", "verdict": v.verdict.upper(), "": v.reason}
        for v in verdicts
    ], False)  # fmt: skip
    for reason in run.manifest["reasons"]:
        click.echo(reason, err=True)
    word = overall(run)
    click.echo(
        f"{run.id}: {word.upper()}"
        if any(v.judged for v in verdicts) or word == "invalid"
        else f"{run.id}: no objectives to judge"
    )
    return _exit_code(run, word)


def _compare(base: str, candidate: str | Run, margin: tuple[str, ...], force: bool, data: str | None) -> Comparison:
    from perflib.comparison import compare

    return compare(base, candidate, margin_percent=_margins(margin), data=data, force=force)


def _margins(texts: tuple[str, ...]) -> dict[str, float | None]:
    """{"p95": 15.0} of ("p95=15",)."""
    found: dict[str, float | None] = {}
    for text in texts:
        key, _, value = text.partition("=")
        try:
            found[key.strip()] = None if value.strip() == "off" else float(value.strip().rstrip("%"))
        except ValueError:
            raise click.UsageError(f"--margin {text!r}: write it like p95=15, or p95=off") from None
    return found


def _print_comparison(compared: Comparison) -> None:
    from perflib.wording import moved

    rows = []
    for c in compared.changes:
        base, candidate, change, bounds = moved(c)
        margin = "–" if c.margin is None else f"{c.margin:g} {c.metric.margin_unit}"
        rows.append({"scenario": str(c.part), "figure": c.metric.name, "base": base, "candidate": candidate, "change": f"{change} [{bounds}]", "margin": margin, "verdict": c.verdict.upper(), "": c.reason})  # fmt: skip
    _print_table(rows, False)
    for text in (*compared.invalid, *compared.doubts, *compared.notes):
        click.echo(text, err=True)
    click.echo(f"{compared.title}: {compared.verdict.upper()}. {compared.sentence}")


def _worst(*codes: int) -> int:
    """Of several exit codes the one that says the worst."""
    return max(codes, key=(EXIT_PASS, EXIT_INCONCLUSIVE, EXIT_FAIL, EXIT_INVALID, EXIT_INTERRUPTED).index)


def _exit_code(run: Run, word: str) -> int:
    if run.status == "interrupted":
        return EXIT_INTERRUPTED
    asked = any(spec.get("objectives") for spec in run.manifest["suite"]["scenarios"])
    return EXIT_PASS if word == "inconclusive" and not asked else _EXITS[word]


def _print_table(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        click.echo("none")
        return
    from perflib.wording import table

    click.echo(table(rows))


def _die(message: str, code: int) -> None:
    click.echo(f"perflib: {message}", err=True)
    sys.exit(code)
