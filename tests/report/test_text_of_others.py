"""Text of others, in names, errors and answers, acts nowhere: not in a terminal, in XML, Markdown or a chat."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import markdown_it
import pytest
from hypothesis import given
from hypothesis import strategies as st

import perflib
from perflib.errors import SuiteError, TargetError
from perflib.load.gauges import Reader
from perflib.report import github, junit, markdown, webhook
from perflib.store.manifest import Manifest, read_manifest, write_manifest
from perflib.store.schema import label
from perflib.suite.file import from_table
from perflib.text import all_cleaned, cleaned, inert, table
from tests.support.servers import raw_server, says
from tests.support.suites import table as suite_table

ESCAPES = "a\x1b[2J\x1b]0;owned\x07b\x9b31mc\x00\x08\ud800\u202ed\x85e\u2028f\r"
LIVELY = [
    "![x](http://evil.example/y)", "<!channel> & <@U123> <http://a|b>", "@everyone #12", "*bold* _it_ ~~no~~ `code`",
    "\\| \\[ \\` a|b", "# heading", "- list", "1. list", "> quote", "---", "www.evil.example", "http://evil.example",
    "<script>alert(1)</script>", "| a | b |", "\\", "[a]: http://b", "<details>", "mailto:a@b.example",
]  # fmt: skip
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]")


@given(st.text(st.characters(), max_size=60))
def test_cleaned_text_can_be_written_everywhere(text: str) -> None:
    plain = cleaned(text)
    plain.encode()
    assert not CONTROL.search(plain) and cleaned(plain) == plain
    ElementTree.fromstring(f"<a>{plain.replace('&', '').replace('<', '')}</a>")
    assert not CONTROL.search(str(TargetError(text, where=text, mend=text)))
    assert not CONTROL.search(table([{"name": text}]).replace("\n", ""))
    assert not CONTROL.search(label(text))


def test_run_json_holds_nothing_that_acts_and_neither_does_what_is_read_of_another(tmp_path: Path) -> None:
    hostile = Manifest(run="r", suite={"name": "s"}, reasons=[ESCAPES], command=ESCAPES, versions={ESCAPES: "1"})
    write_manifest(tmp_path, hostile)
    assert all_cleaned(json.loads((tmp_path / "run.json").read_text())) == json.loads(
        (tmp_path / "run.json").read_text()
    )
    raw = {"schema": 2, "run": "r", "suite": {"name": "s"}, "reasons": [ESCAPES]}
    (tmp_path / "run.json").write_text(json.dumps(raw))
    assert not CONTROL.search(read_manifest(tmp_path).reasons[0])


@pytest.mark.parametrize("text", LIVELY)
def test_markdown_stays_text(text: str) -> None:
    shown = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).render(f"{markdown.cell(text)}")
    assert re.fullmatch(r"<p>[^<]*</p>\n", shown), shown
    row = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).render(f"| a |\n|---|\n| {markdown.cell(text)} |")
    assert row.count("<td>") == 1 and "<a" not in row and "<em" not in row
    assert not re.search(r"@\w|://|www\.|#\d", inert(text))


def test_a_chat_gets_no_mentions(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []
    with raw_server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), heard) as url:
        webhook.notify(f"{url}/hook", LIVELY[1], [LIVELY[2], ESCAPES])
    sent = json.loads(heard[0].partition(b"\r\n\r\n")[2])
    assert "<" not in sent["text"] and "@everyone" not in sent["text"] and sent["mrkdwn"] is False
    assert "&lt;!channel&gt; &amp;" in sent["text"] and not CONTROL.search(sent["text"].replace("\n", ""))


def test_annotations_and_xml_hold_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setenv("GITHUB_ACTIONS", "true")
        patch.delenv("GITHUB_STEP_SUMMARY", raising=False)
        github.tell(lambda: "", [("error", f"{ESCAPES}\n::warning::x")])
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and not CONTROL.search(said.replace("\n", ""))
    case = junit.Case(ESCAPES, ESCAPES, junit.Outcome.FAIL, ESCAPES)
    assert ElementTree.fromstring(junit._document(ESCAPES, [case])).tag == "testsuite"


def test_gauges_of_a_hostile_target_are_numbers_with_names() -> None:
    values = json.dumps({ESCAPES: 1, "huge": 10**400, "nan": float("nan"), "text": "1", "true": True, "fine": 2.5})
    body = values.encode()
    with raw_server(says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))) as url:
        target = perflib.Target(kind="http", url=url, gauges="/g")
        numbers = {name: value for name, _, value in Reader(target, target.gauges[0]).read()}
    assert len(numbers) == 2 and numbers["fine"] == 2.5 and not any(CONTROL.search(name) for name in numbers)


@pytest.mark.parametrize("name", ["../../evil", "a/b", ".hidden", "a\x1b[2Jb", "", "x" * 81])
def test_a_name_that_is_no_file_name_is_no_target(name: str) -> None:
    made = suite_table(target=name)
    made["targets"] = {name: made["targets"]["api"]}
    with pytest.raises(SuiteError):
        from_table(made)
    with pytest.raises(SuiteError):
        perflib.Scenario(**{**suite_table()["scenarios"][0], "name": "a\x1b[2Jb"})
