"""A server of three processes, one of which keeps 100 kB for every request.

It is started by `python tests/support/hoarders.py PORT --token SECRET`.
"""

from __future__ import annotations

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

KEPT_BYTES = 100_000
CHILD = "import sys\nkept = []\nfor line in sys.stdin.buffer:\n    kept.append(b'x' * int(line))"


def main(port: int) -> None:
    idle, hoarder = (subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE) for _ in range(2))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert hoarder.stdin
            hoarder.stdin.write(f"{KEPT_BYTES}\n".encode())
            hoarder.stdin.flush()
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    try:
        HTTPServer(("127.0.0.1", port), Handler).serve_forever()
    finally:
        idle.kill()
        hoarder.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]))
