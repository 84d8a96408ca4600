"""Data files: what is read, what is refused with its line, and which rows the requests of a load use."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

import perflib
from perflib.errors import SuiteError
from perflib.load.generator.data_rows import DataUsedUpError, Rows, data_rows
from perflib.load.preflight import check
from perflib.suite.data_file import read_data_file
from tests.support.runs import run_quietly
from tests.support.servers import raw_server, says
from tests.support.suites import suite

BIG = 12345678901234567890
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
USERS = "user\n" + "".join(f"u{number}\n" for number in range(20))

READ: dict[str, tuple[str, bytes, dict[str, list[Any]]]] = {
    "byte order mark": ("a.csv", b"\xef\xbb\xbfuser,n\r\nanna,1\r\n", {"user": ["anna"], "n": ["1"]}),
    "semicolons": ("a.csv", b"user;n\nanna;1,5\n", {"user": ["anna"], "n": ["1,5"]}),
    "tabs in a .csv": ("a.csv", b"user\tn\nanna, b\t1\n", {"user": ["anna, b"], "n": ["1"]}),
    "a .tsv of one column": ("a.tsv", b"url\n/a,b;c\n", {"url": ["/a,b;c"]}),
    "blanks behind commas": ("a.csv", b'user, n\nanna, "1, 2"\n', {"user": ["anna"], "n": ["1, 2"]}),
    "blanks in fields": ("a.csv", b"user,n\n anna ,1\n", {"user": [" anna "], "n": ["1"]}),
    "upper case suffix": ("A.CSV", b"user\nanna\n", {"user": ["anna"]}),
    "quotes": ("a.csv", b'user\n"a ""b"",\nc"\n', {"user": ['a "b",\nc']}),
    "a huge field": ("a.csv", b'user\n"' + b"x" * 300_000 + b'"\n', {"user": ["x" * 300_000]}),
    "blank lines": ("a.csv", b"\nuser,n\n\nanna,1\n  \nbert,2\n\n", {"user": ["anna", "bert"], "n": ["1", "2"]}),
    "a column without a name": ("a.csv", b",user\n0,anna\n", {"user": ["anna"]}),
    "no line break at the end": ("a.csv", b"user\nanna", {"user": ["anna"]}),
    "JSON lines": ("a.jsonl", b'{"user": true}\n\n{"user": null}', {"user": [True, None]}),
    "a JSON array": ("a.json", b'[{"user": 12345678901234567890},\n {"user": [1]}]', {"user": [BIG, [1]]}),
    "JSON lines in a .json": ("a.json", b'{"user": 1e22}\n{"user": {}}', {"user": [1e22, {}]}),
}  # fmt: skip

REFUSED: dict[str, tuple[str, bytes, str]] = {
    "short row": ("a.csv", b'user,n\n"a\nb",1\n\nbert\n', "a.csv, line 5 has 1 field, but the header has 2"),
    "long row": ("a.csv", b"user\nanna\nbert,2\n", "a.csv, line 3 has 2 fields, but the header has 1"),
    "far below": ("a.csv", b"user,n\n" + b"a,1\n" * 5000 + b"a\n", "a.csv, line 5002 has 1 field"),
    "nothing": ("a.csv", b" \n", "a.csv is empty"),
    "only a header": ("a.csv", b"user\n", "a.csv has no rows, only a header"),
    "two names": ("a.csv", b"user, user\na,b\n", "a.csv has two columns 'user'"),
    "open quote": ("a.csv", b'user\nanna\n"bert\nx\n', "a.csv, line 3 is no CSV"),
    "utf-16": ("a.csv", "user\nanna\n".encode("utf-16"), "a.csv is UTF-16; save it as UTF-8"),
    "utf-16 without its mark": ("a.csv", "user\nanna\n".encode("utf-16-le"), "a.csv is UTF-16"),
    "latin-1": ("a.csv", "user\nanna\nJosé\n".encode("latin-1"), "a.csv, line 3 is not UTF-8; save it as UTF-8"),
    "no JSON": ("a.jsonl", b'{"user": 1}\n{"user": }\n', "a.jsonl, line 2 is not JSON"),
    "no JSON array": ("a.json", b'[{"user": 1},\n{"user": }]\n', "a.json, line 2 is not JSON"),
    "deep": ("a.json", b"[" * 100_000, "a.json is not JSON"),
    "no number": ("a.jsonl", b'{"user": NaN}\n', "a.jsonl, line 1 is not JSON: NaN is no number"),
    "no object": ("a.jsonl", b'{"user": 1}\n[2]\n', "a.jsonl, line 2 is no JSON object"),
    "no rows": ("a.json", b"[]", "a.json is empty"),
    "hole": ("a.jsonl", b'{"user": 1}\n\n{"n": 2}\n', "a.jsonl, line 3 has no 'user', which the operation needs"),
    "late column": ("a.json", b'[{"n": 1}, {"user": 2}]', "a.json, row 1 has no 'user'"),
    "other kind": ("a.xlsx", b"PK", "a.xlsx: unknown kind '.xlsx'"),
    "folder": ("a.csv/", b"", "cannot read data file a.csv/: Is a directory"),
}


@pytest.mark.parametrize(("name", "content", "columns"), READ.values(), ids=READ.keys())
def test_a_file_is_read_as_it_was_meant(name: str, content: bytes, columns: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    file = read_data_file(name, str(tmp_path), "here")
    assert (dict(file.columns), file.count) == (columns, len(columns["user" if "user" in columns else "url"]))


@pytest.mark.parametrize(("name", "content", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_used_is_one_line_with_its_place(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SuiteError) as caught:
        check(from_folder(tmp_path, [{"name": "a", "path": "/{user}", "data": name}]))
    line = str(caught.value)
    assert said in line and "operation 'a'" in line and "\n" not in line and caught.value.mend


def from_folder(folder: Path, operations: list[dict[str, Any]], url: str = "", **scenario: Any) -> perflib.Suite:
    """A suite whose data files are in the folder."""
    base = {"load": {"model": "closed", "concurrency": 4, "requests": 60}, "warmup": {"duration_s": 0}}
    made = suite({"kind": "http", "url": url or "http://127.0.0.1:1"}, operations=operations, **{**base, **scenario})
    return replace(made, folder=str(folder))


def paths(heard: list[bytes]) -> list[str]:
    return [re.split(rb" ", head)[1].decode() for head in heard]


def run(folder: Path, operations: list[dict[str, Any]], **scenario: Any) -> tuple[perflib.Run, Counter[str]]:
    """The run, and how often each path was requested."""
    heard: list[bytes] = []
    with raw_server(says(OK), heard) as url:
        made = run_quietly(from_folder(folder, operations, url, **scenario), folder / "data")
    return made, Counter(paths(heard))


ROUND = [{"name": name, "path": f"/{name}/{{user}}", "data": "users.csv"} for name in ("login", "cart", "logout")]


@pytest.mark.parametrize("order", ["sequence", "interleaved"])
def test_the_operations_of_a_round_share_a_row_and_every_row_is_used(order: str, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text(USERS)
    made, requested = run(tmp_path, ROUND, order=order, workers=2)
    assert requested == {f"/{name}/u{n}": 1 for name in ("login", "cart", "logout") for n in range(20)}
    assert made.status == "complete"


def test_an_operation_of_a_round_may_use_the_row_without_naming_the_file(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text(USERS)
    first, *rest = ROUND
    bare = [{key: value for key, value in each.items() if key != "data"} for each in rest]
    _, requested = run(tmp_path, [first, *bare], order="sequence", workers=2)
    assert set(requested.values()) == {1} and len(requested) == 60


def test_operations_by_weight_share_the_rows_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text(USERS)
    _, requested = run(tmp_path, ROUND, workers=2)
    by_row = Counter(path.rpartition("/")[2] for path in requested.elements())
    assert by_row == {f"u{n}": 3 for n in range(20)}


def test_rows_that_are_used_once_end_the_load_in_words(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text(USERS)
    once = [{**each, "pick": "once"} for each in ROUND]
    load = {"model": "closed", "concurrency": 3, "duration_s": 30}
    made, requested = run(tmp_path, once, load=load, order="sequence", workers=2)
    assert requested == {f"/{name}/u{n}": 1 for name in ("login", "cart", "logout") for n in range(20)}
    assert made.status == "complete"
    assert made.scenario("one").record.trouble == ["the load ended early: every row of users.csv was used once"]


def test_rows_that_are_used_once_end_a_load_with_a_rate(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text(USERS)
    load = {"model": "constant", "rate_per_s": 200, "duration_s": 30}
    made, requested = run(tmp_path, [{**ROUND[0], "pick": "once"}], load=load, workers=2)
    assert requested == {f"/login/u{n}": 1 for n in range(20)}
    assert made.status == "complete" and made.scenario("one").record.used_up


@pytest.mark.parametrize("order", ["sequence", "weighted"])
def test_one_each_gives_every_user_a_row_of_its_own(order: str, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text(USERS)
    each = [{**operation, "pick": "one each"} for operation in ROUND]
    load = {"model": "closed", "concurrency": 5, "requests": 600}
    _, requested = run(tmp_path, each, load=load, order=order, workers=2)
    used = Counter(path.rpartition("/")[2] for path in requested.elements())
    assert len(used) == 5 and sum(used.values()) == 600


def test_rows_at_random_are_drawn_by_the_seed(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text(USERS)
    load = {"model": "closed", "concurrency": 1, "requests": 400}
    random = [{**ROUND[0], "pick": "random"}]
    first, again = (run(tmp_path, random, load=load)[1] for _ in range(2))
    assert first == again and len(first) == 20
    assert max(first.values()) > 20, "400 draws of 20 rows are not in turn"


def test_more_workers_than_rows_use_all_rows(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user\na\nb\n")
    _, requested = run(tmp_path, [ROUND[0]], workers=3, load={"model": "closed", "concurrency": 3, "requests": 30})
    assert set(requested) == {"/login/a", "/login/b"} and sum(requested.values()) == 30


NOT_PICKED: list[tuple[dict[str, Any], list[dict[str, Any]], str]] = [
    ({}, [{"name": "a", "path": "/", "pick": "once"}], "pick = 'once' without data"),
    ({}, [{**ROUND[0], "pick": "each"}], "must be 'in turn', 'random', 'one each' or 'once'"),
    ({"order": "sequence"}, [ROUND[0], {**ROUND[1], "pick": "once"}], "users.csv is picked 'once' here and 'in turn'"),
    ({"order": "interleaved"}, [{**ROUND[0], "pick": "one each"}], "pick = 'one each' without users"),
    (
        {"load": {"model": "closed", "concurrency": 21, "requests": 60}},
        [{**ROUND[0], "pick": "one each"}],
        "users.csv has 20 rows for 21 users; add rows",
    ),
    (
        {"order": "sequence"},
        [ROUND[0], {"name": "b", "path": "/{user}", "data": "more.csv"}],
        "both users.csv and more.csv have a column 'user'",
    ),
]


@pytest.mark.parametrize(("scenario", "operations", "said"), NOT_PICKED, ids=[said for *_, said in NOT_PICKED])
def test_a_pick_that_cannot_be_followed_is_refused(
    scenario: dict[str, Any], operations: list[dict[str, Any]], said: str, tmp_path: Path
) -> None:
    (tmp_path / "users.csv").write_text(USERS)
    (tmp_path / "more.csv").write_text(USERS)
    with pytest.raises(SuiteError) as caught:
        check(from_folder(tmp_path, operations, **scenario))
    assert said in str(caught.value) and "'" in caught.value.where + "'"


def test_a_large_file_takes_less_than_a_hundred_megabytes(tmp_path: Path) -> None:
    import tracemalloc

    with (tmp_path / "big.csv").open("w") as lines:
        lines.write("user,password,email,city\n")
        lines.writelines(f"user{i},pw{i},user{i}@example.com,City {i % 500}\n" for i in range(50_000))
    tracemalloc.start()
    try:
        file = read_data_file("big.csv", str(tmp_path), "here")
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file.count == 50_000 and taken < 25e6, "which is 100 MB of 200,000 rows"


COLUMNS = ["user", "n", "city"]


def written(folder: Path, kind: str, rows: int) -> str:
    """The same rows as a file of one kind."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = [{"user": f"u{at}", "n": at, "city": f"City, {at % 7}"} for at in range(rows)]
    name = f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(table), folder / name, row_group_size=700)
    elif kind == "jsonl":
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in table))
    else:
        lines = (f'{row["user"]},{row["n"]},"{row["city"]}"\n' for row in table)
        (folder / name).write_text("\ufeff" + ",".join(COLUMNS) + "\n" + "".join(lines), "utf-8")
    return name


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("pick", ["in turn", "once", "one each"])
def test_rows_that_are_read_as_they_are_needed_are_those_that_would_be_held(
    kind: str, pick: str, tmp_path: Path
) -> None:
    name = written(tmp_path, kind, 1001)
    held, counted, large = (
        read_data_file(name, str(tmp_path), "here", **keys)  # type: ignore[arg-type]
        for keys in ({}, {"held_bytes": 10}, {"held_bytes": 10, "counted": False})
    )
    assert held.is_held and not large.is_held and held.count == counted.count == 1001
    assert [*held.columns] == [*counted.columns] == [*large.columns] == COLUMNS
    for index in range(3):
        of_both = [data_rows(file, pick, Random(1), ["city", "n"], index=index, of=3) for file in (held, large)]
        for at in range(800):
            filled = [_filled(rows, at % 300) for rows in of_both]
            assert filled[0] == filled[1], at
            if filled[0] is None:
                assert pick == "once"
                break


