"""The writing side of a run: its directory, and its run.json, whole or not at all."""

from __future__ import annotations

import json
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class RunDir:
    """One directory, its manifest kept current by atomic replacement. `shared`: other machines make runs there too."""

    def __init__(self, data: Path, manifest: dict[str, Any], *, shared: bool = False) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        name = re.sub(r"[^\w.-]+", "-", manifest["suite"]["name"], flags=re.ASCII).strip("-.")[:60] or "suite"
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
        self.manifest: dict[str, Any] = {
            "schema": 1,
            "run": self.path.name,
            "status": "running",
            "reasons": [],
            **manifest,
        }
        self.save()

    def save(self) -> None:
        save_manifest(self.path, self.manifest)

    def event(self, t_ns: int, kind: str, text: str) -> None:
        """Something that happened: shown in the report, drawn into its charts."""
        self.manifest["events"].append({"t_ns": t_ns, "kind": kind, "text": text})
        self.save()


def save_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write a run's run.json: whole or not at all."""
    unfinished = path / ".run.json.tmp"
    unfinished.write_text(json.dumps(manifest, indent=1, default=str), "utf-8")
    unfinished.replace(path / "run.json")
