"""Journeys: steps in order, at a rate or by users; what they take is a figure, and nothing of them is lost."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import perflib
from perflib.metrics.parts import measure
from perflib.metrics.selection import Selection
from perflib.report.markdown import of_run
from tests.support.runs import run_quietly
from tests.support.servers import raw_server, says
from tests.support.suites import suite

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
IDS = {"json": "$.ids[*].id", "all": True}
LIST = {"name": "list", "path": "/list", "keep": {"ids": IDS, "state": "$.state"}}
ITEM = {"name": "item", "path": "/item?id={id}"}
TOKENS = [
    {"name": "log in", "path": "/log-in", "keep": {"token": "$.token"}},
    {"name": "me", "path": "/me?token={token}"},
]
AT_A_RATE = {"model": "constant", "rate_per_s": 40, "duration_s": 1}


def answers(body: Any) -> bytes:
    text = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)


def run(url: str, tmp_path: Path, target: dict[str, Any] | None = None, **scenario: Any) -> perflib.Run:
    kept = {"warmup": {"duration_s": 0}, "load": AT_A_RATE} | scenario
    return run_quietly(suite({"kind": "http", "url": url} | (target or {}), **kept), tmp_path)


def journeys(made: perflib.Run) -> Any:
    return made.sql("from journeys order by start_ns")


def test_each_arrival_begins_a_journey(tmp_path: Path) -> None:
    """With what it kept itself; its first step alone is due at a time, so that what is offered are journeys."""
    seen: list[bytes] = []
    counted = iter(range(10_000))
    lock = threading.Lock()

    def logs_in(connection: Any, number: int) -> bool:
        with lock:
            connection.sendall(answers({"token": f"t{next(counted)}"}))
        return True

    with raw_server({"/log-in": logs_in, "/me": says(OK)}, seen) as url:
        made = run(url, tmp_path, operations=TOKENS, order="sequence", workers=2)
    rows, whole = made.rows(phase=None), journeys(made)
    assert rows["ok"].all()
    assert rows["operation"].value_counts().to_dict() == {"log in": 40, "me": 40}
    assert rows[rows["operation"] == "log in"]["scheduled_ns"].notna().all()
    assert rows[rows["operation"] == "me"]["scheduled_ns"].isna().all()
    used = Counter(re.findall(rb"GET /me\?token=(t\d+)", b"".join(seen)))
    assert len(used) == 40
    assert set(used.values()) == {1}
    load = made.summary()["scenarios"][0]["load"]
    assert (load["of"], load["offered"]) == ("journeys", 40)
    assert load["offered_per_s"] == pytest.approx(40, rel=0.05)
    assert len(whole) == 40
    assert (whole["requests"] == 2).all()
    assert (whole["end_ns"] - whole["scheduled_ns"] >= 0).all()
    assert made.scenario("one").spec.load_words == "40 journeys/s at equal intervals for 1 s"


def test_whoever_finds_no_free_user_is_a_row(tmp_path: Path) -> None:
    """Nobody who arrived is lost: those who waited in vain are unsent, as requests and as journeys."""
    with raw_server(says(b"", OK, pause_s=0.3)) as url:
        made = run(
            url,
            tmp_path,
            {"max_connections": 2, "timeout_s": 0.5},
            operations=[{"name": "a", "path": "/a"}, {"name": "b", "path": "/b"}],
            order="sequence",
        )
    rows, whole = made.rows(phase=None), journeys(made)
    assert len(rows[rows["operation"] == "a"]) == len(whole) == 40
    unsent = rows[rows["error"] == "unsent"]
    assert len(unsent) == int((whole["error"] == "unsent").sum()) == made.summary()["scenarios"][0]["load"]["unsent"]
    assert len(unsent) >= 30
    assert rows["inflight"].max() == 2


def test_the_load_ends_on_time_and_what_was_under_way_is_there(tmp_path: Path) -> None:
    began = time.monotonic()
    operations = [{"name": "a", "path": "/a"}, {"name": "b", "path": "/b"}]
    one = {"name": "slow", "steps": ["a", {"operation": "b", "repeat": 50, "think_time_s": 0.2}]}
    with raw_server(says(OK)) as url:
        made = run(url, tmp_path, {"timeout_s": 1}, operations=operations, journeys=[one])
    assert time.monotonic() - began < 20  # its journeys would take 10 s more
    whole = journeys(made)
    assert len(whole) == 40
    assert (whole["error"] == "aborted").all()
    assert (whole["paused_ns"] > 0).all()
    errors = made.rows(phase=None)["error"]
    assert errors.isna().mean() > 0.8  # most were in a pause, and not in a request
    assert set(errors.dropna()) <= {"aborted"}


def test_journeys_are_begun_by_their_weights_and_told_apart(tmp_path: Path) -> None:
    operations = [{"name": name, "path": f"/{name}"} for name in ("list", "look", "pay")]
    browse = {"name": "browse", "weight": 7, "steps": ["list", {"operation": "look", "repeat": 2}]}
    buy = {"name": "buy", "weight": 3, "steps": ["list", "pay"]}
    objectives = ["journey buy: p50 < 30 s", "journey buy: error rate < 5 %", "throughput / offered >= 90 %"]
    with raw_server(says(OK)) as url:
        made = run(
            url,
            tmp_path,
            operations=operations,
            journeys=[browse, buy],
            objectives=objectives,
            figures=["journey browse: p50 elapsed"],
            load={"model": "poisson", "rate_per_s": 300, "duration_s": 2},
        )
    begun = journeys(made)["journey"].value_counts().to_dict()
    of_all = sum(begun.values())
    assert begun["journey browse"] / of_all == pytest.approx(0.7, abs=0.08)
    done = made.rows(phase=None)["operation"].value_counts().to_dict()
    assert done == {"list": of_all, "look": 2 * begun["journey browse"], "pay": begun["journey buy"]}
    _, errors, followed, shown = made.verdicts()
    assert (errors.verdict, shown.verdict) == ("pass", "shown")
    assert followed.interval.estimate == pytest.approx(100, abs=15)  # of journeys, and not of their requests
    assert _said_everywhere(made, "journey buy") == 1
    row = next(row for row in made.scenario("one").percentiles().values["rows"] if row["operation"] == "journey buy")
    assert f"| one | journey buy | {begun['journey buy']} | 0 |" in of_run(made)
    assert f"| {row['shown']['p50']} | {row['shown']['p95']} |" in of_run(made)
    assert re.search(r"<td>[\d.]+ journeys</td>", made.load()._repr_html_())


def _said_everywhere(made: perflib.Run, label: str) -> int:
    """How many different values of a journey's median there are, ms: objectives, summary, tables, comparisons."""
    scenario = made.scenario("one")
    listed = next(each for each in made.summary()["scenarios"][0]["journeys"] if each["name"] == label)
    row = next(row for row in scenario.percentiles().records if row["operation"] == label)
    compared = measure(scenario)[Selection("one", None, label)]
    assert listed["requests"] == row["requests"] == compared.requests
    judged = next(v for v in made.verdicts() if v.objective.operation == label and v.objective.q == 0.5)
    values = (listed["response_ms"]["p50"], row["p50_ms"], compared.figures["p50"].estimate, judged.interval.estimate)
    return len({round(value, 9) for value in values})