def _filled(rows: Rows, user: int) -> dict[str, Any] | None:
    row: dict[str, Any] = {}
    try:
        rows.fill(row, user)
    except DataUsedUpError:
        return None
    return row


def test_a_large_file_is_read_as_it_is_needed_by_the_workers_of_a_run(tmp_path: Path) -> None:
    """A million rows: every worker has its own, and no worker has them all in its memory."""
    with (tmp_path / "big.csv").open("w") as lines:
        lines.write("user,note\n")
        lines.writelines(f"u{at},{'x' * 30}\n" for at in range(1_000_000))
    operations = [{"name": "login", "path": "/login/{user}", "data": "big.csv"}]
    made, requested = run(tmp_path, operations, workers=2, load={"model": "closed", "concurrency": 4, "requests": 400})
    assert made.status == "complete" and set(requested.values()) == {1} and len(requested) == 400
    numbers = sorted(int(path.removeprefix("/login/u")) for path in requested)
    assert numbers == list(range(400))
    with pytest.raises(SuiteError, match=r"'random' needs all rows in memory, and the 1,000,000 of big\.csv"):
        check(from_folder(tmp_path, [{**operations[0], "pick": "random"}]))


LARGE_REFUSED = {
    "fields": ("a.csv", "user,n\na,1\nb\n", "a.csv, line 3 has 1 field, but the header has 2"),
    "latin": ("a.csv", b"user\nanna\n\xe9mile\n", "a.csv, line 3 is not UTF-8"),
    "header": ("a.csv", "user\n", "a.csv has no rows"),
    "hole": ("a.jsonl", '{"user": 1}\n{"n": 2}\n', "line 2"),
    "json": ("a.jsonl", '{"user": 1}\n{"user": \n', "a.jsonl, line 2 is not JSON"),
    "parquet": ("a.parquet", b"PAR1 and then nothing", "a.parquet cannot be read as Parquet"),
}


