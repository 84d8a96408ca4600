"""What users of other tools type out of habit is answered with what it is called here."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perflib.cli.habits import Duration
from tests.support.command_line import perflib_process


@pytest.mark.parametrize(("option", "ours"), [
    ("--vus", "--users"), ("-c", "--users"), ("-u", "--users"), ("-n", "--requests"), ("--iterations", "--requests"),
    ("-q", "--rate"), ("--rps", "--rate"), ("-z", "--duration"), ("--run-time", "--duration"), ("-m", "-X"),
    ("--out", "perflib report --out"), ("--spawn-rate", 'model = "users"'), ("-f", "the URL"),
])  # fmt: skip
def test_an_option_of_another_tool_is_named_as_it_is_here(option: str, ours: str) -> None:
    ran = perflib_process("run", "http://127.0.0.1:9/", option, "10")
    assert ran.returncode == 2
    assert f"No such option '{option}'; it is " in ran.stderr and ours in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(("name", "what"), [
    ("script.js", "a script, of k6 perhaps"), ("locustfile.py", "a Python file, of Locust perhaps"),
    ("plan.jmx", "a test plan of JMeter"), ("Visits.scala", "a simulation of Gatling"),
    ("openapi.yaml", "perflib init openapi.yaml"), ("shop.har", "perflib init shop.har"),
])  # fmt: skip
def test_a_file_of_another_tool_is_told_what_it_is(tmp_path: Path, name: str, what: str) -> None:
    Path(name).write_text("x")
    ran = perflib_process("run", name)
    assert ran.returncode == 2
    assert f"{name}: this is " in ran.stderr and what in ran.stderr
    assert ran.stderr.count("\n") == 1


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 999))
def test_a_length_of_time_is_read_in_seconds_or_with_units(hours: int, minutes: int, seconds: int) -> None:
    total = 3600 * hours + 60 * minutes + seconds
    written = f"{hours}h{minutes}m{seconds}s"
    if not total:
        with pytest.raises(click.BadParameter):
            Duration().convert(written, None, None)
    else:
        assert Duration().convert(written, None, None) == Duration().convert(f"{total}", None, None) == total


@pytest.mark.parametrize("written", ["", "x", "-1", "10 minutes", "1s2m", "nan", "inf", "1e3", "5ms"])
def test_what_is_no_length_of_time_is_refused(written: str) -> None:
    with pytest.raises(click.BadParameter, match="is no length of time"):
        Duration().convert(written, None, None)