def test_what_would_decide_a_journey_is_said_in_journeys_and_at_their_rate(tmp_path: Path) -> None:
    steps = {"operation": "a", "repeat": 10}
    load = {"model": "constant", "rate_per_s": 10, "duration_s": 2}
    with raw_server(says(OK)) as url:
        made = run(
            url,
            tmp_path,
            operations=[{"name": "a", "path": "/a"}],
            journeys=[{"name": "buy", "steps": [steps]}],
            objectives=["journey buy: p90 < 9 s", "journey buy: error rate < 10 %", "error rate < 2.5 %"],
            load=load,
        )
    share, errors, requests = made.verdicts()
    assert "of 20 journeys miss the limit" in share.reason and "more journeys would decide" in share.reason
    assert "more journeys would decide" in errors.reason
    assert requests.verdict == "pass"  # 200 requests
    assert share.needs_more and errors.needs_more
    more = max(share.needs_more, errors.needs_more)
    step = made.next_steps()[0]
    seconds = re.search(rf"about {more} more journeys, at its rate some ([\d.]+) s more of load", step.text)
    assert seconds, step.text
    assert float(seconds[1]) == pytest.approx(more / 10, abs=1.5)


def test_pauses_are_no_waiting_for_answers(tmp_path: Path) -> None:
    operations = [{"name": name, "path": f"/{name}"} for name in ("a", "b", "c")]
    steps = ["a", {"operation": "b", "think_time_s": 0.2}, "c"]
    with raw_server(says(b"", OK, pause_s=0.03)) as url:
        made = run(url, tmp_path, operations=operations, journeys=[{"name": "j", "steps": steps, "think_time_s": 0.1}])
    figures = made.summary()["scenarios"][0]["journeys"][0]
    assert figures["mean_paused_ms"] == pytest.approx(300, abs=40)
    assert figures["mean_requests"] == 3
    assert 90 <= figures["response_ms"]["p50"] < 200
    assert figures["elapsed_ms"]["p50"] == pytest.approx(figures["response_ms"]["p50"] + 300, abs=60)
    kinds = [row["kind"] for row in made.scenario("one").percentiles().records if row["operation"] == "journey j"]
    assert kinds[0] == "response"
    assert "elapsed" in kinds


