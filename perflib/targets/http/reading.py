"""An HTTP lane that reads its answers: for `expect`, `keep` and HEAD."""

from __future__ import annotations

from perflib.store.schema import NONE_NS
from perflib.targets.base import judge, keep
from perflib.targets.heads import HEAD_ENDS, charset_of, new_parser, text_of
from perflib.targets.http.lane import HttpLane, clock
from perflib.targets.http.redirects import STATUSES as REDIRECTS
from perflib.targets.http.request import parse_json


class ReadingHttpLane(HttpLane):
    """A lane that reads its answers: for `expect`, `keep` and HEAD."""

    __slots__ = ("_body",)

    def start(self) -> None:
        self._body: list[bytes] = []
        super().start()

    def data_received(self, data: bytes) -> None:
        now = clock()
        split = data.find(HEAD_ENDS) + 4
        answer = self._heads.get(data[:split])
        if answer is None or answer.length != len(data) or not self.start_ns:
            self._parse(data, now)
            return
        self.on_body(data[split:])
        self._charset = answer.charset
        try:
            error, server_ns = self._read(answer.status, answer.server_ns)
        except Exception as problem:
            error, server_ns = self._unreadable(problem), NONE_NS
        if error:  # as an answer that was parsed, so that it is there as evidence
            self._head, self._first_ns, self._received = data, now, answer.length
            self._finish(now, error, answer.status, server_ns)
        elif self.driver.finish(self, now, now, error, answer.status, self._sent, answer.length, server_ns):
            self.start()

    def _judge(self, status: int) -> tuple[int, int]:
        self._charset = charset_of(self._head)
        return super()._judge(status)

    def _remember(self, status: int, error: int, server_ns: int) -> None:
        if not self.op.request.head:
            super()._remember(status, error, server_ns)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def _forget_body(self) -> None:
        self._body = []

    def on_headers_complete(self) -> None:
        if self.start_ns and self.op.request.head and self._parser.get_status_code() >= 200:
            self._complete += 1
            self._keep_alive = self._parser.should_keep_alive()
            self.driver.loop.call_soon(self._fresh_parser)

    def _fresh_parser(self) -> None:
        """Replace the parser after HEAD, whose answer names a length that never comes."""
        self._parser = new_parser(self)

    def _read(self, status: int, timing_ns: int) -> tuple[int, int]:
        op = self.op
        is_bad = status >= 400 or status in REDIRECTS
        if not op.reads_answer or (is_bad and (op.expect is None or op.expect.status is None)):
            return super()._read(status, timing_ns)
        text = text_of(b"".join(self._body), self._charset)
        answer = parse_json(text) if op.keep or (op.expect and op.expect.json) else None
        good = judge(op, status, text, answer) and keep(self, answer)
        return 0 if good else self.driver.error_code("check"), timing_ns
