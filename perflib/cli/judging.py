"""Commands that judge a run: check, history, baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

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
    OBJECTIVE,
    chosen_notebook,
    cli,
    exit_code,
    exit_codes,
    print_table,
    print_trouble,
    print_verdicts,
    worst_code,
)
from perflib.cli.comparing import compare_sides, print_comparison
from perflib.errors import (
    EXIT_PASS,
)

if TYPE_CHECKING:
    from perflib.verdicts.history import Series


@cli.command()
@click.argument("run", default="latest")
@OBJECTIVE
@BASELINE
@MARGIN
@FORCE
@EXIT
@NOTIFY
@DATA
@JSON
def check(
    run: str,
    objectives: tuple[str, ...],
    baseline: str | None,
    margin: tuple[str, ...],
    force: bool,
    exits: tuple[str, ...],
    notify: str | None,
    data: str | None,
    as_json: bool,
) -> int:
    """Print the verdicts of RUN. With --baseline, also compare it. The worst verdict sets the exit code.

    With --objective, RUN is judged by these objectives as well as by those of its suite.
    """
    from perflib.report import github, markdown
    from perflib.verdicts.run import open_run

    codes, opened = exit_codes(exits), open_run(run, data)
    if objectives:
        opened = opened.judged_by(objectives)
    compared = compare_sides(baseline, opened, margin, force, data) if baseline else None
    if as_json:
        found = [v.as_dict() for v in opened.verdicts()]
        click.echo(json.dumps({"objectives": found, "comparison": compared.as_dict()} if compared else found, indent=1))
        code = exit_code(opened, opened.verdict, codes)
    else:
        print_trouble(opened)
        code = print_verdicts(opened, codes)
    github.tell(lambda: markdown.of_run(opened), github.of_verdicts(opened.verdicts()))
    if notify:
        from perflib.report import webhook as webhook

        missed = webhook.of_verdicts(opened.verdicts()) if opened.status == "complete" else []
        worse = webhook.of_comparison(compared) if compared else []
        webhook.notify(notify, f"{opened.suite.name}, run {opened.id}", missed + worse)
    if compared is None:
        return code
    if not as_json:
        print_comparison(compared)
    github.tell(lambda: markdown.of_comparison(compared), github.of_comparison(compared))
    return worst_code(code, compared.exit_code(codes))


@cli.command()
@click.option("--metric", help="Only this metric: p50, p95, p99, mean, throughput, errors, memory or cpu.")
@click.option("--out", type=click.Path(file_okay=False), help="Folder for history.html, with a chart of each series.")
@NOTEBOOK
@NOTEBOOKS
@DATA
@JSON
def history(
    metric: str | None,
    out: str | None,
    notebook: str | None,
    notebooks: Path | None,
    data: str | None,
    as_json: bool,
) -> int:
    """Add new runs to the history, and print it. Each series is a figure, with its last change of level, its drift, and
    the last runs beside the first."""
    from perflib.metrics.parts import METRICS
    from perflib.report.parameters import asked_for
    from perflib.report.render import execute, html
    from perflib.store.files import write_atomically
    from perflib.text import number
    from perflib.verdicts.history import history as all_series
    from perflib.verdicts.history import left_out, record_all

    if metric is not None and metric not in METRICS:
        raise click.UsageError(f"there is no metric {metric!r}; known: {', '.join(METRICS)}")
    if notebook and not out:
        raise click.UsageError("--notebook needs --out")
    source = chosen_notebook("history", notebook, notebooks) if out else None
    record_all(data)
    for message in left_out(data):
        click.echo(message, err=True)
    found = all_series(metric, data)
    rows = []
    for series in found:
        last = series.changes[-1] if series.changes else None
        rows.append(
            {
                "series": str(series),
                "machine": series.machine,
                "runs": len(series.points),
                "latest": f"{number(series.points[-1].estimate)} {series.unit}",
                "last change": _size(series, *series.percent(last)) if last else "none",
                "since": series.points[last.index].run if last else "",
                "commits": " … ".join(c[:12] or "–" for c in series.commits(last)) if last else "",
                "drift": _size(series, d.estimate, d.low, d.high) if (d := series.drift) else "none",
                "since the first runs": _size(series, t.estimate, t.low, t.high) if (t := series.since_start) else "",
            }
        )
    if found.single and not found:
        click.echo("there is one run of each figure; a history begins with the second", err=True)
    print_table(rows, as_json)
    if out and source:
        Path(out).mkdir(parents=True, exist_ok=True)
        executed = execute(source, asked_for(metric=metric, data=data), Path(out) / "history.ipynb")
        write_atomically(Path(out) / "history.html", html(executed, "History"))
        click.echo(str(Path(out) / "history.html"), err=as_json)
    return EXIT_PASS


def _size(series: Series, size: float, low: float, high: float) -> str:
    """+12 % [+9 … +15]"""
    from perflib.text import signed

    return f"{signed(size)} {series.size_unit} [{signed(low)} … {signed(high)}]"


@cli.group()
def baseline() -> None:
    """Named copies of runs, to compare other runs with."""


@baseline.command("set")
@click.argument("name")
@click.argument("run", default="latest")
@DATA
def baseline_set(name: str, run: str, data: str | None) -> int:
    """Copy RUN to the baseline NAME and replace an earlier one. The copy stays when the run is deleted.

    RUN may be several runs of one version, A1,A2,A3; `latest` are all runs of a perflib run --repeat.
    """
    from perflib.store.baselines import set_baseline
    from perflib.verdicts.comparison import named, opened

    runs = opened(run, data)
    set_baseline(name, runs, data)
    click.echo(f"{name}: {named(runs)}")
    click.echo(f"perflib plan {name} computes how long the runs that you compare with it must be", err=True)
    return EXIT_PASS


@baseline.command("list")
@DATA
@JSON
def baseline_list(data: str | None, as_json: bool) -> int:
    """List the baselines."""
    from perflib.store.baselines import baselines, further

    rows = [
        {
            "baseline": name,
            "run": run.id,
            "runs": 1 + len(further(run.path)),
            "started": run.manifest.started_at[:19],
        }
        for name, run in baselines(data).items()
    ]
    print_table(rows, as_json)
    return EXIT_PASS


@baseline.command("rm")
@click.argument("name")
@DATA
def baseline_rm(name: str, data: str | None) -> int:
    """Delete the baseline NAME."""
    from perflib.store.baselines import remove_baseline

    remove_baseline(name, data)
    click.echo(f"removed {name}")
    return EXIT_PASS
