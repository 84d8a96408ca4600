"""The common part of all commands: the group, error messages, options, tables, exit codes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from perflib.cli.habits import message
from perflib.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAIL,
    EXIT_INCONCLUSIVE,
    EXIT_INTERRUPTED,
    EXIT_INVALID,
    EXIT_PASS,
    PerflibError,
)
from perflib.load import interrupts
from perflib.suite.redaction import StruckOut, struck_out
from perflib.text import cleaned, one_line

if TYPE_CHECKING:
    from perflib.store.recording import ScenarioRun
    from perflib.verdicts.run import Run

DATA = click.option(
    "--data",
    type=click.Path(file_okay=False),
    metavar="FOLDER|URL",
    help="Folder of the runs, default: data; or the URL of an object store, like s3://bucket/prefix.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
BASELINE = click.option("--baseline", metavar="NAME|RUN", help="The baseline or run to compare with.")
NOTIFY = click.option(
    "--notify",
    metavar="URL",
    help="Send missed and worse figures to this webhook, in Slack's format; ${NAME} is read from the environment.",
)
OBJECTIVE = click.option(
    "--objective",
    "objectives",
    multiple=True,
    metavar="TEXT",
    help='What must hold in each scenario, like "p95 response < 250 ms"; may be repeated.',
)
FORCE = click.option("--force", is_flag=True, help="Judge although the runs differ, for example in machine or load.")
MARGIN = click.option(
    "--margin",
    multiple=True,
    metavar="METRIC=PERCENT",
    help=(
        "Judge this metric, and pass a worsening of so many percent. Defaults: 5 for p50, throughput; 10 for p95; 0.5 "
        "percentage points for errors; of several runs a side also 10 for memory, cpu. `p95=off` shows p95 without "
        "judging it, `buy: p95=30` is of one operation."
    ),
)
EXIT = click.option(
    "--exit",
    "exits",
    multiple=True,
    metavar="WORD=CODE",
    help="The exit code of the verdict inconclusive or worse, instead of 3: inconclusive=0, worse=1.",
)
NOTEBOOK = click.option(
    "--notebook", metavar="FILE", help="Execute this notebook, with the same parameters, instead of perflib's."
)
NOTEBOOKS = click.option(
    "--notebooks",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="PERFLIB_NOTEBOOKS",
    show_envvar=True,
    help="A folder whose notebooks replace those of perflib with the same name.",
)
LONGEST_MESSAGE = 4000  # characters of the one line about an error
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # errors of a write that do not name the file


LEAST_BYTES = 2_500_000_000  # of address space that the libraries reserve, which they mostly do not use
LEAST_BYTES_PER_CORE = 250_000_000  # for the stacks and arenas of their threads
WITHOUT_LIBRARIES = ("serve", "mcp", "notebooks", "lab", "dashboard")  # commands that need neither Arrow nor DuckDB


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="perflib-workbench")
@click.pass_context
def cli(context: click.Context) -> None:
    """Run load tests. Every request is stored as a row, and every verdict is based on an interval.

    \b
    perflib example                               copy a small shop to practise on, with its suites
    perflib try checkout.toml                     send each operation once, and print request and answer
    perflib run                                   run the acceptance suite on the reference service
    perflib run checkout.toml --only browse       run one scenario of your own suite
    perflib report                                render the latest run to reports/<run>/report.html
    perflib check                                 print its verdicts; the exit code is the worst one
    perflib compare main latest                   compare it with the baseline `main`

    \b
    Exit codes: 0 passed, 1 an objective failed, 2 bad input, 3 inconclusive, 4 run invalid,
    128 + n interrupted by signal n (Ctrl-C: 130).
    """
    _check_address_space(context.invoked_subcommand)


def _check_address_space(command: str | None) -> None:
    """Raise PerflibError where a limit (`ulimit -v`) is so low that the libraries would crash instead of saying so."""
    if sys.platform == "win32" or command in WITHOUT_LIBRARIES:
        return
    import resource

    limit, needed = (
        resource.getrlimit(resource.RLIMIT_AS)[0],
        LEAST_BYTES + LEAST_BYTES_PER_CORE * (os.cpu_count() or 1),
    )
    if limit != resource.RLIM_INFINITY and limit < needed:
        what = f"the address space is limited to {limit / 1e9:.1f} GB, and {needed / 1e9:.1f} GB are needed"
        raise PerflibError(what, where="ulimit -v", mend="raise it; a cgroup bounds memory without bounding addresses")


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: errors become one line on stderr and their exit code. Nothing prints a secret."""
    out, err = cast(TextIO, StruckOut(sys.stdout)), cast(TextIO, StruckOut(sys.stderr))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), interrupts.raised():
        _main(arguments)


