"""A load in one line: `perflib run URL`, its suite, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

import perflib
from perflib.errors import SuiteError
from perflib.load.preflight import check
from perflib.sources.one_request import draft_of, load_of
from perflib.sources.writer import written
from perflib.suite.file import load_suite, parse_suite
from tests.support.command_line import invoke, perflib_process
from tests.support.servers import raw_server, says

OK = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
SECRET = "s3cret-value-of-a-token"


def test_a_url_is_a_run_like_any_other(tmp_path: Path) -> None:
    heard: list[bytes] = []
    options = ["--requests", "30", "--users", "3", "-H", f"Authorization: Bearer {SECRET}", "-d", '{"n": "{counter}"}']
    with raw_server({"/orders": OK}, heard) as url:
        done = perflib_process("run", f"{url}/orders?a=1", *options, "--save", "saved.toml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert len(heard) == 30 and heard[0].startswith(b"POST /orders?a=1 HTTP/1.1\r\n")
    assert all(SECRET.encode() in request and b"application/json" in request for request in heard)
    assert len({request.rpartition(b"\r\n\r\n")[2] for request in heard}) == 30, "{counter} is filled in"
    run = perflib.open_run("latest", tmp_path / "data")
    assert len(run.rows()) == 30 and run.rows()["ok"].all()
    assert run.manifest.command.startswith("perflib run ") and "--requests 30" in run.manifest.command
    assert "p95 ms" in done.stdout
    for file in (tmp_path / "saved.toml", run.path / "run.json"):
        assert SECRET not in file.read_text()
    assert SECRET not in done.stdout + done.stderr
    with pytest.raises(SuiteError, match="API_TOKEN is not set"):
        check(load_suite(tmp_path / "saved.toml"))


def test_the_options_say_what_the_load_is() -> None:
    loads = {
        load_of(rate_per_s=50, users=None, requests=None, duration_s=20): ("constant", 50, 20, 0),
        load_of(rate_per_s=50, users=None, requests=100, duration_s=None): ("constant", 50, 2, 0),
        load_of(rate_per_s=None, users=7, requests=None, duration_s=None): ("closed", 0, 10, 7),
        load_of(rate_per_s=None, users=None, requests=4, duration_s=None): ("closed", 0, None, 4),
    }
    for text, (model, rate, seconds, users) in loads.items():
        made = written(draft_of("http://localhost:1/a", text), Path("s.toml"), everything=True)
        load = parse_suite(made.text, where="s", folder="").scenarios[0].load
        assert (load.model, load.highest_rate_per_s, load.seconds(), load.users) == (model, rate, seconds, users)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["http://127.0.0.1:9/", "--rate", "5", "--users", "2"], "a load has a rate or users, not both"),
        (["http://127.0.0.1:9/", "--requests", "5", "--duration", "2"], "a time or a number of requests"),
        (["http://127.0.0.1:9/", "-H", "no header"], "-H: not a header"),
        (["ftp://127.0.0.1/"], "not a URL"),
        (["acceptance", "--rate", "5"], "--rate needs a URL"),
        (["https://shop.example.com/", "--rate", "5"], "which is not this machine"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    problem = invoke("run", *options).exception
    assert said in (problem.format_message() if isinstance(problem, click.UsageError) else str(problem))


def test_placeholders_of_a_url_are_placeholders_and_those_that_nothing_fills_are_named() -> None:
    load = load_of(rate_per_s=5, users=None, requests=None, duration_s=1)
    made = written(draft_of("http://localhost/a/{random|1..9}?q={{x}}", load), Path("s.toml"))
    assert parse_suite(made.text, where="s", folder="").scenarios[0].operations[0].path == "/a/{random|1..9}?q={{x}}"
    with pytest.raises(SuiteError, match="gives"):
        written(draft_of("http://localhost/{unknown}", load), Path("s.toml"))


def test_a_saved_suite_never_replaces_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("mine")
    with raw_server({"/": OK}) as url:
        said = invoke("run", f"{url}/", "--requests", "1", "--save", str(tmp_path / "mine.toml")).exception
    assert "there is such a file already" in str(said)
    assert (tmp_path / "mine.toml").read_text() == "mine"
    with pytest.raises(SuiteError):
        load_suite(tmp_path / "mine.toml")
