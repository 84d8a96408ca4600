"""Whether two runs can be compared at all: what differs between their machines, versions, suites and loads, in words.

A doubt makes the verdict inconclusive, a note only explains.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, cast

from perflib.store.manifest import Manifest
from perflib.store.recording import Recording
from perflib.suite.load import STEADY
from perflib.suite.model import Load, Scenario

_HOST: Final = {"cpu": "CPU", "cores": "number of cores", "machine": "architecture", "os": "operating system"}
_LENGTH: Final = ("duration_s", "requests")
_DEFAULTS: Final = {"think_time_s": 0.0}  # earlier runs hold it in every load, later ones where it is set


def differences(base: Recording, candidate: Recording) -> tuple[list[str], list[str]]:
    """(doubts, notes) about the two runs as wholes."""
    a, b = base.manifest, candidate.manifest
    if a.imported or b.imported:
        return _meanings(a, b) + damage(base, candidate), _notes(a, b)
    doubts = [
        f"different {text}: {getattr(a.host, key)} and {getattr(b.host, key)}"
        for key, text in _HOST.items()
        if getattr(a.host, key) != getattr(b.host, key)
    ]
    memory = [float(m.host.memory_bytes) for m in (a, b)]
    if abs(memory[0] - memory[1]) > 0.05 * max(memory):
        doubts.append(f"different memory: {memory[0] / 1e9:.1f} GB and {memory[1] / 1e9:.1f} GB")
    pythons = [m.versions.get("python", "?") for m in (a, b)]
    if _minor(pythons[0]) != _minor(pythons[1]):
        doubts.append(f"different Python: {pythons[0]} and {pythons[1]}")
    if base.suite.name != candidate.suite.name:
        doubts.append(f"different suites: {base.suite.name} and {candidate.suite.name}")
    return doubts + damage(base, candidate), _notes(a, b)


def _meanings(a: Manifest, b: Manifest) -> list[str]:
    """What keeps runs of other tools from being compared: times of different meanings, and different suites."""
    meanings = [m.imported.time.meaning if m.imported else "as perflib measures it" for m in (a, b)]
    doubts = []
    if meanings[0] != meanings[1]:
        doubts.append(f"different meanings of the response time: {meanings[0]}, and {meanings[1]}")
    names = [m.suite["name"] for m in (a, b)]
    if names[0] != names[1]:
        doubts.append(f"different suites: {names[0]} and {names[1]}")
    return doubts


def damage(*runs: Recording) -> list[str]:
    """What is wrong with their rows."""
    return [f"damaged rows in {run.id}: {said}" for run in runs for said in run.damage]


def load_differences(base: Recording, candidate: Recording, scenario: str) -> list[str]:
    """Why the figures of a scenario cannot be set side by side."""
    a, b = (run.scenario(scenario).spec for run in (base, candidate))
    found = []
    shapes = load_shape(a), load_shape(b)
    if shapes[0]["load"] != shapes[1]["load"]:
        found.append(f"different loads of {scenario}: {a.load_words}, and {b.load_words}")
    if shapes[0]["operations"] != shapes[1]["operations"]:
        found.append(
            f"different operations of {scenario}: {' and '.join(_mix(shape['operations']) for shape in shapes)}"
        )
    return found


def load_shape(spec: Scenario) -> dict[str, Any]:
    """What a scenario's figures depend on: its load, but not how long it goes on, and the mix of its operations."""
    return {
        "load": _shape(spec.load),
        "operations": {operation.name: operation.weight for operation in spec.operations},
    }


def _notes(a: Manifest, b: Manifest) -> list[str]:
    notes = [f"different commits: {_commit(a)} and {_commit(b)}"] if _commit(a) != _commit(b) else []
    tools = [m.imported.tool if m.imported else "perflib" for m in (a, b)]
    if tools[0] != tools[1]:
        notes.append(f"different tools: {tools[0]} and {tools[1]}")
    if a.imported or b.imported:
        notes.append(
            "another tool does not say on which machine it ran: that both ran on the same one is for you to know"
        )
    packages = sorted(set(a.versions) | set(b.versions))
    changed = [
        f"{p} {a.versions.get(p, 'none')} → {b.versions.get(p, 'none')}"
        for p in packages
        if a.versions.get(p) != b.versions.get(p)
    ]
    notes += [f"different versions: {', '.join(changed)}"] if changed else []
    if a.host.kernel != b.host.kernel:
        notes.append(f"different kernels: {a.host.kernel} and {b.host.kernel}")
    if a.seed != b.seed:
        notes.append(f"different seeds: {a.seed} and {b.seed}")
    return notes


def _settings(load: Load) -> dict[str, Any]:
    """A load's fields that are set, as run.json of schema 1 wrote them: they tell the history's series apart."""
    fields = {field.name: getattr(load, field.name) for field in dataclasses.fields(cast(Any, load))}
    if not fields.get("pacing_s"):
        fields.pop("pacing_s", None)  # a key that older runs do not have
    return {
        **{key: _plain(value) for key, value in fields.items() if value not in (None, (), {})},
        "think_time_s": _plain(fields.get("think_time_s", 0.0)),
    }


def _plain(value: Any) -> Any:
    """A setting as JSON holds it."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _shape(load: Load) -> dict[str, Any]:
    """A load without how long it goes on, where that does not change what it is."""
    left_out = _LENGTH if load.model in STEADY else ()
    shape = {key: value for key, value in _settings(load).items() if key not in left_out}
    return {**shape, "stages": [_shape(stage) for stage in load.parts()]} if load.model == "stages" else shape


def _mix(weights: dict[str, float]) -> str:
    return ", ".join(f"{name} × {weight:g}" for name, weight in list(weights.items())[:6])


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _commit(manifest: Manifest) -> str:
    return manifest.git.words if manifest.git else "none"
