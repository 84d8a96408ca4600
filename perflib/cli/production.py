"""Commands for what watches production: rules."""

from __future__ import annotations

from pathlib import Path

import click

from perflib.cli.base import cli


@cli.command()
@click.argument("suite", default="acceptance")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of the suite, as in `run`.")
@click.option("--requests", metavar="METRIC", help="The counter of requests; default: perflib_requests_total.")
@click.option(
    "--errors",
    metavar="METRIC",
    help="The counter of failed requests, or some series of that of all: 'http_requests_total{status=~\"5..\"}'.",
)
@click.option(
    "--times",
    metavar="METRIC",
    help="The histogram of response times in seconds, without _bucket; default: perflib_response_seconds.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="OURS=THEIRS",
    help="What suite, scenario or operation is called there: operation=route; `suite=` for a label that is not there.",
)
@click.option(
    "--where", multiple=True, metavar='LABEL="VALUE"', help="A label that all series must have; may be repeated."
)
@click.option(
    "--buckets", metavar="SECONDS,…", help="The upper edges of the histogram's buckets; default: those of perflib's."
)
@click.option("--grafana", is_flag=True, help="Print a dashboard for Grafana instead of the rules.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write the rules, their tests and the dashboard into this folder.",
)
def rules(
    suite: str,
    overrides: tuple[str, ...],
    requests: str | None,
    errors: str | None,
    times: str | None,
    labels: tuple[str, ...],
    where: tuple[str, ...],
    buckets: str | None,
    grafana: bool,
    out: Path | None,
) -> int:
    """Print rules for Prometheus, made of the objectives of SUITE.

    They record what production does, and alert where it misses an objective.

    \b
    perflib rules checkout.toml > checkout.rules.yml
    perflib rules checkout.toml --out monitoring                      also tests for promtool, and a dashboard
    perflib rules checkout.toml --requests http_requests_total --errors 'http_requests_total{status=~"5.."}' \\
      --times http_request_duration_seconds --label suite= --label scenario=service --label operation=route

    An objective on errors or on a percentile becomes alerts on how fast its budget burns, one on a metric of the target
    an alert on that metric. Others are listed as comments. By default the rules are for what `perflib run --metrics`
    serves.
    """
    from perflib.formats.grafana import dashboard
    from perflib.formats.production import names_of
    from perflib.formats.rules import rule_tests
    from perflib.formats.rules import rules as written
    from perflib.store.files import write_atomically
    from perflib.suite.file import load_suite

    loaded = load_suite(suite, overrides=list(overrides))
    names = names_of(requests, errors, times, labels, where, buckets)
    if out is None:
        click.echo(dashboard(loaded, names) if grafana else written(loaded, names), nl=False)
        return 0
    stem = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in loaded.name)
    files = {
        "rules.yml": written(loaded, names),
        "tests.yml": rule_tests(loaded, names, f"{stem}.rules.yml"),
        "dashboard.json": dashboard(loaded, names),
    }
    out.mkdir(parents=True, exist_ok=True)
    for ending, text in files.items():
        write_atomically(out / f"{stem}.{ending}", [text])
        click.echo(str(out / f"{stem}.{ending}"))
    return 0
