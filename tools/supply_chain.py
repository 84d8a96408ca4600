"""What perflib is made of: the licence of every package that it brings along, and their known vulnerabilities.

    python -m tools.supply_chain              both; exit code 1 for a licence or a vulnerability that is not accepted
    python -m tools.supply_chain licences     a table of packages, versions and licences; needs no network

Vulnerabilities are looked up by pip-audit, for the pinned versions of constraints.txt. Where it is not installed, or
reaches no index, that is said and skipped.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = "perflib-workbench"
EXTRAS: Final = ("lab", "service", "dask", "s3")
# Permissive licences, and those whose terms end at the files of the package itself.
ALLOWED: Final = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|Zlib|Unlicense|CC0|0BSD|MPL|Mozilla|HPND|LGPL|BlueOak", re.I
)
REFUSED: Final = re.compile(r"AGPL|(?<!L)GPL(?!.*exception)|SSPL|BUSL|proprietary|non-?commercial", re.I)
AUDIT_S: Final = 300
_OFFLINE: Final = re.compile(r"connection|resolve|timed? ?out|unreachable|proxy|network|retries", re.I)


def main(what: str = "") -> int:
    """Exit code 0, or 1 where something is wrong."""
    wrong = [f"{name} {version}: {licence}" for name, version, licence in licences() if not is_allowed(licence)]
    for name, version, licence in licences():
        print(f"{name:32} {version:16} {licence}")
    for line in wrong:
        print(f"not allowed: {line}", file=sys.stderr)
    found = False if what == "licences" else vulnerabilities()
    return int(bool(wrong) or found)


def licences() -> list[tuple[str, str, str]]:
    """Name, version and licence of every installed package that perflib needs with its extras, by name."""
    found: dict[str, Distribution] = {}
    left = [(PACKAGE, ("", *EXTRAS))]
    while left:
        name, extras = left.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = distribution(name)
        except PackageNotFoundError:  # of another platform, or of an extra that is not installed
            continue
        for text in found[key].requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras or ("",)):
                left.append((needed.name, tuple(needed.extras) or ("",)))
    del found[PACKAGE]
    return [(key, about.version, licence_of(about)) for key, about in sorted(found.items())]


def licence_of(about: Distribution) -> str:
    """The licence that a package states: its SPDX expression, its classifiers, or the first line of its text."""
    stated = about.metadata.get("License-Expression")
    classified = [
        text.rpartition(" :: ")[2] for text in about.metadata.get_all("Classifier") or () if "License ::" in text
    ]
    text = (about.metadata.get("License") or "").strip().partition("\n")[0]
    return str(stated or ", ".join(classified) or text[:60] or "not stated")


def is_allowed(licence: str) -> bool:
    """Whether perflib may be used together with a package of this licence."""
    return bool(ALLOWED.search(licence)) and not REFUSED.search(licence)


def vulnerabilities() -> bool:
    """Whether pip-audit knows vulnerabilities of the pinned versions. Says why where it cannot look them up."""
    if importlib.util.find_spec("pip_audit") is None:
        print("vulnerabilities: skipped, pip-audit is not installed", file=sys.stderr)
        return False
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "requirements.txt"
        pinned.write_text((ROOT / "constraints.txt").read_text("utf-8"), "utf-8")
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(pinned), "--no-deps", "--disable-pip"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_S, check=False)
        except subprocess.TimeoutExpired:
            print(f"vulnerabilities: skipped, no answer within {AUDIT_S} s", file=sys.stderr)
            return False
    if done.returncode and _OFFLINE.search(done.stderr) and not done.stdout.strip():
        print(
            f"vulnerabilities: skipped, no index is reachable: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr
        )
        return False
    if "could not be audited" in done.stdout and "Fix Versions" not in done.stdout:
        print("vulnerabilities: skipped, the index that is reachable here knows none of the packages", file=sys.stderr)
        return False
    print(done.stdout or done.stderr)
    return bool(done.returncode)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
