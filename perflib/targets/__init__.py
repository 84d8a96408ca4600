"""How one request is made: a target kind is one class, found by the entry point group `perflib.targets`."""

from __future__ import annotations

from importlib.metadata import entry_points

from perflib.errors import SuiteError
from perflib.suite.target import kinds
from perflib.targets.base import Lane, Op, TargetKind

__all__ = ["Lane", "Op", "TargetKind", "kinds", "load_kind"]


def load_kind(name: str, where: str = "") -> type[TargetKind]:
    """The class of a target kind. Raises SuiteError for an unknown one."""
    for entry in entry_points(group="perflib.targets", name=name):
        loaded: type[TargetKind] = entry.load()
        return loaded
    raise SuiteError(f"unknown target kind {name!r}", where=where, mend=f"kinds are {', '.join(kinds())}")
