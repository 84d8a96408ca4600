"""The rooms of the package: imports run downwards only, lazy and typing ones included, and no two files import each
other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up. A room imports only rooms of lower floors; rooms of one floor do not know each other.
FLOORS = (
    ("errors", "text"),
    ("stats",),
    ("suite", "service"),
    ("store",),
    ("targets", "metrics"),
    ("load", "verdicts"),
    ("charts", "sources", "formats"),
    ("report",),
    ("notebook",),
    ("experiments",),
    ("cli", "__init__"),
    ("__main__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MOST_ENTRIES = 20
# What a program is started by names the command line above it: the same as `python -m perflib`.
ENTRY_POINTS = {"perflib.service.__main__"}


def _module(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def _imports(path: Path, module: str, known: set[str]) -> Iterator[tuple[int, str]]:
    """Line and module of every import of ours in a file, wherever in it and for whatever it stands."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (above, node.module) if part)
            found = [
                whole if (whole := f"{source}.{alias.name}") in known or source == "perflib" else source
                for alias in node.names
            ]
        else:
            continue
        yield from ((node.lineno, name) for name in found if name.partition(".")[0] == "perflib")


def broken(package: Path) -> list[str]:
    """Each import that breaks the rule as "file:line: why"."""
    files = {_module(path, package): path for path in sorted(package.rglob("*.py"))}
    graph: dict[str, dict[str, int]] = {}
    said = []
    for module, path in files.items():
        graph[module] = {}
        if module in ENTRY_POINTS:
            continue
        for line, target in _imports(path, module, set(files)):
            where = f"{path.relative_to(package.parent)}:{line}"
            ours, theirs = _room(module), _room(target)
            if theirs not in FLOOR or (
                target not in files and theirs != "__init__" and f"perflib.{theirs}" not in files
            ):
                theirs = "__init__"  # a public name of the package itself
            if target in files:
                graph[module].setdefault(target, line)
            if ours != theirs and FLOOR[theirs] >= FLOOR.get(ours, -1):
                said.append(f"{where}: {ours} (floor {FLOOR.get(ours, '?')}) imports {target} (floor {FLOOR[theirs]})")
    for module, others in graph.items():
        for other, line in others.items():
            if module < other and module in graph[other]:
                said.append(
                    f"{files[module].relative_to(package.parent)}:{line}: {module} and {other} import each other"
                )
    return said + _circles(graph)


def _circles(graph: dict[str, dict[str, int]]) -> list[str]:
    """Circles of more than two files, each once."""
    said: list[str] = []
    done: set[str] = set()

    def visit(module: str, above: list[str]) -> None:
        if module in above:
            circle = above[above.index(module) :]
            if len(circle) > 2:
                said.append(f"a circle: {' → '.join([*circle, module])}")
            return
        if module in done:
            return
        for other in graph[module]:
            visit(other, [*above, module])
        done.add(module)

    for module in graph:
        visit(module, [])
    return said


def test_imports_run_downwards_only() -> None:
    assert broken(ROOT / "perflib") == []


def test_the_package_has_few_entries() -> None:
    entries = [path.name for path in (ROOT / "perflib").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES, sorted(entries)
    unknown = {name.removesuffix(".py") for name in entries} - set(FLOOR) - {"py.typed"}
    assert not unknown, f"rooms without a floor: {unknown}"


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("stats/planted.py", "def late():\n    from perflib.report import "
                             "render\n", "stats/planted.py:2: stats (floor 1)"),
        ("store/planted.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import "
                             "perflib.cli.base\n", "store/planted.py:3"),
        ("text/planted.py", "from perflib import errors\n", "text/planted.py:1: text (floor 0)"),
        ("targets/planted.py", "from perflib.metrics import counts\n", "targets/planted.py:1"),
    ],
)  # fmt: skip
def test_a_wrong_import_is_named_by_its_line(tmp_path: Path, file: str, text: str, reason: str) -> None:
    package = tmp_path / "perflib"
    for path in (ROOT / "perflib").rglob("*.py"):
        copy = package / path.relative_to(ROOT / "perflib")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("")
    (package / file).write_text(text)
    assert [line for line in broken(package) if reason in line]


def test_two_files_that_import_each_other_are_named(tmp_path: Path) -> None:
    package = tmp_path / "perflib"
    (package / "stats").mkdir(parents=True)
    (package / "stats" / "one.py").write_text("from perflib.stats import two\n")
    (package / "stats" / "two.py").write_text("from perflib.stats.one import something\n")
    assert any("import each other" in line for line in broken(package))
