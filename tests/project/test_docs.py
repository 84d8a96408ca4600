"""README.md and docs/: every block of code and every command in them is executed, every link leads somewhere, what is
made from code is up to date.

A page is worked through from top to bottom in a folder of its own, as a reader would: a block that follows "`name`:" is
written to that file, a toml block is a suite or a part of one, `sh` lines are run by the real command line, `python`
blocks are one script. Loads are cut short, the service of the examples is one of ours, and the commands of NOT_RUN are
only looked at.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from pydantic import TypeAdapter

import perflib
from perflib import charts
from perflib.cli import cli
from perflib.errors import PerflibError
from perflib.store import schema
from perflib.suite.file import load_suite
from perflib.suite.model import GROUPS, Compare, Load, Operation, Target
from perflib.suite.objectives import Objective
from tests.support.pages import ROOT, Block, blocks, typed
from tests.support.service import Server
from tools import reference
from tools.pictures import CHARTS, LARGEST, PICTURES

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TUTORIAL = sorted((ROOT / "docs" / "tutorial").glob("*.md"))  # typed from a wheel in test_wheel.py
REPOSITORY = "https://github.com/OWNER/perflib"  # wherever it will be
SECONDS = "1.5"
VERDICTS = (0, 1, 3)

NOT_RUN = {
    """perflib ab options --only reads --a 'targets.service.env.PERFLIB_SERVE_POOL="0"' --looks 1""": (
        "the one before it is run"
    ),
    """perflib ab options --only one_validation --b 'targets.service.env.PERFLIB_SERVE_PARALLEL="4"' --looks 1""": (
        "the same"
    ),
    "make report": "the acceptance suite at full size; `.ci/run` runs it shortened",
    "make test": "this is it",
    'uv tool install "perflib-workbench[service] @ git+https://github.com/OWNER/perflib"': "it is installed already",
    'pipx install "perflib-workbench[service] @ git+https://github.com/OWNER/perflib"': "the same",
    'pip install "perflib-workbench[service] @ git+https://github.com/OWNER/perflib"': "the same",
    'pip install "./perflib_workbench-0.1.0-py3-none-any.whl[service]"': "a wheel is installed in test_wheel.py",
    "pip install -e .": "its entry point is written by hand",
    "perflib report --notebook capacity": "rendered in test_capacity.py",
    "perflib report --notebook notebooks/report.ipynb --out own": "rendered in test_wheel.py",
    "perflib report --notebook overhead": "rendered in test_overhead.py",
    "perflib run overhead": "run in test_overhead.py",
    "perflib run sessions": "run in test_overhead.py",
    "perflib run shop.toml --remote-write http://127.0.0.1:9090/api/v1/write": "run in test_live.py",
    "perflib run shop.toml --otlp http://127.0.0.1:4318 "
    '--push-header "Authorization: Bearer ${OTLP_TOKEN}"': "the same",
    "perflib import prometheus http://127.0.0.1:9090 --query 'http_request_duration_seconds{job=\"shop\"}' --by route "
    "--last 86400": "run in test_summaries.py",
    "perflib compare RUN_OF_PRODUCTION latest": "the same",
    "perflib run again.toml --set scenarios.replay.load.speed=2": "run in test_replay.py",
    "perflib run shop.toml --repeat 3": "run in test_repeat.py",
    "perflib run shop.toml --until p95=20 --repeat 4": "the same",
    'pip install "perflib-workbench[dask]"': "it is installed already",
    "dask scheduler": "a cluster is started in test_cluster.py",
    "dask worker tcp://scheduler:8786 --nthreads 2": "the same",
    "perflib run shop.toml --dask tcp://scheduler:8786 --data /shared/data": "the same",
    'pip install "perflib-workbench[dask,s3]"': "it is installed already",
    "perflib run shop.toml --dask tcp://scheduler:8786 --data s3://bucket/team": "run in test_store.py",
    "perflib report --data s3://bucket/team": "the same",
    "perflib run shop.toml --dask tcp://scheduler:8786 --data /shared/data --on-lost continue": "the same",
}  # fmt: skip
EVERYTHING = "tests.support.everything_server"  # stands in for the MCP server that npx would fetch
STAND_INS = {
    '"npx", "-y", "@modelcontextprotocol/server-everything"': f'"{{python}}", "-m", "{EVERYTHING}"',
    "npx -y @modelcontextprotocol/server-everything": f"{sys.executable} -m {EVERYTHING}",
    "perflib serve --stdio": f"{sys.executable} -m perflib.service --stdio",
}
RENDERED: set[str] = set()


@dataclass
class Reader:
    """Works through a page in the current folder."""

    url: str
    script: list[str] = field(default_factory=list)

    def __call__(self, block: Block) -> None:
        text = block.text.replace("http://127.0.0.1:8000", self.url)
        for said, done in STAND_INS.items():
            text = text.replace(said, done)
        if block.file and block.language != "python":
            Path(block.file).write_text(text)
        getattr(self, block.language)(block, text)

    def toml(self, block: Block, text: str) -> None:
        if block.file == "pyproject.toml":
            _install(tomllib.loads(text))
        elif block.file or "[[scenarios" in text:
            assert tomllib.loads(text), block
        else:
            for line in text.splitlines():
                self.key(*tomllib.loads(line).popitem())

    def key(self, name: str, value: Any) -> None:
        """A single key as it may stand in a scenario."""
        if name == "objectives":
            assert all(Objective.parse(text) for text in value)
            return
        kinds: dict[str, Any] = {
            "compare": Compare,
            "load": Load,
            **dict.fromkeys(GROUPS, tuple[Operation, ...]),
            "targets": dict[str, Target],
        }
        for stage in value.get("stages", ()) if name == "load" and value["model"] == "stages" else ():
            stage.setdefault("model", "ramp" if "to" in stage else "constant")
        TypeAdapter(kinds[name]).validate_python(value)

    def python(self, block: Block, text: str) -> None:
        text = re.sub(r"duration_s=\d+", f"duration_s={SECONDS}", text)
        if block.file:
            Path(block.file).write_text(text)
        if "def test_" in text:
            Path("test_mine.py").write_text(text)
            again = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "test_mine.py",
                "--perflib-quick",
                "--perflib-report=failed",
                "--perflib-data",
                "mine",
            ]
            done = subprocess.run(again, capture_output=True, text=True, timeout=120, check=False)
            assert re.search(r"1 (passed|failed|skipped)", done.stdout), done.stdout
            assert "Traceback" not in done.stdout, done.stdout
        elif not block.file or block.file == "squares.py":
            self.script.append(text)

    def sh(self, block: Block, text: str) -> None:
        for line in text.splitlines():
            command, ends = typed(line)
            if command not in NOT_RUN and command not in RENDERED:
                self.command(command, f"{block}: {line}", () if ends is None else (ends,))

    def command(self, command: str, where: str, codes: tuple[int, ...] = ()) -> None:
        """Runs it, shortened; with `codes` at full length, as it must end in one of them."""
        if command.startswith("make "):
            assert re.search(rf"^{command[5:]}:", (ROOT / "Makefile").read_text(), re.M), where
            return
        name, *arguments = shlex.split(command)
        assert name == "perflib", where
        if arguments[0] == "report" or "--out" in arguments:
            RENDERED.add(command)  # a notebook takes seconds: once is enough
        if arguments[0] == "run" and not codes:
            arguments += _shorter(arguments)
        if arguments[0] == "ab":
            arguments += ["--block", "0.2", "--budget", "1.5"]
        done = CliRunner().invoke(cli, arguments, standalone_mode=False)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            said = done.exception if isinstance(done.exception, PerflibError) else repr(done.exception)
            pytest.fail(f"{where}: {said}\n{done.output}")
        assert (done.return_value or 0) in (codes or VERDICTS), f"{where}: exit code {done.return_value}\n{done.output}"
        if arguments[0] == "run" and "--data" not in arguments and "--repeat" not in arguments:
            good = perflib.open_run("latest").sql("select scenario, sum(ok::int) as good from rows group by scenario")
            assert (good["good"] > 0).all(), f"{where}: nothing was answered\n{done.output}"

    def csv(self, block: Block, text: str) -> None:
        assert block.file, block

    def yaml(self, block: Block, text: str) -> None:
        assert yaml.safe_load(text), block

    def text(self, block: Block, text: str) -> None:
        """What something looks like: nothing to run."""

    javascript = groovy = text

    def bash(self, block: Block, text: str) -> None:
        """A script for a machine of CI."""
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}: {done.stderr}"

    def finish(self) -> None:
        if self.script:
            Path("script.py").write_text("\n".join(self.script))
            environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path.cwd()}"}
            done = subprocess.run(
                [sys.executable, "script.py"], capture_output=True, text=True, timeout=120, env=environment, check=False
            )
            assert done.returncode == 0, done.stderr[-3000:]


def _shorter(arguments: list[str]) -> list[str]:
    """--set options that make every load of a suite short."""
    if arguments[1].endswith(".toml"):
        scenarios = load_suite(arguments[1]).scenarios
        keys = {s.name: "step_s" if s.load.model == "steps" else "duration_s" for s in scenarios}
        return [part for name, key in keys.items() for part in ("--set", f"scenarios.{name}.load.{key}={SECONDS}")]
    return []


def _install(project: dict[str, Any]) -> None:
    """What `pip install -e .` would leave on the path: the project's entry points."""
    folder = Path(f"{project['project']['name'].replace('-', '_')}-{project['project']['version']}.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text(f"Name: {project['project']['name']}\nVersion: {project['project']['version']}\n")
    groups = project["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups.items()]
    (folder / "entry_points.txt").write_text("\n".join(lines))


def ours(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix("").as_posix().removeprefix("docs/")


@pytest.mark.parametrize("page", [page for page in PAGES if page not in TUTORIAL], ids=ours)
def test_every_block_runs(page: Path, service: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "secret")
    monkeypatch.setenv("SLACK_URL", "http://127.0.0.1:9/")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    reader = Reader(service.url)
    if page.stem in NEEDS:
        NEEDS[page.stem](reader)
    for block in blocks(page):
        reader(block)
    reader.finish()


def _shop(reader: Reader) -> None:
    """The example shop and its suite, in this folder."""
    reader.command("perflib example .", "the example")


def _a_run(reader: Reader) -> None:
    """A run whose scenario is `browse`."""
    _shop(reader)
    reader.command("perflib run shop.toml", "shop.toml")


def _runs_of_all_kinds(reader: Reader) -> None:
    """One run with all the scenarios that the catalogue of charts names; a baseline, and a history."""
    ways = [f'{{ name = "{name}", target = "api", path = "/ping" }}' for name in ("HTTP", "direct")]
    Path("all.toml").write_text(f"""
name = "all"
[targets.api]
kind = "http"
url = "{reader.url}"
[[scenarios]]
name = "browse"
target = "api"
operations = [{{ name = "stats", path = "/stats" }}]
load = {{ model = "poisson", rate_per_s = 100, duration_s = 2 }}
[[scenarios]]
name = "mcp_overhead"
order = "interleaved"
operations = [{", ".join(ways)}]
load = {{ model = "closed", concurrency = 1, requests = 100 }}
objectives = ["HTTP vs direct: median difference < 5 ms"]
[[scenarios]]
name = "rising"
target = "api"
operations = [{{ name = "ping", path = "/ping" }}]
load = {{ model = "steps", from = 40, to = 120, step_per_s = 20, step_s = 0.5 }}
objectives = ["p95 response < 2 s"]
""")
    for _ in range(2):  # one run alone has no history
        done = CliRunner().invoke(cli, ["run", "all.toml"], standalone_mode=False)
        assert done.return_value in VERDICTS, done.output
    for command in ("baseline set main", "history"):
        CliRunner().invoke(cli, command.split(), standalone_mode=False, catch_exceptions=False)


NEEDS = {"ci": _a_run, "report": _a_run, "rows": _a_run, "charts": _runs_of_all_kinds}


def test_what_is_not_run_is_still_there() -> None:
    said = {
        typed(line)[0]
        for page in PAGES
        for block in blocks(page)
        if block.language == "sh"
        for line in block.text.splitlines()
    }
    assert set(NOT_RUN) <= said


def test_the_reference_of_the_suite_is_made_from_the_code() -> None:
    page = reference.PAGE.read_text("utf-8")
    assert reference.filled(page) == page, "docs/suite.md is not up to date: python -m tools.reference"


def test_the_page_of_the_rows_has_every_column_and_its_type() -> None:
    page = (ROOT / "docs" / "rows.md").read_text("utf-8")
    for name, columns in schema.TABLES.items():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        told = re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.M)
        kinds = {"double": "float64"}
        assert told == [
            (
                f.name,
                "text"
                if "dictionary" in str(f.type) or str(f.type) == "string"
                else kinds.get(str(f.type), str(f.type)),
            )
            for f in columns
        ]


def test_every_chart_is_in_the_catalogue_with_a_small_picture() -> None:
    page = (ROOT / "docs" / "charts.md").read_text("utf-8")
    assert set(CHARTS) == set(charts.__all__)
    for name in charts.__all__:
        assert re.search(rf"!\[.+\]\(pictures/{name}\.png\)", page), name
        assert f"charts.{name}(" in page, name
    sizes = {path.name: path.stat().st_size for path in PICTURES.glob("*.png")}
    assert max(sizes.values()) <= LARGEST
    assert sum(sizes.values()) <= 800_000
    assert set(sizes) == {f"{name}.png" for name in (*CHARTS, "report")}


@pytest.mark.parametrize("page", PAGES, ids=ours)
def test_every_link_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    for link in links:
        inside = re.sub(rf"^{REPOSITORY}/(blob|tree)/main/", f"{os.path.relpath(ROOT, page.parent)}/", link)
        if inside.startswith("https://"):
            continue  # to somebody else's page, which no test asks for
        path, _, part = inside.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name}: {link}"
        if part:
            heads = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M)
            assert part in {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}, (
                f"{page.name}: {link}"
            )


def test_the_readme_is_short() -> None:
    assert len(PAGES[0].read_text("utf-8").splitlines()) <= 150
