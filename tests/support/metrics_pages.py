"""Pages of metrics as targets of Prometheus serve them, and a server that serves one which changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TYPES = {
    "text": '# TYPE pool gauge\n# HELP pool Open \\\\ connections.\npool{db="main"} 12\npool{db="b,c\\"d} e"} 3e0\n',
    "counter": "# TYPE calls_total counter\ncalls_total 7 1395066363000\ncalls_created 1.5e9\n",
    "histogram": (
        '# TYPE took_seconds histogram\ntook_seconds_bucket{le="0.1"} 5\ntook_seconds_bucket{le="+Inf"} 6\n'
        "took_seconds_sum 1.5\ntook_seconds_count 6\n"
    ),
    "summary": '# TYPE rpc summary\nrpc{quantile="0.5"} NaN\nrpc_sum 9\nrpc_count 3\n',
    "untyped": "# a comment\n\nplain +Inf\nother -5\n",
    # As Prometheus' own test data has them: other spaces, series that come again, times, names in quotes.
    "spaces": (
        '# \tTYPE pause summary\npause{quantile="0"} 4.9351e-05\npause{quantile="0.25",} 7.4241e-05\n'
        'pause{ quantile= "0.5", a = "b" , } 8.3835e-05\n# Hardly a HELP\n#\n# HELP nothing\n# HELP other \n'
        'pause_count 99\nsome:rate5m{a_b="c"}\t1\nthreads 33  \t123123\n_under{_score="f"}  1\nz{a="\\"b\\""} 1\n'
    ),
    "again": (
        "# TYPE used_bytes gauge\nused_bytes 922\nlonely 724\nused_bytes 720\nasked_total 305\nasked_total 738\n"
        '# TYPE used_bytes gauge\nused_bytes 459\nwait{quantile="0.5"} 0.7\n# TYPE asked_total counter\n'
        'asked_total 21\n# TYPE wait summary\nwait{quantile="0.5"} 0.4\n'
    ),
    "times": 'ended 1710000000 1710000000\nbegan{a="b c"} 5 5\nleft 1\n',
    "quoted": (
        '# TYPE "pause.seconds" summary\n{"pause.seconds",quantile="0"} 4.9e-05\n'
        '{ "pause.seconds", quantile = "1.0" } 8\n'
        '{"Heizöl 10€ \\"interesting\\" {or\\nnot}","strange©\\n"="6"} 10.0\n'
    ),
    "openmetrics": (
        '# TYPE hits counter\nhits_total{a="b"} 5 1.5 # {trace_id="x"} 0.5\n# TYPE b histogram\n'
        'b_bucket{le="1.0"} 2 # {id="a # b"} 2\nb_bucket{le="+Inf"} 2\nb_count 2\nb_sum 1.0\n# EOF\n'
    ),
}


class Served:
    """What the target says at its n-th reading, and how often it was asked."""

    def __init__(self, page: Callable[[int], str]) -> None:
        self.page, self.readings = page, 0


@contextmanager
def metrics_server(page: Callable[[int], str]) -> Iterator[tuple[str, Served]]:
    """The URL of a server whose /metrics is `page` of the reading's number; any other path has a queue, in JSON."""
    said = Served(page)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = b'{"queue": 3}'
            if self.path.startswith("/metrics"):
                body = said.page(said.readings).encode()
                said.readings += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", said
    finally:
        server.shutdown()
        server.server_close()
