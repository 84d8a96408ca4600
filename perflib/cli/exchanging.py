"""Commands that exchange results with other tools: import, export."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perflib.cli.base import DATA, OBJECTIVE, cli, print_table, print_trouble, print_verdicts

if TYPE_CHECKING:
    from perflib.verdicts.run import Run


@cli.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...|prometheus URL")
@click.option("--from", "wanted", metavar="FORMAT", help="The tool or the format; default: by the content of the file.")
@click.option("--name", help="Name of the suite; runs are compared by it. Default: the tool's name.")
@click.option("--warmup", "warmup_s", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS",
              help="Leave out the first seconds.")  # fmt: skip
@click.option("--query", "queries", multiple=True, metavar="METRIC",
              help="Of Prometheus: a histogram, or a gauge, like took_seconds{job=\"api\"}.")  # fmt: skip
@click.option("--by", metavar="LABEL", help="Of Prometheus: the label whose values are the operations.")
@click.option("--last", "last_s", type=click.FloatRange(min=1), default=3600.0, metavar="SECONDS", show_default=True,
              help="Of Prometheus: how much time it is about.")  # fmt: skip
@click.option("--end", type=click.DateTime(), metavar="TIME", help="Of Prometheus: until when, in UTC; default: now.")
@click.option("--requests", metavar="METRIC", help="Of Prometheus, with --errors: the counter of all requests.")
@click.option("--errors", metavar="METRIC", help="Of Prometheus, with --requests: the counter of those that failed.")
@click.option("-H", "--header", multiple=True, metavar="'NAME: VALUE'", help="Of Prometheus: a header.")
@OBJECTIVE
@DATA
def import_command(
    files: tuple[str, ...],
    wanted: str | None,
    name: str | None,
    warmup_s: float,
    objectives: tuple[str, ...],
    data: str | None,
    **production: Any,
) -> int:
    """Make a run from results of another tool, or from Prometheus.

    Those of k6, JMeter, Locust, vegeta, oha, hey, Gatling and others are known. The run's id is printed last.

    \b
    k6 run --out csv=results.csv test.js            perflib import results.csv
    jmeter -n -t plan.jmx -l results.jtl            perflib import results.jtl
    vegeta encode --to csv results.bin > r.csv      perflib import r.csv
    perflib import prometheus http://127.0.0.1:9090 --query http_request_duration_seconds --by route --last 86400

    Several FILEs of one format are one run. Files may be compressed with gzip. Such a run can be reported, checked,
    compared and queried like any other. What its times mean is printed and stored in run.json; runs whose times have
    different meanings are not comparable. From Prometheus, and from summaries, come figures without requests: they are
    shown and set beside others, without a verdict.
    """
    from perflib.store.remote import is_url
    from perflib.verdicts.run import open_run

    if is_url(data):
        raise click.UsageError("import into a folder, not a URL")
    if files[0] == "prometheus":
        path = _of_prometheus(files[1:], data, name, production)
    else:
        from perflib.formats.importing import import_files

        paths = [Path(file) for file in files]
        command = " ".join(("perflib import", *(path.name for path in paths)))
        path = import_files(
            paths, data, wanted=wanted, name=name, objectives=objectives, warmup_s=warmup_s, command=command
        )
    run = open_run(path)
    _print_imported(run)
    print_trouble(run)
    code = print_verdicts(run) if objectives else 0
    click.echo(run.id)
    return code


def _of_prometheus(urls: tuple[str, ...], data: str | None, name: str | None, asked: dict[str, Any]) -> Path:
    from perflib.formats.prometheus import import_prometheus
    from perflib.sources.mcp_target import headers_of

    if len(urls) != 1 or not urls[0].startswith(("http://", "https://")):
        raise click.UsageError("write perflib import prometheus URL --query METRIC")
    if not asked["queries"]:
        raise click.UsageError("--query names the histogram, or the gauge, to import")
    end = asked["end"].replace(tzinfo=UTC).timestamp() if asked["end"] else None
    return import_prometheus(
        urls[0], asked["queries"], data, last_s=asked["last_s"], end_s=end, by=asked["by"], errors=asked["errors"],
        requests=asked["requests"], headers=headers_of(asked["header"]), name=name, command="perflib import prometheus",
    )  # fmt: skip


def _print_imported(run: Run) -> None:
    """What was imported, and what its times mean."""
    from perflib.verdicts.figures import has_figures_alone, shown

    imported = run.manifest.imported
    assert imported is not None
    alone = has_figures_alone(run)
    if alone:
        print_table(shown(run), False)
    else:
        click.echo(f"{imported.tool}: {sum(each.requests for each in run.manifest.scenarios):,} requests")
    meaning = imported.time.meaning if alone else imported.time.in_words
    for said in (f"times are {meaning}", *imported.notes):
        click.echo(said, err=True)


@cli.command("export")
@click.argument("run", default="latest")
@click.option("--to", "to", required=True, metavar="FORMAT",
              help="csv, jtl, openmetrics, github-action-benchmark, bencher, k6-summary, influx, otlp, "
              "hdrhistogram.")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A file; default: standard output.")
@DATA
def export_command(run: str, to: str, out: Path | None, data: str | None) -> int:
    """Write RUN in the format of another tool.

    csv, jtl and influx have a line for each request, the others figures. A figure that is not known is left out.
    """
    from perflib.formats.exporting import export
    from perflib.store.files import write_atomically
    from perflib.verdicts.run import open_run

    pieces = export(open_run(run, data), to)
    if out is None:
        for piece in pieces:
            click.echo(piece, nl=False)
        return 0
    write_atomically(out, pieces)
    click.echo(str(out))
    return 0
