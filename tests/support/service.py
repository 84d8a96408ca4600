"""The reference service in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass
class Server:
    """A reference service: its process and URL."""

    process: subprocess.Popen[str]
    url: str

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.loads(answer.read())


def start_service(*options: str) -> Server:
    command = [sys.executable, "-m", "perflib.service", "--http", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    return Server(process, process.stdout.readline().split()[-1])
