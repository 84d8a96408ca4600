"""The command line: parse options, call the library, print, exit. Each command imports what it needs, to start fast.

Exit codes: 0 passed · 1 an objective failed · 2 bad input · 3 inconclusive · 4 run invalid · 128 + n after signal n.
"""

from perflib.cli import (  # each adds commands
    comparing,
    exchanging,
    judging,
    production,
    running,
    serving,
    stored,
    suites,
    watching,
)
from perflib.cli.base import cli, main

__all__ = [
    "cli",
    "comparing",
    "exchanging",
    "judging",
    "main",
    "production",
    "running",
    "serving",
    "stored",
    "suites",
    "watching",
]
