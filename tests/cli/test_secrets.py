"""Secrets: nothing that is written or printed has one, whoever echoes it, and words that only look like one stay."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import TextIO, cast
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perflib.suite import redaction
from perflib.suite.redaction import REDACTED, StruckOut, learn, redact_text, struck_out, without_known
from tests.support import canaries


def test_no_canary_gets_out_of_a_run(tmp_path: Path) -> None:
    planted = canaries.plant(tmp_path)
    printed = canaries.use(planted, quick=True)
    assert "19 errors" in printed, printed
    assert canaries.leaks(planted, printed) == []


@pytest.mark.slow
def test_no_canary_gets_out_of_the_command_line(tmp_path: Path) -> None:
    planted = canaries.plant(tmp_path)
    assert len(planted.canaries) >= 40
    assert canaries.leaks(planted, canaries.use(planted)) == []


def test_a_canary_that_gets_out_is_seen(tmp_path: Path) -> None:
    planted = canaries.plant(tmp_path)
    kind, canary = next(iter(planted.canaries.items()))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "some.log").write_text(base64.b64encode(canary.encode()).decode())
    assert canaries.leaks(planted, f"look: {canary}") == [f"{kind}: printed", f"{kind}: data/some.log"]


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=8, max_size=40).map(str.strip))
def test_a_secret_is_found_in_whatever_it_is_written(secret: str) -> None:
    if len(secret) < 8 or REDACTED in secret or secret.lower() in redaction._NO_SECRETS:
        return
    redaction.forget()
    learn({"password": secret})
    for text in (secret, json.dumps([secret]), quote(secret), quote(secret, safe=""), repr([secret])):
        assert secret not in without_known(text) and text != without_known(text)
    for before in ("", "a", "ab"):
        encoded = base64.b64encode(f"{before}{secret}:x".encode()).decode()
        assert REDACTED in without_known(encoded)


@pytest.mark.parametrize(
    "setting",
    [
        'targets.api.headers={ Authorization = "Bearer secret-value-1" }',
        "targets.api.headers.X-Api-Key=secret-value-1",
        'targets.api.start=["serve", "--api-key", "secret-value-1"]',
        'targets.api.start=["serve", "--token=secret-value-1"]',
        "targets.api.url=https://me:secret-value-1@host/",
        "targets.api.url=https://me:p@secret-value-1@host/",
        "targets.api.url=https://host/a?X-Amz-Signature=secret-value-1&b=1",
    ],
)
def test_an_option_loses_its_secret(setting: str) -> None:
    assert "secret-value-1" not in redact_text(setting)


def test_what_repeats_a_secret_loses_it() -> None:
    redact_text('targets.api.headers={ Authorization = "Bearer secret-value-1" }')
    assert without_known("it said secret-value-1") == f"it said {REDACTED}"


def test_what_is_no_secret_stays() -> None:
    learn({
        "name": "staging", "targets": {"production": {}}, "env": {"MODE_KEY": "staging", "API_TOKEN": "production"},
        "session": "shared", "password": "strict", "max_tokens": 512, "token": "${API_TOKEN}",
    })  # fmt: skip
    for text in ("staging", "production", "shared", "it is restricted", "512 tokens", "${API_TOKEN}"):
        assert struck_out(text) == text
    assert redact_text("targets.tools.session=own") == "targets.tools.session=own"


def test_a_stream_prints_what_it_can_encode() -> None:
    learn({"password": "sesame-sesame"})
    raw = io.BytesIO()
    stream = cast(TextIO, StruckOut(io.TextIOWrapper(raw, "ascii")))
    print("sesame-sesame, \ud800 and ü", file=stream)
    stream.flush()
    assert raw.getvalue() == b"???, ? and ?\n"
