"""Tell a webhook, as Slack and its like take it, of what was found: only what is confirmed, never what could not be
decided."""

from __future__ import annotations

import html
import json
import sys
import urllib.request
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from perflib.suite.environment import from_environment
from perflib.suite.redaction import learn_secret, struck_out, without_known
from perflib.text import inert, one_line

if TYPE_CHECKING:
    from perflib.verdicts.comparison import Comparison
    from perflib.verdicts.verdict import Verdict

TIMEOUT_S: Final = 10.0
MOST: Final = 20


def notify(url: str, headline: str, lines: Iterable[str]) -> None:
    """POST {"text": …} to `url`, in which ${NAME} is filled from the environment; nothing where there are no lines.

    A webhook that does not answer is a line on stderr, without its URL, which is a secret; the verdict stays what it
    is. Raises SuiteError for a variable that is not set.
    """
    told = list(lines)
    if not told:
        return
    more = [f"… and {len(told) - MOST} more"] if len(told) > MOST else []
    text = "\n".join(map(_escaped, [headline, *(f"• {line}" for line in told[:MOST]), *more]))
    learn_secret(url)
    body = json.dumps({"text": without_known(text), "mrkdwn": False, "unfurl_links": False}).encode()
    try:
        request = urllib.request.Request(
            from_environment(url, "--notify"), data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            pass
    except (OSError, ValueError) as error:
        said = getattr(error, "code", None) or getattr(error, "reason", None) or type(error).__name__
        said = one_line(struck_out(str(said)), 200)
        print(f"perflib: --notify: the webhook did not take it: {said}", file=sys.stderr)


def _escaped(line: str) -> str:
    """A line that Slack takes for text: no mentions like <!channel>, no links; its formatting is off."""
    return html.escape(inert(line), quote=False)


def of_verdicts(verdicts: Iterable[Verdict]) -> list[str]:
    """Objectives that are missed."""
    return [
        f"{v.scenario}: {v.objective.text}: observed {v.observed[0]} [{v.observed[1]}]"
        for v in verdicts
        if v.judged and v.verdict == "fail"
    ]


def of_comparison(compared: Comparison) -> list[str]:
    """Figures that are worse than their margin for certain."""
    if compared.invalid:
        return []
    return [f"{c.part}: {c.question}: {c.cells[2]} [{c.cells[3]}]" for c in compared.judged if c.verdict == "fail"]
