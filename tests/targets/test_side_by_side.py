"""What is good and what is an error, as curl and httpx count it on the same servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.side_by_side import REQUESTS, SERVERS, counted

RACES = "closes after each answer without a word"  # httpx does not send again what the server has not read


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_good_and_bad_answers_are_counted_as_curl_and_httpx_do(name: str, tmp_path: Path) -> None:
    found = counted(name, tmp_path)
    assert all(counts.total() == REQUESTS for counts in found.values()), found
    good = {client: counts["ok"] for client, counts in found.items()}
    assert good["perflib"] == good["curl"], found
    if name != RACES:
        assert good["perflib"] == good["httpx"], found