def test_steps_are_repeated_left_out_and_done_for_each_of_a_list(tmp_path: Path) -> None:
    seen: list[bytes] = []
    states = iter(["open", "shut"] * 10_000)

    def lists(connection: Any, number: int) -> bool:
        connection.sendall(answers({"ids": [{"id": 3}, {"id": 5}, {"id": 8}], "state": next(states)}))
        return True

    steps = [
        "list",
        {"operation": "item", "each": {"id": "ids"}},
        {"operation": "pay", "when": {"state": "open"}},
        {"operation": "bye", "when": "state", "repeat": 2},
    ]
    operations = [LIST, ITEM, {"name": "pay", "path": "/pay"}, {"name": "bye", "path": "/bye"}]
    served = {"/list": lists, "/item": says(OK), "/pay": says(OK), "/bye": says(OK)}
    with raw_server(served, seen) as url:
        made = run(
            url,
            tmp_path,
            operations=operations,
            journeys=[{"name": "j", "steps": steps}],
            load={"model": "closed", "concurrency": 1, "duration_s": 0.5},
        )
    asked = [request.split(b" ")[1].decode() for request in seen]
    short = ["/list", "/item?id=3", "/item?id=5", "/item?id=8"]
    each = [[*short, *(["/pay"] if state == "open" else []), "/bye", "/bye"] for state in ("open", "shut")]
    expected = (each[0] + each[1]) * len(asked)
    assert asked == expected[: len(asked)]
    assert set(journeys(made)["requests"]) == {6, 7}


def test_a_list_that_is_none_ends_the_journey_as_a_row(tmp_path: Path) -> None:
    steps = ["list", {"operation": "item", "each": {"id": "state"}}]
    with raw_server({"/list": says(answers({"ids": [], "state": "a"})), "/item": says(OK)}) as url:
        made = run(url, tmp_path, operations=[LIST, ITEM], journeys=[{"name": "j", "steps": steps}])
    assert set(journeys(made)["error"]) == {"template"}
    assert made.scenario("one").record.error_texts == {"template": {"nothing kept as 'state' is a list": 40}}


def test_a_journey_ends_with_its_failed_step_where_the_suite_says_so(tmp_path: Path) -> None:
    served = {"/a": says(OK), "/b": says(OK.replace(b"200 OK", b"503 No")), "/c": says(OK)}
    operations = [{"name": path[1:], "path": path} for path in served]
    with raw_server(served) as url:
        made = run(
            url,
            tmp_path,
            operations=operations,
            order="sequence",
            on_error="end round",
            objectives=["journey: error rate < 5 %", "c: error rate < 50 %"],
        )
    done = made.rows(phase=None)["operation"].value_counts().to_dict()
    assert done == {"a": 40, "b": 40}
    whole = journeys(made)
    assert set(whole["error"]) == {"http_5xx"}
    assert (whole["requests"] == 2).all()
    assert made.verdicts()[0].verdict == "fail"