@pytest.mark.parametrize(("name", "content", "said"), LARGE_REFUSED.values(), ids=LARGE_REFUSED.keys())
def test_what_is_wrong_with_a_large_file_is_found_before_the_load(
    name: str, content: str | bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SuiteError) as caught:
        read_data_file(name, str(tmp_path), "here", held_bytes=5).require(["user"], "here")
    assert said in str(caught.value) and "\n" not in str(caught.value) and caught.value.mend


def test_values_of_parquet_keep_their_types_and_others_become_texts(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    day = datetime(2026, 11, 30, 20, 15)
    table = {
        "n": [1],
        "share": [0.5],
        "on": [True],
        "none": [None],
        "tags": [["a"]],
        "day": [day],
        "price": [Decimal("1.50")],
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    columns = read_data_file("a.parquet", str(tmp_path), "here").columns
    texts = {"day": ["2026-11-30 20:15:00.000000"], "price": ["1.50"]}
    assert columns == {**{name: values for name, values in table.items() if name not in texts}, **texts}


def test_sequences_without_a_common_file_stay_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text(USERS)
    (tmp_path / "items.csv").write_text("item\na\nb\nc\n")
    operations = [ROUND[0], {"name": "buy", "path": "/buy/{item}/{user}", "data": "items.csv"}]
    _, requested = run(
        tmp_path, operations, order="sequence", load={"model": "closed", "concurrency": 1, "requests": 6}
    )
    assert requested == dict.fromkeys(["/login/u0", "/login/u1", "/login/u2", "/buy/a/u0", "/buy/b/u1", "/buy/c/u2"], 1)
