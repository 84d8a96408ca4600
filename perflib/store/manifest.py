"""run.json, the manifest of a run: what was run, its state, and what happened. It is read and written only here.

    manifest = read_manifest(Path("data/runs/20261130-101500-shop"))
    manifest.status, manifest.host.cpu, manifest.scenarios[0].workers[0].rows

A run.json of an older schema is converted when it is read (`_migrated`); one of a newer schema is refused.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from perflib.errors import RunError
from perflib.store.files import sync, write_atomically
from perflib.store.records import (
    AbRecord,
    Event,
    GitRecord,
    HostRecord,
    ImportRecord,
    ProcessRecord,
    Record,
    RepeatRecord,
    Replacing,
    RunName,
    RunStatus,
    ScenarioRecord,
    TargetRecord,
    Whole,
)
from perflib.suite.redaction import all_without_known, struck_out
from perflib.text import all_cleaned

SCHEMA: Final = 2
FILE: Final = "run.json"


class Manifest(Record):
    """All of run.json."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    run: RunName
    status: RunStatus = "running"
    reasons: list[str] = Field(default_factory=list)
    process: ProcessRecord | None = None
    suite: dict[str, Any]  # plain data without secrets; `Recording.suite` is the Suite made from it
    command: str = ""
    seed: int = 0
    quick: bool = False
    host: HostRecord = Field(default_factory=HostRecord)
    versions: dict[str, str] = Field(default_factory=dict)
    git: GitRecord | None = None
    started_at: str = ""
    stopped_ns: Whole | None = None
    targets: dict[str, TargetRecord] = Field(default_factory=dict)
    scenarios: list[ScenarioRecord] = Field(default_factory=list)
    events: list[Event] = Field(default_factory=list)
    ab: AbRecord | None = None
    repeat: RepeatRecord | None = None
    replacing: Replacing | None = None
    imported: ImportRecord | None = None

    @property
    def started(self) -> str:
        """When the run was started, to the second, in UTC."""
        return self.started_at[:19].replace("T", " ")

    @property
    def commit(self) -> str | None:
        return self.git.commit if self.git else None

    @property
    def committed_at(self) -> str:
        """When its commit was made, in UTC; "" where that is unknown."""
        return self.git.committed_at if self.git else ""


def read_manifest(path: Path) -> Manifest:
    """The manifest of the run in a folder. Raises RunError if the folder has no valid run.json."""
    if not (path / FILE).is_file() and (path / FILE).exists():  # a device or a pipe has no end
        raise _no_run(path, "it is no regular file")
    try:
        content = all_cleaned(json.loads((path / FILE).read_text("utf-8")))  # it may be somebody else's
    except (OSError, ValueError, RecursionError) as error:
        raise _no_run(path, str(error)) from None
    if not isinstance(content, dict):
        raise _no_run(path, "it is no JSON object")
    schema = content.get("schema")
    if not isinstance(schema, int) or schema < 1:
        raise _no_run(path, "it has no schema version")
    if schema > SCHEMA:
        mend = "use that version"
        raise RunError(f"{FILE} has schema {schema}, written by a newer perflib", where=str(path), mend=mend)
    try:
        return Manifest.model_validate(_migrated(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise _no_run(path, f"{key}: {first['msg']}") from None


def version(path: Path) -> tuple[int, int, int]:
    """What changes with each writing of the run.json in a folder; zeros where there is none."""
    try:
        status = (path / FILE).stat()
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_mtime_ns, status.st_size


def write_manifest(path: Path, manifest: Manifest, *, durable: bool = False) -> None:
    """Write the run.json of a run atomically; durable: and wait until it is on disk. Raises OSError."""
    content = manifest.model_dump(by_alias=True, mode="json")
    for key in ("ab", "repeat", "replacing", "imported"):
        if content[key] is None:
            del content[key]
    content = all_cleaned(all_without_known(_struck_out(content)))
    write_atomically(path / FILE, json.dumps(content, indent=1, ensure_ascii=False), durable=durable)


class RunDirectory:
    """The directory of a run in progress, which is created here, and its manifest.

    RunDirectory(data, shared=True, suite=…, command=…): `shared` if other machines create runs in the same folder.
    """

    def __init__(self, data: Path, *, shared: bool = False, **about: Any) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        name = re.sub(r"[^\w.-]+", "-", about["suite"]["name"], flags=re.ASCII).strip("-.")[:60] or "suite"
        name += f"-{secrets.token_hex(3)}" if shared else ""
        parent = data / "runs"
        parent.mkdir(parents=True, exist_ok=True)
        for n in range(1000):
            self.path = parent / (f"{stamp}-{name}" + (f"-{n}" if n else ""))
            try:
                self.path.mkdir()
                break
            except FileExistsError:
                continue
        self.manifest = Manifest(run=self.path.name, **about)
        self.save()

    def save(self, *, durable: bool = False) -> None:
        """Write run.json; durable: when all files of the run are on disk, and return when it is there as well."""
        if durable:
            for folder, _, names in os.walk(self.path):
                for name in names:
                    if not name.startswith("."):
                        sync(Path(folder, name))
                sync(Path(folder))
        write_manifest(self.path, self.manifest, durable=durable)
        if durable:
            sync(self.path.parent)

    def event(self, t_ns: int, kind: str, text: str) -> None:
        """Record an event, which the report and its charts show."""
        self.manifest.events.append(Event(t_ns=t_ns, kind=kind, text=text))
        self.save()


def _struck_out(content: dict[str, Any]) -> dict[str, Any]:
    """The content without what looks like a secret in its sentences, into which answers and errors find their way."""
    scenarios = [
        {**scenario, "missing": [{**lost, "what": struck_out(lost["what"])} for lost in scenario["missing"]]}
        for scenario in content["scenarios"]
    ]
    events = [{**event, "text": struck_out(event["text"])} for event in content["events"]]
    return {**content, "scenarios": scenarios, "events": events, "reasons": list(map(struck_out, content["reasons"]))}


def _no_run(path: Path, why: str) -> RunError:
    return RunError(f"cannot read {FILE}: {why}", where=str(path), mend="choose another run: perflib runs")


def _migrated(content: dict[str, Any]) -> dict[str, Any]:
    """The content of an older schema, converted to the current one.

    1 → 2: scenarios of early runs have no keys `missing`, `doubts` and `unsent`, which get their defaults.
    """
    return {**content, "schema": SCHEMA}
