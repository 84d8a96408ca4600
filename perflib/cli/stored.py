"""Commands for runs that are stored: runs, show, rm, compact."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from perflib.cli.base import (
    DATA,
    JSON,
    cli,
    print_figures,
    print_samples,
    print_table,
    print_trouble,
)
from perflib.errors import (
    EXIT_PASS,
)

if TYPE_CHECKING:
    pass


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
            "quick": r.manifest.quick if as_json else "yes" if r.manifest.quick else "",
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
    from perflib.verdicts.figures import has_figures_alone, shown
    from perflib.verdicts.run import open_run

    opened = open_run(run, data)
    if as_json:
        click.echo(json.dumps(opened.summary(), indent=1))
        return EXIT_PASS
    click.echo(f"{opened.id}: {opened.status}, {opened.manifest.command}")
    for reason in opened.manifest.reasons:
        click.echo(f"  {reason}")
    if imported := opened.manifest.imported:
        meaning = imported.time.meaning if imported.figures else imported.time.in_words
        click.echo(f"  made by {imported.tool}; times are {meaning}")
        for note in imported.notes:
            click.echo(f"  {note}")
    if has_figures_alone(opened):
        print_table(shown(opened), False)
        return EXIT_PASS
    print_figures(opened)
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
