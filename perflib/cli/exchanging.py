"""Commands that exchange results with other tools: import, export."""

from __future__ import annotations

from pathlib import Path

import click

from perflib.cli.base import DATA, OBJECTIVE, cli, print_trouble, print_verdicts


@cli.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--from", "wanted", metavar="FORMAT", help="The tool or the format; default: by the content of the file.")
@click.option("--name", help="Name of the suite; runs are compared by it. Default: the tool's name.")
@click.option("--warmup", "warmup_s", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS",
              help="Leave out the first seconds.")  # fmt: skip
@OBJECTIVE
@DATA
def import_command(
    files: tuple[Path, ...],
    wanted: str | None,
    name: str | None,
    warmup_s: float,
    objectives: tuple[str, ...],
    data: str | None,
) -> int:
    """Make a run from the results of another load tool.

    Those of k6, JMeter, Locust, vegeta, oha, hey, Gatling and others are known. The run's id is printed last.

    \b
    k6 run --out csv=results.csv test.js            perflib import results.csv
    jmeter -n -t plan.jmx -l results.jtl            perflib import results.jtl
    vegeta encode --to csv results.bin > r.csv      perflib import r.csv

    Several FILEs of one format are one run. Files may be compressed with gzip. Such a run can be reported, checked,
    compared and queried like any other. What its times mean is printed and stored in run.json; runs whose times have
    different meanings are not comparable.
    """
    from perflib.formats.importing import import_files
    from perflib.store.remote import is_url
    from perflib.verdicts.run import open_run

    if is_url(data):
        raise click.UsageError("import into a folder, not a URL")
    command = " ".join(("perflib import", *(path.name for path in files)))
    path = import_files(
        files, data, wanted=wanted, name=name, objectives=objectives, warmup_s=warmup_s, command=command
    )
    run = open_run(path)
    if imported := run.manifest.imported:
        click.echo(f"{imported.tool}: {sum(each.requests for each in run.manifest.scenarios):,} requests")
        for said in (f"times are {imported.time.in_words}", *imported.notes):
            click.echo(said, err=True)
    print_trouble(run)
    code = print_verdicts(run) if objectives else 0
    click.echo(run.id)
    return code


@cli.command("export")
@click.argument("run", default="latest")
@click.option("--to", "to", required=True, metavar="FORMAT",
              help="csv, jtl, openmetrics, github-action-benchmark, bencher, k6-summary or influx.")  # fmt: skip
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
