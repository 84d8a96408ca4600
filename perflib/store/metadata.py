"""What could explain a difference between two runs: host, versions, commit; and what must not be written: secrets."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from perflib.suite.model import Suite
from perflib.suite.objectives import ErrorBurst, Objective

DISTRIBUTION: Final = "perflib-workbench"  # what is installed; its package and its command are called perflib
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
_SECRET: Final = re.compile(r"auth|token|secret|passw|cookie|credential|api[-_]?key|session", re.IGNORECASE)
_USERINFO: Final = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY: Final = re.compile(r"([?&][^=&\s]*(?:token|key|secret|passw|auth)[^=&\s]*=)[^&\s]+", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"(?:[A-Za-z]+ )?\$\{\w+\}|\{\w+\}")
REDACTED: Final = "•••"


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
    """The version of perflib, "unknown" where it is on the path without having been installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "perflib": perflib_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git() -> dict[str, Any] | None:
    """The commit of the working directory, None where it is not in a repository."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=5
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=5
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(dirty)}


def redacted(suite: Suite) -> dict[str, Any]:
    """The suite as plain data, fit for run.json: secrets struck out, functions named, defaults left out."""
    found: dict[str, Any] = _plain(suite)
    return found


def redact_text(text: str) -> str:
    """A `--set` option or a URL without what looks like a secret."""
    key, separator, _ = text.partition("=")
    if separator and _SECRET.search(key):
        return f"{key}={REDACTED}"
    return _without_secrets(text)


def _plain(value: Any, key: str = "") -> Any:
    if isinstance(value, Objective | ErrorBurst):
        return value.text
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {name: _plain(v, name) for name, v in fields.items() if v not in (None, (), {}) and name != "folder"}
    if isinstance(value, dict) or hasattr(value, "items"):
        return {k: _hidden(k, v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [REDACTED if _follows_secret_flag(value, i) else _plain(v, key) for i, v in enumerate(value)]
    if callable(value):
        return f"{getattr(value, '__module__', '?')}:{getattr(value, '__qualname__', repr(value))}"
    return _without_secrets(value) if isinstance(value, str) else value


def _without_secrets(text: str) -> str:
    return _QUERY.sub(rf"\g<1>{REDACTED}", _USERINFO.sub(f"{REDACTED}@", text))


def _follows_secret_flag(values: Any, at: int) -> bool:
    """`--token`, then this."""
    flag = values[at - 1] if at else ""
    return (
        isinstance(flag, str)
        and flag.startswith("-")
        and bool(_SECRET.search(flag))
        and not _REFERENCE.fullmatch(str(values[at]))
    )


def _hidden(key: Any, value: Any) -> Any:
    """Struck out under a telling name, unless it is only a reference to the environment."""
    if isinstance(value, str) and _SECRET.search(str(key)) and not _REFERENCE.fullmatch(value):
        return REDACTED
    return _plain(value, str(key))


def _cpu_name() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def python_call(
    source: str,
    only: Any,
    quick: bool,
    seed: int | None,
    overrides: Any,
    command: str = "run",
    more: Sequence[str] = (),
) -> str:
    """The command line that does the same as this call of `perflib.run`, or of another command with `more` options."""
    import shlex

    words = ["perflib", command, source, *more]
    words += [word for name in only for word in ("--only", name)]
    words += ["--quick"] if quick else []
    words += ["--seed", str(seed)] if seed is not None else []
    words += [word for text in overrides for word in ("--set", redact_text(text))]
    return shlex.join(words)