def _main(arguments: Sequence[str] | None) -> None:
    try:
        code = cli.main(
            args=list(arguments) if arguments is not None else None, prog_name="perflib", standalone_mode=False
        )
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort as abort:
        _die("interrupted", interrupts.exit_code(abort.__cause__))
    except KeyboardInterrupt as interrupt:
        _die("interrupted", interrupts.exit_code(interrupt))
    except click.exceptions.NoArgsIsHelpError as asked:
        asked.show()
        sys.exit(EXIT_BAD_INPUT)
    except click.ClickException as error:
        context: click.Context | None = getattr(error, "ctx", None)
        see = f"; see: {context.command_path} --help" if context else ""
        _die(f"{message(error)}{see}", EXIT_BAD_INPUT)
    except PerflibError as error:
        _die(str(error), error.exit_code)
    except MemoryError:
        _die("not enough memory; end other programs, or raise the limit of this one", EXIT_INVALID)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if type(error).__name__ == "InvalidInputException":  # of DuckDB: a value in the part files of a large run
            _die("the rows hold text that is not UTF-8; restore their files from a copy", EXIT_BAD_INPUT)
        if not isinstance(error, OSError) or (error.filename is None and error.errno not in FULL):
            raise
        where, room = f"{error.filename}: " if error.filename else "", "free some space, or " * (error.errno in FULL)
        _die(f"{where}{error.strerror}; {room}choose another folder", EXIT_INVALID)


def chosen_notebook(default: str, named: str | None, folder: Path | None, takes: Sequence[str] = ()) -> Path:
    """The notebook to execute: perflib's, or the one that the user names. Raises SuiteError if parameters are missing.

    takes: the parameters that it must declare
    """
    from perflib.report import notebooks, parameters

    source = notebooks.find(named or default, folder)
    if source.parent != notebooks.packaged():
        parameters.check_names(source, takes)
    return source


def print_verdicts(run: Run, codes: Mapping[str, int] | None = None) -> int:
    """Print the table of verdicts, and the run's. Returns its exit code."""
    verdicts = run.verdicts()
    rows = [
        {
            "scenario": v.scenario,
            "objective": v.objective.text,
            "observed": "{} [{}]".format(*v.observed),
            "n": f"{v.interval.n:,}",
            "verdict": v.verdict.upper(),
            "": v.reason,
        }
        for v in verdicts
    ]
    if rows:
        print_table(rows, False)
    for reason in run.manifest.reasons:
        click.echo(reason, err=True)
    _print_cautions(run)
    word = run.verdict
    click.echo(
        f"{run.id}: {word.upper()}"
        if any(v.judged for v in verdicts) or word == "invalid"
        else f"{run.id}: no objectives to judge"
    )
    if run.status == "complete" and (steps := run.next_steps()):
        click.echo(f"Next: {steps[0].text}", err=True)
    return exit_code(run, word, codes)


def _print_cautions(run: Run) -> None:
    """Print what was cut as warm-up and what speaks against the figures, each once, with the scenarios it is about."""
    from perflib.verdicts.next_steps import cautions

    about: dict[str, list[str]] = {}
    for name, text in cautions(run):
        about.setdefault(text, []).append(name)
    for text, names in about.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        click.echo(f"{', '.join(names[:3])}{more}: {text}", err=True)


