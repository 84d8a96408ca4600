"""An HTTP lane that reads its answers: for `expect`, `keep` and HEAD."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from perflib.store.schema import NONE_NS
from perflib.targets.answer import Answer
from perflib.targets.base import judge
from perflib.targets.encodings import TooLongError, decoded, encodings_of
from perflib.targets.heads import HEAD_ENDS, charset_of, cookies_of, end_of_head, header_values, new_parser, text_of
from perflib.targets.http.connected import clock
from perflib.targets.http.lane import HttpLane
from perflib.targets.http.redirects import STATUSES as REDIRECTS
from perflib.targets.http.request import parse_json

MOST_BODY_BYTES: Final = 64 * 2**20  # of a body that is looked at, where the target does not say


class HttpAnswer(Answer):
    """A complete answer. Its body is decoded where it is asked for, once. Raises EncodingError, TooLongError then."""

    __slots__ = ("_body", "_head", "_json", "_most_bytes", "_words", "jar", "status")

    def __init__(self, status: int, head: bytes, body: bytes, elapsed_s: float, most_bytes: int) -> None:
        self.status, self._head, self._body, self._most_bytes = status, head, body, most_bytes
        self.elapsed_s = elapsed_s
        self._words: str | None = None
        self._json: Any = None
        self.jar: dict[str, str] = {}  # cookies that the user has besides those of this answer

    @property
    def body(self) -> bytes:
        encodings = encodings_of(self._head)
        return decoded(self._body, encodings, self._most_bytes) if encodings else self._body

    @property
    def text(self) -> str:
        if self._words is None:
            self._words = text_of(self.body, charset_of(self._head))
        return self._words

    @property
    def json(self) -> Any:
        if self._json is None:
            self._json = parse_json(self.text)
        return self._json

    def has(self, text: str) -> bool:
        if self._words is None and charset_of(self._head) == "utf-8":  # a long answer need not be decoded
            return text.encode("utf-8", "surrogatepass") in self.body
        return text in self.text

    @property
    def size_bytes(self) -> int:
        return len(self.body)

    def headers(self, name: str) -> list[str]:
        return header_values(self._head, name)

    def cookie(self, name: str) -> str | None:
        return cookies_of(self._head).get(name, self.jar.get(name))


class ReadingHttpLane(HttpLane):
    """A lane that reads its answers."""

    __slots__ = ("_answer_head", "_body", "_good_again", "_limit")

    _head_says_all: ClassVar = True  # of an answer to an operation without a reader

    def __init__(self, driver: Any, index: int, server: Any) -> None:
        super().__init__(driver, index, server)
        self._limit = self._most_bytes, server.max_body_bytes or MOST_BODY_BYTES  # of a body that is counted, read
        self._body: list[bytes] = []
        self._answer_head = b""
        self._good_again: tuple[Any, bytes] = (None, b"")  # an operation, and bytes that were a good answer to it

    def start(self) -> None:
        self._expect_answer()
        super().start()

    def _expect_answer(self) -> None:
        """Make room for the body of the next answer."""
        self._body = []
        reader = self.op.reader
        self._most_bytes = self._limit[reader is not None and reader.reads_body]

    def data_received(self, data: bytes) -> None:
        now = clock()
        split = data.find(HEAD_ENDS) + 4
        answer = self._heads.get(data[:split])
        if answer is None or answer.length != len(data) or answer.closes or not self.start_ns:
            self._parse(data, now)
            return
        reader = self.op.reader
        is_known = reader is None and self._head_says_all and not answer.error
        if is_known or (self._good_again[0] is self.op and self._good_again[1] == data):
            if self.driver.finish(self, now, now, 0, answer.status, self._sent, answer.length, answer.server_ns):
                self.start()
            return
        self.on_body(data[split:])
        self._answer_head = data[:split]
        try:
            error, server_ns = self._read(answer.status, answer.server_ns)
        except Exception as problem:
            error, server_ns = self._unreadable(problem), NONE_NS
        if error:  # as an answer that was parsed, so that it is there as evidence
            self._head, self._first_ns, self._received = data, now, answer.length
            self._finish(now, error, answer.status, server_ns)
            return
        if reader is not None and reader.is_pure:
            self._good_again = self.op, data
        if self.driver.finish(self, now, now, error, answer.status, self._sent, answer.length, server_ns):
            self.start()

    def _judge(self, status: int) -> tuple[int, int]:
        self._answer_head = bytes(self._head[: max(end_of_head(self._head), 0)])
        return super()._judge(status)

    def _remember(self, status: int, error: int, server_ns: int) -> None:
        if not self.op.request.head:
            super()._remember(status, error, server_ns)

    def on_body(self, body: bytes) -> None:
        reader = self.op.reader
        if reader is not None and reader.reads_body:
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
        reader = self.op.reader
        is_bad = status >= 400 or status in REDIRECTS
        if reader is None or (is_bad and not reader.statuses):
            return super()._read(status, timing_ns)
        try:
            return judge(self, self._whole_answer(status)), timing_ns
        except TooLongError:
            why = f"the body is longer than {self._limit[1]:,} bytes without its compression (max_body_bytes)"
            self.driver.explain("too_large", why)
            return self.driver.error_code("too_large"), timing_ns

    def _whole_answer(self, status: int) -> HttpAnswer:
        elapsed_s = (clock() - self.start_ns) / 1e9
        return HttpAnswer(status, self._answer_head, b"".join(self._body), elapsed_s, self._limit[1])
