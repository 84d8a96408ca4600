"""Users over time: their number follows its line, each is somebody of its own, and they pause as people do."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import perflib
from perflib.suite.load import UsersLoad, UserStage
from perflib.suite.pause import Pause
from tests.support.runs import run_quietly
from tests.support.servers import raw_server, says
from tests.support.suites import suite

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UP_AND_DOWN = {
    "model": "users",
    "stages": [{"users": 20, "over_s": 2}, {"users": 20, "over_s": 1}, {"users": 4, "over_s": 1}],
}


def run(url: str, tmp_path: Path, load: dict[str, Any], **scenario: Any) -> perflib.Run:
    return run_quietly(suite({"kind": "http", "url": url}, load=load, **scenario), tmp_path)


@given(
    st.lists(st.tuples(st.integers(0, 500), st.floats(0.5, 100)), min_size=1, max_size=6),
    st.integers(1, 50),
    st.floats(0, 1),
)
def test_the_line_goes_through_the_stages_and_never_beyond(
    stages: list[tuple[int, float]], start: int, share: float
) -> None:
    load = UsersLoad(stages=tuple(UserStage(users=users, over_s=over) for users, over in stages), start_users=start)
    assert load.users_at(0) == start
    assert load.users_at(load.seconds()) == stages[-1][0]
    assert 0 <= load.users_at(share * load.seconds()) <= load.users
    times = np.linspace(0, load.seconds(), 4001)
    seen = np.mean([load.users_at(float(at)) for at in times])
    assert seen == pytest.approx(load.mean_users, rel=0.02, abs=1)


def test_the_number_of_users_follows_its_line(tmp_path: Path) -> None:
    """Each user always has a request in flight, so that the requests in flight are the users."""
    with raw_server(says(OK, pause_s=0.02)) as url:
        made = run(url, tmp_path, UP_AND_DOWN, objectives=["stage 2: p95 < 5 s"], workers=2)
    scenario = made.scenario("one")
    rows, load = made.rows(phase=None), scenario.spec.load
    assert isinstance(load, UsersLoad)
    assert rows["ok"].all()
    assert [segment.stage for segment in scenario.record.segments if segment.phase == "measure"] == [1, 2, 3]
    at_s = (rows["start_ns"] - scenario.record.start_ns) / 1e9
    for worker in (0, 1):
        mine = rows[rows["worker"] == worker]
        wanted = np.array([load.users_at(at) / 2 for at in at_s[mine.index]])
        assert np.quantile(np.abs(mine["inflight"] - wanted), 0.9) <= 1.5
    assert [v.verdict for v in made.verdicts()] == ["pass"]


def test_users_who_come_are_new_ones_and_finish_what_they_began(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("name\n" + "\n".join(f"user-{number}" for number in range(100)) + "\n")
    heard: list[bytes] = []
    load = {"model": "users", "stages": [{"users": 9, "over_s": 0.6}, {"users": 0, "over_s": 0.6}]}
    operations = [
        {"name": step, "path": f"/{step}/{{name}}", "data": str(tmp_path / "names.csv"), "pick": "one each"}
        for step in ("open", "look", "close")
    ]
    with raw_server(says(OK, pause_s=0.01), heard) as url:
        made = run(url, tmp_path / "data", load, operations=operations, order="sequence")
    assert made.rows(phase=None)["ok"].all()
    asked = [request.split(b" ")[1].decode().split("/")[1:] for request in heard]
    names = {name for _, name in asked}
    assert len(names) >= 9
    for name in names:  # whole rounds, each user with a row of its own
        steps = [step for step, whose in asked if whose == name]
        assert steps == (["open", "look", "close"] * len(steps))[: len(steps)]
    cut = sum(len([step for step, whose in asked if whose == name]) % 3 != 0 for name in names)
    assert cut <= 1  # the load ended while the last one was on its way


def test_rows_that_will_run_out_are_refused_before_the_load(tmp_path: Path) -> None:
    """Who comes after others have left is a new user, with a row of its own."""
    (tmp_path / "names.csv").write_text("name\n" + "\n".join(map(str, range(12))) + "\n")
    operation = {"name": "a", "path": "/{name}", "data": str(tmp_path / "names.csv"), "pick": "one each"}
    stages = [{"users": 10, "over_s": 1}, {"users": 2, "over_s": 1}, {"users": 10, "over_s": 1}]
    with raw_server(says(OK)) as url, pytest.raises(perflib.PerflibError, match="has 12 rows for 18 users"):
        run(url, tmp_path / "data", {"model": "users", "stages": stages}, operations=[operation])


def test_a_server_that_hangs_does_not_pass_while_users_come_and_go(tmp_path: Path) -> None:
    began = time.monotonic()

    def hangs(connection: Any, number: int) -> bool:
        if time.monotonic() - began > 1.5:
            time.sleep(8)
            return False
        connection.sendall(OK)
        return True

    load = {"model": "users", "stages": [{"users": 8, "over_s": 0.5}, {"users": 8, "over_s": 3}]}
    with raw_server(hangs) as url:
        made = suite({"kind": "http", "timeout_s": 2, "url": url}, load=load, objectives=["error rate < 5 %"])
        done = run_quietly(made, tmp_path)
    assert done.verdict in ("fail", "invalid")


def test_a_round_begins_at_most_once_in_the_pacing(tmp_path: Path) -> None:
    load = {"model": "closed", "concurrency": 2, "duration_s": 2.3, "pacing_s": 0.5}
    operations = [{"name": "first", "path": "/1"}, {"name": "second", "path": "/2"}]
    with raw_server(says(OK)) as url:
        made = run(url, tmp_path, load, operations=operations, order="sequence", warmup={"duration_s": 0})
    rows = made.rows(phase=None)
    assert rows["operation"].value_counts().to_dict() == {"first": 10, "second": 10}
    gaps = np.diff(np.sort(rows[rows["operation"] == "first"]["start_ns"])[::2]) / 1e9
    assert gaps == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("on_error", ["continue", "end round"])
def test_a_failed_step_ends_the_round_where_the_suite_says_so(on_error: str, tmp_path: Path) -> None:
    answers = {"/log-in": says(OK), "/look": says(OK.replace(b"200 OK", b"500 No")), "/buy": says(OK)}
    operations = [{"name": path[1:], "path": path} for path in answers]
    load = {"model": "closed", "concurrency": 2, "requests": 30}
    with raw_server(answers) as url:
        made = run(url, tmp_path, load, operations=operations, order="sequence", on_error=on_error)
    counts = made.rows(phase=None)["operation"].value_counts().to_dict()
    assert sum(counts.values()) == 30
    if on_error == "continue":
        assert counts == {"log-in": 10, "look": 10, "buy": 10}
    else:
        assert counts.get("buy", 0) == 0
        assert counts["log-in"] - counts["look"] in (0, 1, 2)  # a user's last round may be cut


@pytest.mark.parametrize(
    ("pause", "quantiles"),
    [
        (Pause(uniform=(1, 3)), {0.0: 1, 0.5: 2, 0.95: 2.9}),
        (Pause(exponential=2), {0.5: 1.386, 0.95: 5.99}),
        (Pause(lognormal=(2, 6)), {0.5: 2, 0.95: 6}),
    ],
)
def test_pauses_are_drawn_as_they_are_written(pause: Pause, quantiles: dict[float, float]) -> None:
    rng = random.Random(1)
    drawn = np.array([pause.draw_s(rng) for _ in range(40_000)])
    for q, value in quantiles.items():
        assert np.quantile(drawn, q) == pytest.approx(value, rel=0.04)
    assert drawn.mean() == pytest.approx(pause.mean_s, rel=0.03)


def test_users_pause_between_their_requests(tmp_path: Path) -> None:
    load = {"model": "closed", "concurrency": 5, "duration_s": 3, "think_time_s": {"uniform": [0.05, 0.15]}}
    with raw_server(says(OK)) as url:
        made = run(url, tmp_path, load)
    assert 100 <= len(made.rows(phase=None)) <= 160  # five users, ten requests a second each


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"stages": [{"users": 4, "over": 6}]}, "load.stages[0].over: unknown key 'over'; did you mean 'over_s'?"),
    ({"stages": [{"users": 0, "over_s": 6}]}, "without a user makes no request; raise `users` in a stage"),
    ({"stages": []}, "needs at least one stage"),
    ({"stages": [{"users": 4, "over_s": 6}], "think_time_s": {"uniform": [3, 1]}}, "think_time_s: uniform = [3, 1] is"),
    ({"stages": [{"users": 4, "over_s": 6}], "think_time_s": {"gauss": 2}}, "think_time_s: gauss: unknown key 'gauss'"),
    ({"stages": [{"users": 4, "over_s": 6}], "think_time_s": {}}, "needs one of its keys"),
    ({"stages": [{"users": 4, "over_s": 6}], "think_time_s": "2 s"}, 'found "2 s"'),
    ({"stages": [{"users": 4, "over_s": 6}], "concurrency": 4}, "load model 'users' does not take 'concurrency'"),
]


@pytest.mark.parametrize(("load", "said"), WRONG)
def test_what_is_wrong_is_said_in_one_line(load: dict[str, Any], said: str) -> None:
    with pytest.raises(perflib.PerflibError) as caught:
        suite({"kind": "http", "url": "http://127.0.0.1:1"}, load={"model": "users", **load})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