def print_trouble(run: Run) -> None:
    """Print why requests of each scenario failed, in words."""
    for scenario in run.manifest.scenarios:
        for said in scenario.trouble:
            click.echo(f"{scenario.name}: {said}")


def print_samples(run: Run) -> None:
    """Print for each kind of failure the first sample: what was asked, and what was answered."""
    for (scenario, operation, error), taken in run.samples().groupby(
        ["scenario", "operation", "error"], observed=True, sort=False
    ):
        first = taken.iloc[0]
        answer = "\n".join((first["head"].partition("\n")[0], first["body"] or first["message"]))
        asked = one_line(first["request"], 80) or "nothing was sent"
        of = cleaned(f"{scenario}, {operation}, {error}")
        click.echo(f"  {of}: {asked} → {one_line(answer, 160) or 'no answer'}")


def exit_codes(texts: Sequence[str]) -> dict[str, int]:
    """Parse --exit: ("worse=1",) becomes {"worse": 1}."""
    codes = {}
    for text in texts:
        word, _, code = (part.strip() for part in text.partition("="))
        if word not in ("inconclusive", "worse") or code not in ("0", "1", "3"):
            raise click.UsageError(f"--exit {text!r}: write it like inconclusive=0, or worse=1; codes are 0, 1 and 3")
        codes[word] = int(code)
    return codes


def margins_of(texts: Sequence[str], option: str = "--margin") -> dict[str, float | None]:
    """Parse --margin: ("p95=15",) becomes {"p95": 15.0}."""
    margins: dict[str, float | None] = {}
    for text in texts:
        key, _, value = text.rpartition("=")
        try:
            margins[key.strip()] = None if value.strip() == "off" else float(value.strip().rstrip("%"))
        except ValueError:
            raise click.UsageError(f"{option} {text!r}: write it like p95=15, or p95=off") from None
    return margins


def worst_code(*codes: int) -> int:
    """The most serious of several exit codes."""
    return max(codes, key=(EXIT_PASS, EXIT_INCONCLUSIVE, EXIT_FAIL, EXIT_INVALID, EXIT_INTERRUPTED).index)


def exit_code(run: Run, word: str, codes: Mapping[str, int] | None = None) -> int:
    """The exit code of a run's verdict."""
    from perflib.stats.decisions import Outcome

    if run.status == "interrupted":
        return EXIT_INTERRUPTED
    has_objectives = any(scenario.objectives for scenario in run.suite.scenarios)
    if word == "inconclusive" and not has_objectives:
        return EXIT_PASS
    return (codes or {}).get(word, Outcome(word).exit_code)


def print_table(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        click.echo("none")
        return
    from perflib.text import table

    click.echo(table(rows))


def print_figures(run: Run) -> None:
    """Print the figures of each scenario as a table."""
    from perflib.metrics.scenario import shown_time
    from perflib.text import number

    print_table(
        [
            {
                "scenario": s["name"],
                "requests": f"{s['requests']:,}",
                "errors": f"{s['errors']:,}",
                "/s": number(s["throughput_per_s"]),
                **{f"{key} ms": shown_time(s, key) for key in ("p50", "p95", "p99", "max")},
                "cut as warm-up": _cut(run.scenario(s["name"])),
            }
            for s in run.summary()["scenarios"]
        ],
        False,
    )


def _cut(scenario: ScenarioRun) -> str:
    """How long the warm-up was that is left out of the figures, and its share of the load: 1.2 s (12 %)."""
    estimated, start_ns, whole_s = scenario.warmup_end_ns, scenario.record.start_ns or 0, scenario.record.seconds
    set_s = scenario.spec.warmup_s
    cut_s = (estimated - start_ns) / 1e9 if estimated else set_s
    return f"{cut_s:.1f} s ({100 * cut_s / whole_s:.0f} %)" if cut_s > 0 and whole_s else "nothing"


def _die(message: str, code: int) -> None:
    click.echo(one_line(struck_out(f"perflib: {message}"), LONGEST_MESSAGE), err=True)
    sys.exit(code)
