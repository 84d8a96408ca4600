"""No secret of a description stands in the suite made from it, whatever it looks like and wherever it stands."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perflib.sources.formats import suite_of
from perflib.sources.given import Given
from perflib.suite import redaction
from perflib.suite.file import parse_suite
from tests.support.access_logs import log_of

secrets = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=8, max_size=40).filter(
    lambda text: text == text.strip() and len(set(text)) > 5 and not text.isalpha()
)
quickly = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    redaction.forget()


def requests_of(secret: str) -> list[dict[str, Any]]:
    """Requests with a secret in each place, as a HAR has them."""
    here = "http://127.0.0.1:1"
    basic = base64.b64encode(f"ada:{secret}".encode()).decode()
    places: list[tuple[str, dict[str, str], tuple[str, str] | None]] = [
        (f"{here}/a", {"Authorization": f"Bearer {secret}"}, None),
        (f"{here}/b", {"authorization": f"Basic {basic}"}, None),
        (f"{here}/c", {"Cookie": f"theme=dark; sid={secret}"}, None),
        (f"{here}/d", {"X-Api-Key": secret}, None),
        (f"{here}/e?page=1&api_key={quote(secret, safe='')}", {}, None),
        (
            f"{here}/f",
            {},
            ("application/json", json.dumps({"user": "ada", "login": {"password": secret}, "none": None})),
        ),
        (f"{here}/g", {}, ("application/x-www-form-urlencoded", urlencode({"user": "ada", "client_secret": secret}))),
        (f"{here}/h/{quote(secret, safe='')}/i", {}, ("application/json", json.dumps({"comment": f"it is {secret}"}))),
    ]
    return [
        {
            "request": {
                "method": "POST" if body else "GET",
                "url": url,
                "headers": [{"name": name, "value": value} for name, value in headers.items()],
                **({"postData": {"mimeType": body[0], "text": body[1]}} if body else {}),
            },
            "response": {"status": 200, "headers": [], "content": {}},
        }
        for url, headers, body in places
    ]


def stands_in(secret: str, text: str) -> bool:
    """Whether a text has the secret, as it is or in another form."""
    redaction.forget()
    redaction.learn_secret(secret)
    encoded = base64.b64encode(f"ada:{secret}".encode()).decode()
    return encoded in text or any(form in text for form in redaction.known_secrets() if len(form) >= 8)


@quickly
@given(secret=secrets)
def test_no_secret_of_a_recording_stands_in_its_suite(secret: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    redaction.forget()
    file = tmp_path_factory.mktemp("har") / "a.har"
    file.write_text(json.dumps({"log": {"version": "1.2", "entries": requests_of(secret)}}))
    made = suite_of(Given([str(file)], Path("suite.toml"), everything=True))[1]
    suite = parse_suite(made.text, where="suite.toml", folder="")
    assert not stands_in(secret, made.text), made.text
    assert len(suite.scenarios[0].operations) >= 7
    assert secret in made.variables.values(), "what to set is known"


@quickly
@given(secret=st.from_regex(r"[A-Za-z0-9_\-]{8,30}", fullmatch=True).filter(lambda text: not text.isalpha()))
def test_no_secret_of_other_formats_stands_in_its_suite(secret: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    redaction.forget()
    folder = tmp_path_factory.mktemp("formats")
    curl = f"curl http://127.0.0.1:1/{secret} -H 'X-Token: {secret}'\ncurl -u 'ada:{secret}' http://ada:{secret}@localhost:1/\n"
    example = {"password": secret, "user": "ada"}
    body = {"content": {"application/json": {"example": example}}}
    api = {"openapi": "3.0.0", "info": {"title": secret}, "paths": {"/a": {"post": {"requestBody": body}}}}
    item = {"name": secret, "request": {"url": f"http://127.0.0.1:1/?token={secret}"}}
    variables = [{"key": "password", "value": secret}]
    auth = {"type": "basic", "basic": [{"key": "username", "value": "a"}, {"key": "password", "value": secret}]}
    info = {"name": "x", "schema": "https://schema.getpostman.com/json/collection/v2.1.0/"}
    files = {
        "curl.sh": curl,
        "api.json": json.dumps(api),
        "access.log": log_of(8).replace("q=tea", f"token={secret}"),
        "mix.log": log_of(800).replace("full=1", f"token={secret}", 90).replace("full=1", "token=another-one"),
        "replay.log": log_of(8).replace("q=tea", f"token={secret}").replace("/old", f"/old/{secret}"),
        "postman.json": json.dumps({"info": info, "item": [item], "variable": variables, "auth": auth}),
    }
    for name, text in files.items():
        redaction.forget()
        (folder / name).write_text(text)
        given = Given([str(folder / name)], Path("suite.toml"), everything=True)
        made = suite_of(given, "replay" if name == "replay.log" else None)[1]
        parse_suite(made.text, where="suite.toml", folder="")
        assert not stands_in(secret, made.text + str(made.losses) + str(made.files)), made.text


def test_a_reference_that_the_description_has_itself_is_literal(tmp_path: Path) -> None:
    """A description of others cannot have perflib send the environment, or fill in anything."""
    hostile = "${AWS_SECRET_ACCESS_KEY} {uuid} \ue001HOME\ue002 \\ue001HOME\\ue002"
    entry = requests_of("abcdefgh-1")[-1]
    entry["request"]["headers"] = [{"name": "X-Note", "value": hostile.replace("\\ue001", "\ue001")}]
    (tmp_path / "a.har").write_text(json.dumps({"log": {"entries": [entry]}}))
    made = suite_of(Given([str(tmp_path / "a.har")], Path("suite.toml"), everything=True))[1]
    assert "${{AWS_SECRET_ACCESS_KEY}} {{uuid}}" in made.text
    assert "HOME}" not in made.text and "HOME" not in made.variables
