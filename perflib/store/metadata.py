"""Metadata that may explain a difference between two runs: host, versions, commit, command line."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from perflib.suite.redaction import redact_text, struck_out

DISTRIBUTION: Final = "perflib-workbench"  # the installed distribution; the package and the command are named perflib
PACKAGES: Final = (
    "numpy",
    "pandas",
    "pyarrow",
    "duckdb",
    "uvloop",
    "httptools",
    "scipy",
    "matplotlib",
    "papermill",
    "psutil",
    "mcp",
)


def host() -> dict[str, Any]:
    import psutil

    return {
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "os": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def perflib_version() -> str:
    """The version of perflib, or "unknown" if it is on the path without being installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def versions() -> dict[str, str]:
    installed = {"python": platform.python_version(), "perflib": perflib_version()}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def git() -> dict[str, Any] | None:
    """The commit of the working directory, or None outside a repository."""
    try:
        commit, committed_s = _git("show", "--no-patch", "--no-show-signature", "--format=%H %ct", "HEAD").split()
        dirty = _git("status", "--porcelain")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    committed_at = datetime.fromtimestamp(int(committed_s), UTC).isoformat()
    return {"commit": commit, "dirty": bool(dirty), "committed_at": committed_at}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=5).stdout.strip()


def _cpu_name() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def python_call(
    source: str | None,
    only: Any,
    quick: bool,
    seed: int | None,
    overrides: Any,
    command: str = "run",
    more: Sequence[str] = (),
) -> str:
    """The command line that is equal to this call of `perflib.run`, or of another command with `more` options.

    source: the suite's file or name; None for a suite that was made in Python, which no command repeats: ""
    """
    import shlex

    if source is None:
        return ""
    words = ["perflib", command, source, *more]
    words += [word for name in only for word in ("--only", name)]
    words += ["--quick"] if quick else []
    words += ["--seed", str(seed)] if seed is not None else []
    words += [word for text in overrides for word in ("--set", redact_text(text))]
    return shlex.join(map(struck_out, words))
