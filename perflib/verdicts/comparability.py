"""Whether two runs can be compared at all: what differs between their machines, versions, suites and loads, in words.

A doubt makes the verdict inconclusive, a note only explains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from perflib.suite.load import STEADY

if TYPE_CHECKING:
    from perflib.store.recording import Run

_HOST: Final = {"cpu": "CPU", "cores": "number of cores", "machine": "architecture", "os": "operating system"}
_LENGTH: Final = ("duration_s", "requests")
_DEFAULTS: Final = {"think_time_s": 0.0}  # earlier runs hold it in every load, later ones where it is set


def differences(base: Run, candidate: Run) -> tuple[list[str], list[str]]:
    """(doubts, notes) about the two runs as wholes."""
    a, b = base.manifest, candidate.manifest
    doubts = [
        f"different {text}: {a['host'].get(key)} and {b['host'].get(key)}"
        for key, text in _HOST.items()
        if a["host"].get(key) != b["host"].get(key)
    ]
    memory = [float(m["host"].get("memory_bytes") or 0) for m in (a, b)]
    if abs(memory[0] - memory[1]) > 0.05 * max(memory):
        doubts.append(f"different memory: {memory[0] / 1e9:.1f} GB and {memory[1] / 1e9:.1f} GB")
    pythons = [str(m["versions"].get("python", "?")) for m in (a, b)]
    if _minor(pythons[0]) != _minor(pythons[1]):
        doubts.append(f"different Python: {pythons[0]} and {pythons[1]}")
    if a["suite"]["name"] != b["suite"]["name"]:
        doubts.append(f"different suites: {a['suite']['name']} and {b['suite']['name']}")
    return doubts + damage(base, candidate), _notes(a, b)


def damage(*runs: Run) -> list[str]:
    """What is wrong with their rows."""
    return [f"damaged rows in {run.id}: {said}" for run in runs for said in run.damage]


def load_differences(base: Run, candidate: Run, scenario: str) -> list[str]:
    """Why the figures of a scenario cannot be set side by side."""
    a, b = (run.spec(scenario) for run in (base, candidate))
    found = []
    shapes = load_shape(a), load_shape(b)
    if shapes[0]["load"] != shapes[1]["load"]:
        found.append(f"different loads of {scenario}: {in_words(a['load'])} and {in_words(b['load'])}")
    if shapes[0]["operations"] != shapes[1]["operations"]:
        found.append(
            f"different operations of {scenario}: {' and '.join(_mix(shape['operations']) for shape in shapes)}"
        )
    return found


def load_shape(spec: dict[str, Any]) -> dict[str, Any]:
    """What a scenario's figures depend on: its load, but not how long it goes on, and the mix of its operations."""
    return {
        "load": _shape(spec["load"]),
        "operations": {op["name"]: op.get("weight", 1.0) for op in spec["operations"]},
    }


def in_words(load: dict[str, Any]) -> str:
    """in_words({"model": "constant", "rate_per_s": 500, "duration_s": 20}) == "constant, rate_per_s 500, duration_s 20" """
    if load.get("stages"):
        return f"{load['model']} ({'; '.join(in_words(stage) for stage in load['stages'][:4])})"
    settings = [f"{key} {value:g}" for key, value in load.items() if isinstance(value, int | float) and value]
    return ", ".join([str(load["model"]), *settings])


def _notes(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    notes = [f"different commits: {_commit(a)} and {_commit(b)}"] if _commit(a) != _commit(b) else []
    packages = sorted(set(a["versions"]) | set(b["versions"]))
    changed = [
        f"{p} {a['versions'].get(p, 'none')} → {b['versions'].get(p, 'none')}"
        for p in packages
        if a["versions"].get(p) != b["versions"].get(p)
    ]
    notes += [f"different versions: {', '.join(changed)}"] if changed else []
    if a["host"].get("kernel") != b["host"].get("kernel"):
        notes.append(f"different kernels: {a['host'].get('kernel')} and {b['host'].get('kernel')}")
    if a.get("seed") != b.get("seed"):
        notes.append(f"different seeds: {a.get('seed')} and {b.get('seed')}")
    return notes


def _shape(load: dict[str, Any]) -> dict[str, Any]:
    """A load without how long it goes on, where that does not change what it is."""
    left_out = _LENGTH if load["model"] in STEADY else ()
    shape = {key: value for key, value in load.items() if key not in left_out and value != _DEFAULTS.get(key)}
    return {**shape, "stages": [_shape(stage) for stage in load["stages"]]} if load.get("stages") else shape


def _mix(weights: dict[str, float]) -> str:
    return ", ".join(f"{name} × {weight:g}" for name, weight in list(weights.items())[:6])


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _commit(manifest: dict[str, Any]) -> str:
    git = manifest.get("git")
    return f"{git['commit'][:12]}{' with uncommitted changes' if git['dirty'] else ''}" if git else "none"
