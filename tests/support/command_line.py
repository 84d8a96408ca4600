"""The command line for tests: in a process of its own, or in this one, which is faster."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from click.testing import CliRunner

from perflib.cli import cli


def perflib_process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `perflib ARGUMENTS` in a process of its own and wait for its end."""
    command = [sys.executable, "-m", "perflib", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def invoke(*arguments: str) -> Any:
    """Run the command line in this process: its exit code and output. A PerflibError is what `main` would print."""
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False)
