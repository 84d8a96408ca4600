"""What tests share lies in tests/support: no test module imports another one, and support imports nothing above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def _imported(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every module and member of `tests` that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ["tests", *path.relative_to(root).parent.parts]
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{source}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "tests")


def _named(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string that names a function of a test module, as a target's `function` does."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("tests."):
            yield node.lineno, node.value


def wrong_uses(path: Path, root: Path = TESTS) -> list[str]:
    """Each use of a module of tests that the rule forbids, as "file:line: name"."""
    folder = path.relative_to(root).parts[0]
    wrong = []
    for line, name in (*_imported(path, root), *_named(path)):
        parts = name.replace(":", ".").split(".")
        names_a_test = any(part.startswith("test_") for part in parts[1:-1]) or parts[-1].startswith("test_")
        outside = len(parts) > 1 and parts[1] not in {"support", folder}
        if names_a_test or outside:
            wrong.append(f"{path.relative_to(root)}:{line}: {name}")
    return wrong


def test_no_test_module_uses_another() -> None:
    modules = sorted(set(TESTS.rglob("*.py")) - {Path(__file__)})
    assert [use for path in modules for use in wrong_uses(path)] == []


@pytest.mark.parametrize(
    "text",
    [
        "from tests.load.test_other import helper",
        "def late():\n    import tests.load.test_other",
        "from tests.load import test_other",
        "from . import test_other",
        "from tests.benchmarks import tables",
        'FUNCTION = "tests.load.test_other:nap"',
    ],
)
def test_a_wrong_use_is_found(text: str, tmp_path: Path) -> None:
    (tmp_path / "load").mkdir()
    planted = tmp_path / "load" / "planted.py"
    planted.write_text(text)
    assert wrong_uses(planted, tmp_path)


def test_the_use_of_support_is_right(tmp_path: Path) -> None:
    (tmp_path / "load").mkdir()
    planted = tmp_path / "load" / "planted.py"
    planted.write_text("from tests.support.runs import run_quietly\nfrom tests.support import simulate\n")
    assert wrong_uses(planted, tmp_path) == []
