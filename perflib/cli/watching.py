"""The command that follows a run in progress: watch."""

from __future__ import annotations

import time

import click

from perflib.cli.base import DATA, cli
from perflib.errors import EXIT_PASS


@cli.command()
@click.argument("run", default="latest")
@DATA
def watch(run: str, data: str | None) -> int:
    """Follow RUN from another terminal. It prints a line of figures each second, until the run ends."""
    from perflib.load.progress import figures
    from perflib.store.live import Tail
    from perflib.verdicts.run import open_run

    opened = open_run(run, data)
    tail = Tail(opened.path)
    while opened.status == "running":
        now = tail.look()
        click.echo(f"{now.scenario or 'starting':26.26} {figures(now)}")
        time.sleep(1)
        opened = open_run(opened.path)
    now = tail.look(over=True)
    click.echo(f"{now.scenario:26.26} {figures(now)}\n{opened.id}: {opened.status}")
    return EXIT_PASS
