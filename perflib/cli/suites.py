"""Commands for suites: example, init, try."""

from __future__ import annotations

from pathlib import Path

import click

from perflib.cli.base import cli
from perflib.errors import (
    EXIT_FAIL,
    EXIT_INVALID,
    EXIT_PASS,
)


@cli.command()
@click.argument("folder", default="shop", metavar="[DIR]", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
def example(folder: Path, force: bool) -> int:
    """Copy a small shop to practise on, and its suites, to DIR.

    DIR is ./shop by default.

    \b
    perflib run shop/shop.toml                                     starts the shop, loads it, and stops it
    perflib run shop/shop.toml --set targets.shop.env.SHOP=slow    the same with a slow search; or bug, or leak
    perflib run shop/customers.toml                                journeys at a rate, while robots search
    perflib run shop/knee.toml                                     how many searches a second it can take
    """
    from perflib.store import shipped

    files = (path for path in shipped.shipped("examples/shop").iterdir() if path.suffix in (".py", ".toml"))
    shipped.copy({path.name: path.read_text("utf-8") for path in sorted(files)}, folder, force=force)
    click.echo(f"copied the shop to {folder}; load it: perflib run {folder / 'shop.toml'}")
    return EXIT_PASS


@cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("source", nargs=-1, required=True, type=click.UNPROCESSED, metavar="SOURCE...")
@click.option(
    "-o", "--out", metavar="FILE", type=click.Path(path_type=Path), default=Path("suite.toml"), show_default=True
)
@click.option(
    "--all", "everything", is_flag=True, help="Write requests that change something too, instead of as comments."
)
@click.option("--from", "name", metavar="FORMAT", help="The format, if it is not recognised.")
@click.option("--url", help="The URL of the server to load, instead of the one in SOURCE.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header for an MCP server.")
@click.option(
    "--timeout", "timeout_s", default=60.0, show_default=True, metavar="SECONDS",
    type=click.FloatRange(0, min_open=True), help="Total time for the answers of an MCP server.",
)  # fmt: skip
def init(
    source: tuple[str, ...],
    out: Path,
    everything: bool,
    name: str | None,
    url: str | None,
    headers: tuple[str, ...],
    timeout_s: float,
) -> int:
    """Write a suite from what exists already, with comments.

    \b
    perflib init openapi.yaml                              OpenAPI 3.0 or 3.1, YAML or JSON
    perflib init recording.har                             a recording of a browser
    perflib init collection.json                           a Postman collection, version 2.1
    perflib init requests.sh                               curl lines, as browsers copy them
    perflib init access.log --url http://127.0.0.1:8000    the mix of an access log
    perflib init access.log --from replay --url URL        its requests, each at its time
    perflib init http://127.0.0.1:8000/mcp                 an MCP server, by its URL or command
    perflib init package.module:function                   a Python function

    The content says what SOURCE is; --from names another format: openapi, har, postman, curl, access-log, replay,
    function, mcp. Secrets become ${NAME}, to be set in the environment. Methods that change something are written as
    comments, unless --all is given. What cannot be translated is listed, here and in the file.

    Exit codes: 0 written, 2 bad input or the file exists already, 4 no MCP server answered.
    """
    from perflib.sources.formats import suite_of
    from perflib.sources.given import Given
    from perflib.sources.mcp_target import headers_of
    from perflib.sources.save import must_be_new, save_new

    must_be_new(out)
    given = Given(source, out, everything, url, headers_of(headers), timeout_s)
    kind, made = suite_of(given, name)
    for file, text in made.files.items():
        save_new(text, out.with_name(file))
    save_new(made.text, out)
    for loss in made.losses:
        click.echo(f"not translated: {loss}", err=True)
    if made.left_out:
        also = "" if everything else "; --all writes those that change something"
        click.echo(f"{made.left_out} requests are comments, each with the reason{also}", err=True)
    if made.variables:
        click.echo(f"set before a run: {', '.join(made.variables)}", err=True)
    count = f"{made.requests} request{'s' if made.requests != 1 else ''}"
    written = " and ".join(map(str, (out, *made.files)))
    click.echo(f"wrote {written} with {count}, from {kind.title}; look at it: perflib try {out}")
    return EXIT_PASS


@cli.command("try")
@click.argument("suite", default="acceptance")
@click.option("--only", multiple=True, metavar="NAME", help="Only this scenario; may be repeated.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of the suite, as in `run`.")
def try_command(suite: str, only: tuple[str, ...], overrides: tuple[str, ...]) -> int:
    """Send each operation of SUITE once, and show it.

    The request and the answer are printed, and nothing is stored.

    The operations of a scenario are sent in order by one user: those of `setup`, `each_user` and `prepare`, those of
    the load, and those of `teardown`. Secrets are struck out, and of a body the first 2 kB are shown. Exit codes: 0 all
    answers are as expected, 1 one is not, 2 bad input, 4 a target does not start or cannot be reached.
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