LOADS = [
    {"model": "closed", "concurrency": 4, "duration_s": 1},
    {"model": "users", "stages": [{"users": 6, "over_s": 0.5}, {"users": 0, "over_s": 0.7}]},
    {
        "model": "stages",
        "stages": [
            {"model": "ramp", "from": 10, "to": 60, "duration_s": 0.5},
            {"model": "constant", "rate_per_s": 60, "duration_s": 0.5},
        ],
    },
]


@pytest.mark.parametrize("load", LOADS, ids=[load["model"] for load in LOADS])
def test_every_load_has_whole_journeys(load: dict[str, Any], tmp_path: Path) -> None:
    operations = [{"name": name, "path": f"/{name}"} for name in ("a", "b", "c")]
    both = [{"name": "long", "steps": ["a", "b", "c"]}, {"name": "short", "steps": ["b"]}]
    with raw_server(says(b"", OK, pause_s=0.005)) as url:
        made = run(url, tmp_path, operations=operations, journeys=both, load=load, warmup={"duration_s": 0.3})
    rows, whole = made.rows(phase=None), journeys(made)
    assert rows["ok"].all()
    assert whole["ok"].all()
    cut = len(rows) - int(whole["requests"].sum())
    assert 0 <= cut <= 4 * 2  # what the end of a closed load cut short
    assert {"warmup", "measure"} == set(whole["phase"]) == set(rows["phase"])
    later = rows[(rows["operation"] == "c") & (rows["phase"] == "warmup")]
    measured = rows[rows["phase"] == "measure"]["start_ns"].min()
    assert (later["start_ns"] < measured + 400_000_000).all()  # of journeys that had begun, on a busy machine too


def test_the_number_of_requests_bounds_journeys_too(tmp_path: Path) -> None:
    made = suite(None, operations=TOKENS, order="sequence", load=AT_A_RATE)
    with raw_server({"/log-in": says(answers({"token": "x"})), "/me": says(OK)}) as url:
        target = perflib.Target(kind="http", url=url)
        done = run_quietly(replace(made, targets={"api": target}, max_requests=31), tmp_path)
    assert len(done.rows(phase=None)) == 31


STEPS = [{"name": "a", "steps": ["ping"]}]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"journeys": [{"name": "a", "steps": ["pong"]}]}, "journey 'a' has no operation 'pong'; operations are ping"),
    ({"journeys": [{"name": "a"}]}, "journey 'a' needs `steps` or a `function`; give exactly one of them"),
    ({"journeys": [{"name": "a", "step": ["ping"]}]}, "journeys[0].step: unknown key 'step'; did you mean 'steps'?"),
    ({"journeys": [{"name": "a", "steps": [{"operation": "ping", "times": 3}]}]}, "times"),
    ({"journeys": [{"name": "a", "steps": [{"operation": "ping", "when": "x"}]}]}, "when nothing is kept yet"),
    ({"journeys": STEPS, "order": "interleaved"}, "journeys with order 'interleaved'; remove `order`"),
    ({"journeys": [*STEPS, *STEPS]}, "two journeys have the same name; rename one of them"),
    ({"journeys": STEPS, "objectives": ["journey b: p95 < 3 s"]}, "its operations are ping, journey a"),
    ({"journeys": STEPS, "objectives": ["journey a: inflight >= 3"]}, "is not possible for a journey"),
    ({"objectives": ["p95 elapsed < 3 s"]}, "is for a journey; write p95 response, or give the scenario journeys"),
    (
        {"journeys": [{"name": "a", "steps": ["ping", {"operation": "ping", "each": {"a": "b", "c": "d"}}]}]},
        "`each` fills in 2 names",
    ),
    ({"journeys": STEPS, "operations": [{"name": n, "path": "/"} for n in ("ping", "b")]}, "no journey does 'b'"),
]


@pytest.mark.parametrize(("keys", "said"), WRONG)
def test_what_is_wrong_is_said_in_one_line(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(perflib.PerflibError) as caught:
        suite(None, **keys)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_no_step_keeps_is_refused_before_the_load(tmp_path: Path) -> None:
    steps = ["list", {"operation": "item", "each": {"id": "numbers"}}]
    with pytest.raises(
        perflib.PerflibError, match="journey j: nothing is kept as 'numbers'; kept in this journey: ids, state"
    ):
        run("http://127.0.0.1:1", tmp_path, operations=[LIST, ITEM], journeys=[{"name": "j", "steps": steps}])
