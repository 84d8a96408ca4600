"""Without the optional parts: runs and verdicts work, and what needs a missing part is one line that names it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONAL = (
    "mcp", "starlette", "uvicorn", "markdown_it", "multipart", "python_multipart",  # service, mcp
    "jupyterlab", "ipympl", "ipywidgets", "voila", "jupyter_server",  # lab
    "distributed", "dask", "fsspec", "mkdocs",  # dask, s3, docs
    "prometheus_client", "opentelemetry", "google",  # prometheus
)  # fmt: skip
HOOK = f"""
import sys
from importlib.machinery import PathFinder
class Missing(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {OPTIONAL!r} else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Missing
"""
NAPS = """
name = "naps"
targets.here = { kind = "callable", function = "time:sleep" }
[[scenarios]]
name = "napping"
target = "here"
operations = [{ name = "nap", args = [0.001] }]
load = { model = "closed", concurrency = 2, requests = 400 }
objectives = ["error rate < 50 %"]
"""
SDK = """
name = "sdk"
targets.server = { kind = "mcp", command = ["{python}", "-m", "tests.support.everything_server"], client = "sdk" }
[[scenarios]]
name = "calls"
target = "server"
operations = [{ name = "ping", method = "ping" }]
load = { model = "closed", concurrency = 1, requests = 2 }
"""


def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in an environment without the optional parts, which each of its processes lacks."""
    Path("missing").mkdir(exist_ok=True)
    Path("missing/sitecustomize.py").write_text(HOOK)
    environment = {**os.environ, "PYTHONPATH": f"{Path('missing').resolve()}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "perflib", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_a_run_needs_no_optional_part() -> None:
    Path("naps.toml").write_text(NAPS)
    done = typed("run", "naps.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("serve --http 0", "service"),
        ("lab", "lab"),
        ("dashboard --no-browser", "lab"),
        ("run naps.toml --dask tcp://127.0.0.1:9", "dask"),
        ("runs --data memory://bucket/runs", "s3"),
        ("try sdk.toml", "mcp"),
        ("run naps.toml --metrics :0", "prometheus"),
    ],
)
def test_what_needs_a_missing_part_is_one_line_that_names_it(command: str, extra: str) -> None:
    Path("naps.toml").write_text(NAPS)
    Path("sdk.toml").write_text(SDK)
    done = typed(*command.split())
    assert done.returncode in (2, 4), done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert f'pip install "perflib-workbench[{extra}]"' in done.stderr
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_the_shop_says_what_it_needs() -> None:
    typed("example")
    environment = {**os.environ, "PYTHONPATH": str(Path("missing").resolve())}
    done = subprocess.run(
        [sys.executable, "shop/app.py"], env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert 'pip install "perflib-workbench[service]"' in done.stderr
