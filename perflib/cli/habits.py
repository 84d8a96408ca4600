"""What users of other tools type out of habit: what perflib calls it, said in the message that refuses it."""

from __future__ import annotations

import re
from typing import Any, Final

import click

_RUN: Final = {
    "--users": "--vus -c --concurrency --connections -u --users -N --threads",
    "--requests": "-n --num-requests --iterations -i",
    "--rate": "--rps -q --qps -R --rate-limit --arrival-rate",
    "--duration": "-z -t --time --run-time --timelimit",
    "-X": "-m",
    "-d": "-D --data-raw --data-binary -B",
    "--only": "--scenario --tags --test",
    "perflib report --out": "-o --out --output --html --csv -l",
    'load = { model = "users", stages = [{ users = 50, over_s = 10 }] } of a suite': "-r --spawn-rate --stage --rampup",
    "the URL, as in perflib run http://127.0.0.1:8000/items": "--host --url -f --locustfile",
}  # fmt: skip
_OURS: Final = {theirs: ours for ours, all_of_them in _RUN.items() for theirs in all_of_them.split()}
_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d*)?)s?)?")


def message(error: click.ClickException) -> str:
    """What is wrong with a command, in one line; of an option that other tools have for `perflib run`, its name here:
    "No such option '--vus'; it is --users here"."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None and error.ctx.info_name == "run":
        ours = _OURS.get(error.option_name)
        if ours:
            return f"No such option {error.option_name!r}; it is {ours} here"
    return " ".join(error.format_message().split()).rstrip(".")


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A length of time in seconds, or as other tools write it: 90, 1.5, 30s, 2m, 1h30m."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = _DURATION.fullmatch(str(value).strip().lower())
        hours, minutes, seconds = found.groups() if found and any(found.groups()) else (None, None, None)
        total = 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds or 0)
        if total <= 0:
            self.fail(f"{str(value)!r} is no length of time: write seconds, as 30, or 30s, 2m, 1h30m", param, ctx)
        return total
