"""The GitHub Action: its steps, run as a job would run them, on a pull request that makes the example shop slow.

A job's `perflib` is the one of this environment, `gh` is a script that writes down what it was asked.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
GH = """#!/bin/sh
echo "$@" >> "$RUNNER_TEMP/asked"
[ -z "$REFUSED" ]
"""
PERFLIB = f"""#!/bin/sh
PYTHONPATH="{ROOT}" exec "{sys.executable}" -c '
from perflib.cli import main
from perflib.load import validity
for limit in ("LATE_MS", "PAUSE_MS", "BUSY_SHARE"):
    setattr(validity, limit, 1e9)  # the test is of the Action, not of how busy this machine is
main()' "$@"
"""
LOADS = ["scenarios.browse.load.duration_s=3", "scenarios.browse.load.rate_per_s=60"]


@dataclass
class Job:
    """A job on a runner: the folder of the repository, inputs, the commit of the base, and what was printed."""

    folder: Path
    inputs: dict[str, str]
    base: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    printed: str = ""

    @property
    def temp(self) -> Path:
        return self.folder.parent / "temp"

    def steps(self) -> dict[str, int]:
        """The exit code of each step; a job ends at the first that is not 0."""
        self.temp.mkdir(exist_ok=True)
        codes = {}
        for step in ACTION["runs"]["steps"]:
            if "run" in step:
                codes[step["name"]] = self._step(step)
                if codes[step["name"]]:
                    break
        return codes

    def step(self, name: str) -> int:
        return self._step(next(step for step in ACTION["runs"]["steps"] if step.get("name") == name))

    def _step(self, step: dict[str, Any]) -> int:
        told = self.temp / "output"
        told.write_text("")
        values = {name: re.sub(r"\$\{\{ (.+?) \}\}", self._value, text) for name, text in step.get("env", {}).items()}
        names = {"GITHUB_OUTPUT": told, "GITHUB_STEP_SUMMARY": self.temp / "summary", "GITHUB_PATH": self.temp / "path"}
        around = {
            **os.environ,
            **{name: str(path) for name, path in names.items()},
            **{"RUNNER_TEMP": str(self.temp), "GITHUB_WORKSPACE": str(self.folder), "GITHUB_REPOSITORY": "me/shop"},
            "PATH": f"{self.temp.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
            **self.environment,
        }
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(
            shell, cwd=self.folder, env=around | values, capture_output=True, text=True, check=False, timeout=120
        )
        self.printed += done.stdout + done.stderr
        if "id" in step:
            self.outputs[step["id"]] = dict(line.partition("=")[::2] for line in told.read_text().splitlines())
        return done.returncode

    def _value(self, found: re.Match[str]) -> str:
        """The value of an expression: the first of `a || b` that is not empty."""
        for part in found[1].split(" || "):
            place, _, name = part.partition(".")
            if place == "inputs":
                value = self.inputs.get(name, ACTION["inputs"][name].get("default", ""))
            elif place == "steps":
                step, _, output = name.partition(".outputs.")
                value = self.outputs[step].get(output, "")
            else:
                value = {
                    "github.event.pull_request.base.sha": self.base,
                    "github.event.pull_request.number": "7" if self.base else "",
                    "github.token": "a-token",
                }[part]
            if value:
                return value
        return ""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the example shop, and beside it the commands of a runner."""
    folder, commands = tmp_path / "work", tmp_path / "bin"
    shutil.copytree(ROOT / "examples" / "shop", folder / "shop")
    commands.mkdir()
    for name, text in {"gh": GH, "perflib": PERFLIB}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    for command in (("init", "-q"), ("config", "user.email", "a@b.c"), ("config", "user.name", "A")):
        subprocess.run(["git", *command], cwd=folder, check=True)
    _commit(folder)
    return folder


def _commit(folder: Path) -> str:
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "a version"], cwd=folder, check=True)
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def job(folder: Path, **more: Any) -> Job:
    arguments = " ".join(["--only browse", *(f"--set {load}" for load in LOADS)])
    return Job(folder, {"suite": "shop/shop.toml", "arguments": arguments, "repeat": "1"}, **more)


@pytest.mark.slow
def test_a_pull_request_that_makes_the_shop_slow_is_red_and_says_so(repository: Path) -> None:
    base = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True)
    app = repository / "shop" / "app.py"
    app.write_text(app.read_text().replace("SEARCH_S, SLOW_SEARCH_S = 0.010", "SEARCH_S, SLOW_SEARCH_S = 0.120"))
    _commit(repository)
    made = job(repository, base=base.stdout.strip())
    codes = made.steps()
    assert codes == dict.fromkeys(codes, 0) | {"Verdict": 1}, made.printed
    results = repository / "perflib-results"
    assert "browse" in (made.temp / "summary").read_text()
    assert (results / "report" / "report.html").is_file() and (results / "compare" / "compare.html").is_file()
    comment = (made.temp / "comment.md").read_text()
    assert comment.startswith("<!-- perflib shop/shop.toml -->") and "p95" in comment
    assert "repos/me/shop/issues/7/comments" in (made.temp / "asked").read_text()
    fork = Job(repository, made.inputs, base=made.base, environment={"REFUSED": "1"})
    assert fork.step("Comment") == 0 and "no comment" in fork.printed, "a token that may not comment fails nothing"


@pytest.mark.slow
def test_a_base_that_has_no_service_yet_is_a_warning(repository: Path) -> None:
    (repository / "shop" / "app.py").rename(repository / "shop" / "server.py")
    suite = repository / "shop" / "shop.toml"
    suite.write_text(suite.read_text().replace("app.py", "server.py"))
    made = job(repository, base="HEAD")
    codes = made.steps()
    assert set(codes.values()) == {0}, made.printed
    assert "nothing is compared" in made.printed and made.outputs["judge"]["code"] == "3"


@pytest.mark.parametrize(
    ("code", "inconclusive", "ends"),
    [("0", "warn", 0), ("1", "warn", 1), ("3", "warn", 0), ("3", "fail", 3), ("4", "warn", 4), ("2", "warn", 2)],
)
def test_what_each_exit_code_does_to_the_job(code: str, inconclusive: str, ends: int, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "temp").mkdir()
    made = Job(tmp_path / "work", {"inconclusive": inconclusive}, outputs={"judge": {"code": code}})
    assert made.step("Verdict") == ends
    assert ("::warning::" in made.printed) == (code == "3")


def test_the_page_has_every_input_and_its_job_is_short() -> None:
    page = (ROOT / "docs" / "ci.md").read_text()
    for name, about in ACTION["inputs"].items():
        assert re.search(rf"^\| `{name}` \| .* \| .+ \|$", page, re.M), name
        assert about.get("required") or "default" in about
    (example,) = (block for block in re.findall(r"```yaml\n(.*?)```", page, re.S) if "OWNER/perflib@" in block)
    assert len(example.splitlines()) <= 10
    (job,) = yaml.safe_load(example)["jobs"].values()
    assert set(job["steps"][-1]["with"]) <= set(ACTION["inputs"])
    own = yaml.safe_load((ROOT / ".github" / "workflows" / "performance.yml").read_text())
    assert set(own["jobs"]["performance"]["steps"][-1]["with"]) <= set(ACTION["inputs"])
