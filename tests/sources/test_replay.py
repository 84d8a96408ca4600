"""`perflib init access.log --from replay`: the requests of a log again, each at its own time."""

from __future__ import annotations

from pathlib import Path

import pytest

import perflib
from perflib.errors import SuiteError
from perflib.load.preflight import check
from perflib.load.tryout import try_suite
from perflib.suite.file import load_suite
from tests.support.command_line import invoke
from tests.support.recorder import Asked, recorder

LOG = [  # second, method, path, status
    (36, "GET", "/stats", 200),
    (36, "GET", "/items/1?limit=5", 200),
    (36, "POST", "/login", 200),
    (37, "HEAD", "/items/2", 404),
    (39, "GET", "/items/4?limit=7&token=abcdefgh-12", 200),
    (38, "GET", "/items/3", 200),  # written when it was over
]


def write_log(folder: Path, requests: list[tuple[int, str, str, int]]) -> Path:
    file = folder / "access.log"
    lines = [
        f'10.0.0.1 - - [10/Oct/2026:13:55:{second} +0200] "{method} {path} HTTP/1.1" {status} 23 "-" "Mozilla/5.0"\n'
        for second, method, path, status in requests
    ]
    file.write_text("".join(lines))
    return file


def answer(asked: Asked) -> tuple[int, str]:
    return (404 if asked.path == "/items/2" else 200), ""


def whole(asked: Asked) -> str:
    query = "&".join(f"{name}={values[0]}" for name, values in sorted(asked.query.items()))
    return f"{asked.method} {asked.path}" + (f"?{query}" if query else "")


def test_each_request_is_sent_at_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "abcdefgh-12")
    suite_file = tmp_path / "again.toml"
    with recorder(answer) as heard:
        arguments = [str(write_log(tmp_path, LOG)), "--from", "replay", "--url", heard.url, "-o", str(suite_file)]
        done = invoke("init", *arguments, "--all")
        assert done.return_value == 0, done.output
        suite = load_suite(suite_file, overrides=["scenarios.replay.load.speed=2", "workers=2"])
        assert not [sent.in_words for sent in try_suite(suite) if sent.error], "each operation is tried with its path"
        heard.asked.clear()
        run = perflib.run(suite, data=tmp_path, progress=False)
    expected = [  # when, s after the first at twice the speed; how many of a second, evenly spread over it
        (0, "GET /stats"),
        (1 / 6, "GET /items/1?limit=5"),
        (2 / 6, "POST /login"),
        (0.5, "HEAD /items/2"),
        (1.0, "GET /items/3"),
        (1.5, "GET /items/4?limit=7&token=abcdefgh-12"),
    ]
    in_order = sorted(heard.asked, key=lambda asked: asked.at_s)
    assert [whole(asked) for asked in in_order] == [what for _, what in expected], run.manifest.reasons
    begin_s = in_order[0].at_s
    for asked, (at_s, what) in zip(in_order, expected, strict=True):
        assert asked.at_s - begin_s == pytest.approx(at_s, abs=0.15), what
    assert run.status == "complete", run.manifest.reasons
    figures = run.summary()["scenarios"][0]
    assert (figures["requests"], figures["errors"]) == (len(expected), 0)
    assert set(run.rows()["operation"]) >= {"GET /stats", "GET /items/…", "HEAD /items/…"}


def test_what_changes_something_is_no_row_of_the_recording(tmp_path: Path) -> None:
    suite_file = tmp_path / "again.toml"
    done = invoke("init", str(write_log(tmp_path, LOG)), "--from", "replay", "-o", str(suite_file))
    assert "not translated: 1 requests of operations that are left out" in done.output
    assert "# Left out: POST changes something; --all replays it." in suite_file.read_text()
    assert (tmp_path / "again.csv").read_text() == (
        "start_s,operation,path\n0,GET /stats,/stats\n0.333333,GET /items/…,/items/1?limit=5\n"
        "1,HEAD /items/…,/items/2\n"
        "2,GET /items/…,/items/3\n3,GET /items/… 2,/items/4?limit=7\n"
    )


def test_a_recording_that_does_not_fit_its_operations_is_refused(tmp_path: Path) -> None:
    file = write_log(tmp_path, [(second, "GET", f"/{name}", 200) for second, name in ((36, "a"), (37, "b"))])
    suite_file, rows = tmp_path / "again.toml", tmp_path / "again.csv"
    assert invoke("init", str(file), "--from", "replay", "-o", str(suite_file)).return_value == 0
    written = rows.read_text()
    for text, complaint in (
        (written.replace("GET /b", "GET /c"), "row 2 names an unknown operation 'GET /c'"),
        (written.replace("0,GET /a", "5,GET /a"), "row 2 starts before the row above it"),
        (written.replace("operation", "kind"), "no column 'operation'"),
        (written.replace("0,GET /a", "soon,GET /a"), "cannot read starts"),
    ):
        rows.write_text(text)
        with pytest.raises(SuiteError, match=complaint):
            check(load_suite(suite_file))
    rows.write_text(written)
    with pytest.raises(SuiteError, match="would use the first requests"):
        load_suite(suite_file, overrides=["scenarios.replay.warmup.duration_s=1"])
    with pytest.raises(SuiteError, match="one data file"):
        load_suite(suite_file, overrides=["scenarios.replay.operations=[{name='a', path='/'}]"])


def test_rare_kinds_share_an_operation_and_secrets_in_paths_are_left_out(tmp_path: Path) -> None:
    kinds = [f"/{chr(97 + number % 26)}{chr(97 + number // 26)}" for number in range(60)]
    token = f"eyJhbGciOiJIUzI1NiJ9.{'e30' * 9}.{'x' * 43}"
    requests = [*((36, "GET", kind, 200) for kind in kinds), (37, "GET", f"/x/{token}", 200)]
    suite_file = tmp_path / "again.toml"
    done = invoke("init", str(write_log(tmp_path, requests)), "--from", "replay", "-o", str(suite_file))
    rows = (tmp_path / "again.csv").read_text()
    assert done.return_value == 0 and rows.count("\n") >= 61
    suite = load_suite(suite_file)
    check(suite)
    assert len(suite.scenarios[0].operations) <= 51 and ",GET others,/" in rows
    assert "eyJhbGci" not in rows
