"""Other commands: serve, mcp inspect, doctor, notebooks, lab, dashboard."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from perflib.cli.base import (
    DATA,
    JSON,
    NOTEBOOKS,
    chosen_notebook,
    cli,
    print_table,
)
from perflib.errors import (
    EXIT_FAIL,
    EXIT_PASS,
    PerflibError,
    install,
)


@cli.command(context_settings={"auto_envvar_prefix": "PERFLIB_SERVE"})
@click.option(
    "--http",
    "port",
    type=click.IntRange(0, 65535),
    help="Serve REST and MCP on this port; 0: a free port, which is printed. Default: 8000.",
)
@click.option("--stdio", is_flag=True, help="Serve MCP over stdin and stdout.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--database", type=click.Path(dir_okay=False), help="SQLite file; default: a temporary one.")
@click.option(
    "--cache",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Number of results to cache for repeated content.",
)
@click.option(
    "--pool", default=8, show_default=True, type=click.IntRange(0), help="Number of database connections to keep open."
)
@click.option(
    "--parallel",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Number of rules to check at the same time.",
)
@click.option(
    "--threads",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    help="Number of requests to handle at the same time.",
)
@click.option(
    "--leak-bytes-per-request", default=0, type=click.IntRange(0), help="Fault: memory that each request leaks."
)
@click.option(
    "--stall-after-s",
    default=0.0,
    type=click.FloatRange(0),
    help="Fault: time after the start when the service freezes.",
)
@click.option("--stall-s", default=0.0, type=click.FloatRange(0), help="Fault: how long the service freezes.")
@click.option("--error-rate", default=0.0, type=click.FloatRange(0, 1), help="Fault: share of requests that fail.")
@click.option("--latency-s", default=0.0, type=click.FloatRange(0), help="Fault: extra time for every request.")
@click.option("--seed", default=0, type=int, help="Seed of the injected errors.")
def serve(port: int | None, stdio: bool, host: str, **options: Any) -> int:
    """Start the reference service. It serves REST and MCP over HTTP, or MCP over stdio."""
    from perflib.service.options import Options
    from perflib.service.server import serve as serve_forever

    if stdio and port is not None:
        raise click.UsageError("--stdio and --http cannot be used together")
    try:
        serve_forever(Options(**options), http_port=None if stdio else 8000 if port is None else port, host=host)
    except KeyboardInterrupt:
        pass  # the usual way to stop the service
    return EXIT_PASS


@cli.group()
def mcp() -> None:
    """Inspect MCP servers, and write suites that test them."""


@mcp.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("server", nargs=-1, required=True, type=click.UNPROCESSED, metavar="URL|COMMAND...|FILE")
@click.option("--json", "as_json", is_flag=True, help="Print the server's lists as JSON.")
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="File of the suite; default: <server-name>.toml."
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A header of each request; ${VAR} is read from the environment.",
)
@click.option("--protocol", default="auto", metavar="VERSION", help="Version of the protocol; default: negotiated.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="A variable of a command's environment.")
@click.option("--cwd", metavar="DIR", type=click.Path(exists=True, file_okay=False), help="Folder of a command.")
@click.option("--server", "server_name", metavar="NAME", help="The server in an mcpServers file, where it has several.")
@click.option("--try", "tries", is_flag=True, help="Send each operation once that changes nothing.")
@click.option(
    "--timeout", "timeout_s", default=60.0, show_default=True, metavar="SECONDS",
    type=click.FloatRange(0, min_open=True), help="Total time for the start and all answers.",
)  # fmt: skip
def inspect(
    server: tuple[str, ...],
    as_json: bool,
    out: Path | None,
    headers: tuple[str, ...],
    protocol: str,
    env: tuple[str, ...],
    cwd: str | None,
    server_name: str | None,
    tries: bool,
    timeout_s: float,
) -> int:
    """Print what an MCP server offers, and write a suite for it. `perflib run` runs that suite.

    \b
    perflib mcp inspect http://127.0.0.1:8000/mcp --header 'Authorization: Bearer ${API_TOKEN}'
    perflib mcp inspect npx -y @modelcontextprotocol/server-everything
    perflib mcp inspect --try mcp.json --server files         # a file with mcpServers, as clients have them
    perflib mcp inspect --timeout 10 -- my-server --json      # options after -- are passed to the command

    \b
    Exit codes: 0 written, 2 bad input or the file exists already, 4 no MCP server answered.
    """
    import asyncio

    from perflib.sources.mcp_listing import advice, describe, read_listing, suite_of
    from perflib.sources.mcp_suite import file_name
    from perflib.sources.mcp_target import env_of, headers_of, target_of
    from perflib.sources.save import must_be_new, save_new

    target = target_of(
        server,
        headers_of(headers),
        protocol=protocol,
        env=env_of(env),
        cwd=cwd,
        name=server_name,
    )
    if out is not None:
        must_be_new(out)
    listing = asyncio.run(read_listing(target, timeout_s, tries=tries))
    lists = {
        "about": listing.about,
        "tools": listing.tools,
        "resources": listing.resources,
        "resourceTemplates": listing.templates,
        "prompts": listing.prompts,
    }
    click.echo(json.dumps(lists, indent=1) if as_json else describe(listing, target))
    path = out or Path(file_name(listing.about))
    save_new(suite_of(listing, target, path), path)
    then = f"{advice(listing, target)} perflib run {shlex.quote(str(path))}"
    click.echo(f"\nwrote {path}; {then}", err=as_json)
    return EXIT_PASS


@cli.command()
@JSON
def doctor(as_json: bool) -> int:
    """Print whether this machine is fit to measure. Each finding says what it means, and how to fix it."""
    from perflib.load.machine import examine

    findings = examine()
    print_table(
        [
            {"check": f.name, "found": f.found, "verdict": "fit" if f.fit else "unfit", "advice": f.advice}
            for f in findings
        ],
        as_json,
    )
    return EXIT_PASS if all(f.fit for f in findings) else EXIT_FAIL


@cli.group("notebooks")
def notebooks_group() -> None:
    """List or copy the notebooks that come with perflib."""


@notebooks_group.command("list")
@JSON
def notebooks_list(as_json: bool) -> int:
    """List the notebooks with their titles."""
    from perflib.report import notebooks

    files = [notebooks.find(name) for name in notebooks.names()]
    print_table([{"notebook": path.stem, "title": notebooks.title(path)} for path in files], as_json)
    return EXIT_PASS


@notebooks_group.command("copy")
@click.argument("folder", default="notebooks", metavar="[DIR]", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
def notebooks_copy(folder: Path, force: bool) -> int:
    """Copy the notebooks to DIR, by default ./notebooks. You can open and change them there.

    \b
    perflib lab                                           opens ./notebooks
    perflib report --notebook notebooks/report.ipynb      renders your own report
    perflib compare A B --notebooks notebooks             executes the notebook of your folder
    """
    from perflib.report import notebooks

    copies = notebooks.copy(folder, force=force)
    click.echo(f"copied {len(copies)} notebooks to {folder}: perflib lab opens them, --notebook FILE renders one")
    return EXIT_PASS


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lab(arguments: tuple[str, ...]) -> int:
    """Open JupyterLab on ./notebooks. If there is no such folder, copies of perflib's notebooks are put there.

    ARGUMENTS are passed to JupyterLab.
    """
    import importlib.util

    from perflib.report import notebooks

    if importlib.util.find_spec("jupyterlab") is None:
        raise PerflibError("JupyterLab is not installed", mend=install("lab"))
    here = Path.cwd()
    folder = here if here.name == "notebooks" else here / "notebooks"
    if not folder.exists():
        click.echo(f"{len(notebooks.copy(folder))} notebooks were copied to {folder}", err=True)
    opened = "notebooks/index.ipynb" if (folder / "index.ipynb").is_file() else "notebooks"
    command = [
        sys.executable, "-P", "-m", "jupyterlab", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        f"--ServerApp.root_dir={folder.parent}", f"--LabApp.default_url=/lab/tree/{opened}",
    ]  # fmt: skip
    return _become([*command, *arguments], _jupyter_environment())


@cli.command()
@NOTEBOOKS
@DATA
@click.option("--port", default=8866, show_default=True, type=click.IntRange(0, 65535))
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def dashboard(notebooks: Path | None, data: str | None, port: int, no_browser: bool) -> int:
    """Serve a web page of the runs. It shows the run in progress, verdicts and trends.

    It is for this machine only: it needs the token in the address that is printed (or JUPYTER_TOKEN), and refuses
    requests that other sites have the browser make.
    """
    import importlib.util
    import secrets

    if importlib.util.find_spec("voila") is None:
        raise PerflibError("Voilà is not installed", mend=install("lab"))
    from perflib.store.remote import is_url
    from perflib.store.runs import data_folder

    runs = data if is_url(data) else str(data_folder(data).resolve())
    token = os.environ.get("JUPYTER_TOKEN") or secrets.token_urlsafe(24)  # not on the command line, which all can read
    environment = {**_jupyter_environment(), "PERFLIB_DATA": runs, "JUPYTER_TOKEN": token}
    command = [
        sys.executable, "-P", "-m", "perflib.notebook.server", str(chosen_notebook("dashboard", None, notebooks)),
        f"--port={port}", "--Voila.ip=127.0.0.1", "--template=perflib", *(["--no-browser"] if no_browser else []),
    ]  # fmt: skip
    click.echo(f"http://127.0.0.1:{port}/?token={token} (Ctrl-C ends it)", err=True)
    return _become(command, environment)


def _become(command: list[str], environment: dict[str, str]) -> int:
    """Replace this process by another, so that signals reach that one. Windows starts a child process instead."""
    if os.name == "posix":
        sys.stdout.flush()
        os.execve(command[0], command, environment)
    import subprocess

    return subprocess.call(command, env=environment)


def _jupyter_environment() -> dict[str, str]:
    """Put perflib's settings and templates first, and use the kernel of this environment, not an installed one."""
    ours = Path(__file__).parents[1] / "report" / "templates"
    environment = {**os.environ, "JUPYTER_PREFER_ENV_PATH": "1"}
    for variable, folder in (("JUPYTER_CONFIG_PATH", ours / "lab"), ("JUPYTER_PATH", ours / "jupyter")):
        environment[variable] = os.pathsep.join(filter(None, (str(folder), os.environ.get(variable))))
    return environment
