"""The command line: parse, call, print, exit. Everything heavy is imported by the command that needs it.

Exit codes: 0 passed · 1 an objective failed · 2 bad input · 3 inconclusive · 4 run invalid · 130 interrupted.
"""

from perflib.cli import comparing, judging, running, serving, watching  # each adds its commands to the group
from perflib.cli.base import cli, main

__all__ = ["cli", "comparing", "judging", "main", "running", "serving", "watching"]
