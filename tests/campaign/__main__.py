"""`python -m tests.campaign [--short] [--minutes 15] [--seed N] [--only PART …]`: kills, faults and attacks on the real
command line.

Prints a table: for each kind of trial how many there were, the rows that were lost, the runs that open afterwards, the
processes that were left, and secrets that leaked or other harm. Exit code 1 where anything was.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.campaign import parts
from tests.campaign.parts import Budget, Line

SHORT = {"runs": (12.0, 4), "ab": (0.0, 0), "commands": (6.0, 5), "pairs": (4.0, 4), "limits": (5.0, 3)}
WHOLE = {"runs": (210.0, 90), "ab": (60.0, 12), "commands": (300.0, 140), "pairs": (120.0, 110), "limits": (90.0, 18)}

PARTS = (*WHOLE, "hostile", "canaries")


def campaign(folder: Path, short: bool, minutes: float, seed: int, only: Sequence[str] = ()) -> list[Line]:
    """Make all trials, or those of some parts, at most for so many minutes."""
    chance = random.Random(seed)
    budgets = {
        name: Budget(seconds * (1.0 if short else minutes / 15), trials)
        for name, (seconds, trials) in (SHORT if short else WHOLE).items()
    }
    lines: list[Line] = []
    for name, made in {
        "runs": lambda: parts.runs_that_are_killed(folder, budgets["runs"], chance, "run"),
        "ab": lambda: parts.runs_that_are_killed(folder, budgets["ab"], chance, "ab"),
        "commands": lambda: parts.commands_that_are_killed(folder, budgets["commands"], chance),
        "pairs": lambda: parts.pairs_of_writers(folder, budgets["pairs"], chance),
        "limits": lambda: parts.limits(folder, budgets["limits"], chance),
        "hostile": lambda: [] if short else parts.hostile_answers(folder, ("HTTP", "http", "sse", "stdio")),
        "canaries": lambda: [] if short else parts.secrets(folder / "canaries", quick=False),
    }.items():
        if only and name not in only:
            continue
        began = time.monotonic()
        lines += made()
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return lines


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--short", action="store_true", help="a minute's worth of it")
    options.add_argument("--minutes", type=float, default=15.0)
    options.add_argument("--seed", type=int, default=random.randrange(10**6))
    options.add_argument("--only", nargs="+", metavar="PART", default=(), choices=PARTS, help=", ".join(PARTS))
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="perflib-campaign-") as folder:
        lines = campaign(Path(folder), given.short, given.minutes, given.seed, given.only)
    print(f"seed {given.seed}\n\n{parts.table(lines)}")
    for line in lines:
        for harm in line.harm[:20]:
            print(f"{line.what}: {harm}", file=sys.stderr)
    return int(not parts.is_harmless(lines))


if __name__ == "__main__":
    sys.exit(main())
