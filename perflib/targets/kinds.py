"""The classes of target kinds, found by the entry point group `perflib.targets`."""

from __future__ import annotations

from importlib.metadata import entry_points

from perflib.errors import SuiteError
from perflib.suite.target import kinds
from perflib.targets.base import TargetKind


def load_kind(name: str, where: str = "") -> type[TargetKind]:
    """The class of a target kind. Raises SuiteError for an unknown one."""
    for entry in entry_points(group="perflib.targets", name=name):
        loaded: type[TargetKind] = entry.load()
        return loaded
    raise SuiteError(f"unknown target kind {name!r}", where=where, mend=f"kinds are {', '.join(kinds())}")
