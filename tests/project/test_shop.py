"""The example shop: it behaves as its page says, its faults are found, and its suite decides in a few seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import perflib
from perflib.cli import cli

ROOT = Path(__file__).parents[2]
SHORT = ("--set", "scenarios.browse.load.duration_s=4", "--set", "scenarios.buy.load.duration_s=2")


def typed(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.return_value or 0, done.output


@pytest.fixture
def shop() -> None:
    assert typed("example")[0] == 0


@pytest.mark.usefixtures("shop")
def test_each_operation_is_answered_and_the_copies_are_those_of_the_examples() -> None:
    code, said = typed("try", "shop/shop.toml")
    assert code == 0 and "4 of 4 operations were answered as expected" in said
    for path in (ROOT / "examples" / "shop").glob("*.*"):
        assert Path("shop", path.name).read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("shop")
def test_a_copy_is_never_overwritten() -> None:
    with pytest.raises(perflib.SuiteError, match=r"app\.py: exists already"):
        typed("example")


@pytest.mark.usefixtures("shop")
def test_the_bug_fails_the_run_and_says_why() -> None:
    fault = ("--set", "targets.shop.env.SHOP=bug")
    code, said = typed("run", "shop/shop.toml", "--only", "buy", *SHORT[2:], *fault)
    assert code == 1
    assert "no box is large enough" in said


@pytest.mark.usefixtures("shop")
def test_a_slow_search_fails_what_passes_otherwise() -> None:
    code, _ = typed("run", "shop/shop.toml", "--only", "browse", *SHORT[:2], "--set", "targets.shop.env.SHOP=slow")
    assert code == 1
    slow = perflib.open_run("latest").rows("browse").groupby("operation", observed=True)["service_ns"].median() / 1e6
    assert slow["search"] >= 120 > slow["list"]
