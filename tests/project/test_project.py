"""The project's own files agree with each other."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import perflib
from perflib.store import metadata
from tools import supply_chain

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines()]


def test_the_conda_environment_installs_what_pyproject_says() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, extra = environment["dependencies"]
    assert pip == "pip"
    assert extra == {"pip": ["-c constraints.txt", "-e .[all]"]}
    lowest = PYPROJECT["project"]["requires-python"].removeprefix(">=")
    assert tuple(map(int, python.split("=")[1].split("."))) >= tuple(map(int, lowest.split(".")))


def test_the_constraints_pin_every_dependency_and_name_no_host() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in text.splitlines() if "==" in line}
    project = PYPROJECT["project"]
    asked = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {re.split(r"[\[<>=;! ]", d)[0].lower() for d in asked} - {"perflib-workbench"}
    assert names <= pinned


def test_every_package_is_in_the_wheel() -> None:
    """The notebooks' folder lies beside the package, so that the packages have to be listed one by one."""
    folders = [path.parent.relative_to(ROOT) for path in (ROOT / "perflib").rglob("__init__.py")]
    packages = [".".join(folder.parts) for folder in folders]
    assert PYPROJECT["tool"]["setuptools"]["packages"] == sorted(
        [*packages, "perflib.examples.shop", "perflib.notebooks"]
    ), "add it in pyproject"


def test_the_version_is_written_once() -> None:
    assert perflib.__version__ == PYPROJECT["project"]["version"] == metadata.perflib_version()
    assert PYPROJECT["project"]["name"] == metadata.DISTRIBUTION
    assert metadata.versions()["perflib"] == perflib.__version__
    text = "".join(path.read_text() for path in (ROOT / "perflib").rglob("*.py"))
    assert "__version__ =" not in text
    assert 'version("perflib")' not in text and "perflib[" not in text


def test_every_module_says_what_it_is_for() -> None:
    for path in sorted((ROOT / "perflib").rglob("*.py")):
        assert path.read_text().startswith(('"""', 'r"""')), path


def test_only_small_files_are_tracked_and_no_path_of_a_machine() -> None:
    for path in tracked():
        if path.is_file():
            assert path.stat().st_size <= 1_500_000, path
            if path.suffix in (".py", ".md", ".toml", ".ipynb", ".html", ".json", ".yml"):
                assert str(ROOT) not in path.read_text(), path


def test_every_package_has_a_licence_that_is_allowed() -> None:
    found = supply_chain.licences()
    assert len(found) > 60
    assert [entry for entry in found if not supply_chain.is_allowed(entry[2])] == []
    for refused in ("GNU Affero General Public License v3 (AGPL)", "GPL-3.0-only", "Proprietary", "not stated"):
        assert not supply_chain.is_allowed(refused)
