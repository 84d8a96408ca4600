"""HTTP/1.1: an asyncio protocol per connection, callbacks only, request bytes built beforehand.

A lane is a connection. Service time begins when the request is assigned to it, so a request that has to connect first
includes that time, which its `connect` span shows. So does one that follows redirects, each a span `redirect`.

Whatever goes wrong with a request ends that request alone, as a row with its class of error. A request that was written
to a connection that the server had closed is sent again on a new one, once, where that is safe; see `_broken_off`.
"""

from __future__ import annotations

import ssl
from typing import Final

import httptools

from perflib.store.schema import NONE_NS
from perflib.targets.base import Driver, in_words
from perflib.targets.connection import STEPS
from perflib.targets.evidence import ANSWER_BYTES, Evidence
from perflib.targets.heads import (
    HEAD_ENDS,
    LONGEST_HEAD_BYTES,
    end_of_head,
    ends_with_connection,
    is_http2,
    new_parser,
    server_timing,
    with_one_length,
)
from perflib.targets.http.connected import NO_HEADS, ConnectedLane, ParsedHead, Server, clock
from perflib.targets.http.redirects import STATUSES as REDIRECTS
from perflib.targets.http.redirects import NotFollowedError, following
from perflib.targets.reasons import worded

_MAX_PARSED_HEADS: Final = 512
NO_LIMIT: Final = 2**62
_MOST_TIMINGS: Final = 32  # of one answer become spans


class HttpLane(ConnectedLane):
    """One connection, one request at a time. This class and Driver.finish are the hot path."""

    __slots__ = (
        "_complete",
        "_head",
        "_head_end",
        "_hop",
        "_hop_ns",
        "_hops",
        "_interim",
        "_keep_alive",
        "_most_bytes",
        "_received",
        "_searched",
    )

    def __init__(self, driver: Driver, index: int, server: Server) -> None:
        super().__init__(driver, index, server)
        self._keep_alive = True
        self._hops, self._hop, self._hop_ns = 0, b"", 0  # redirects followed, the last request for one, and since when
        self._most_bytes = server.max_body_bytes or NO_LIMIT
        self._complete = self._interim = self._received = 0
        self._head: bytes | bytearray = b""  # of the answer, and the first bytes of its body
        self._head_end, self._searched = -1, 0

    def start(self) -> None:
        request = self.op.request
        try:
            payload = request.fixed or request.build(self.row)
        except Exception as problem:  # nothing fills a name, or what does cannot be written
            self._not_built(problem)
            return
        self._sent = len(payload)
        self.start_ns = clock()
        self._write(payload)

    def data_received(self, data: bytes) -> None:
        now = clock()
        answer = self._heads.get(data[: data.find(HEAD_ENDS) + 4])
        if answer is None or answer.length != len(data) or not self.start_ns:
            self._parse(data, now)
        elif answer.closes:
            self._first_ns, self._received, self._failures = now, answer.length, 0
            self._disconnect()
            self._finish(now, answer.error, answer.status, answer.server_ns)
        elif self.driver.finish(
            self, now, now, answer.error, answer.status, self._sent, answer.length, answer.server_ns
        ):
            self.start()

    def _parse(self, data: bytes, now: int) -> None:
        """Read an answer that is not complete, or whose head is new."""
        if self._first_ns == NONE_NS:
            self._first_ns, self._head = now, data
            self._head_end, self._searched = -1, 0
            self._heads = NO_HEADS  # the next bytes may be the rest of this answer
        elif len(self._head) < ANSWER_BYTES or self._end_of_head() < 0:
            if isinstance(self._head, bytes):
                self._head = bytearray(self._head)  # to which small pieces are added in linear time
            self._head += data
        self._received += len(data)
        if self._parser is None:
            self._parser = new_parser(self)
        try:
            self._parser.feed_data(data)
            problem = ""
        except httptools.HttpParserUpgrade:
            problem = "the server switched to another protocol"
        except httptools.HttpParserError as error:
            problem = str(error)
        if self._interim:
            self._drop_interim_heads()
        if problem and not self._complete and not self._has_one_length(problem):
            speaks_http2 = is_http2(bytes(self._head[:9]))
            self._broken("the server speaks HTTP/2 only, and perflib HTTP/1.1" if speaks_http2 else problem, now)
        elif len(self._head) > LONGEST_HEAD_BYTES and self._end_of_head() < 0:
            self._broken(f"the head of the answer is longer than {LONGEST_HEAD_BYTES:,} bytes", now)
        elif self._received > self._most_bytes and 0 <= self._end_of_head() < self._received - self._most_bytes:
            self._too_large(now)
        elif self._complete and self.start_ns:
            if problem:
                self._disconnect()
            self._answered(now)
        elif not self.start_ns:  # an answer without a request
            self._complete, self._received, self._first_ns = 0, 0, NONE_NS
            self._disconnect()

    def _end_of_head(self) -> int:
        """Where the head ends; -1 while it does not. Bytes are searched once, however small the pieces are."""
        if self._head_end < 0:
            self._head_end = end_of_head(self._head, self._searched)
            self._searched = max(0, len(self._head) - 3)
        return self._head_end

    def on_message_complete(self) -> None:
        parser = self._parser
        if parser.get_status_code() < 200:  # "100 Continue" and its like: the answer is still to come
            self._interim += 1
        else:
            self._complete += 1
            self._keep_alive = parser.should_keep_alive()  # asked here, since the parser forgets it

    def _drop_interim_heads(self) -> None:
        """Leave in `_head` what follows the interim answers, and cache nothing of an answer that came with them."""
        begin = 0
        while self._interim:
            begin = max(begin, end_of_head(self._head, begin))
            self._interim -= 1
        self._head, self._head_end, self._searched = self._head[begin:], -1, 0

    def _has_one_length(self, problem: str) -> bool:
        """Whether the parser refused no more than a length that is given twice, the same; then it is read anew."""
        if "Content-Length" not in problem:
            return False
        if self._end_of_head() < 0:
            return True  # the rest of the head is to come, and the parser will refuse it again
        whole = with_one_length(bytes(self._head))
        if whole is None:
            return False
        self._parser = new_parser(self)
        try:
            self._parser.feed_data(whole)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return bool(self._complete)
        return True

    def _broken(self, why: str, now: int) -> None:
        """What came is no HTTP."""
        self._disconnect()
        if self.start_ns:
            self._failed("protocol", why, now)
        else:
            self._complete, self._received, self._first_ns = 0, 0, NONE_NS

    def _too_large(self, now: int) -> None:
        """The body is longer than allowed. The rest of it is not read."""
        self._disconnect()
        if self.start_ns:
            self._failed("too_large", f"the body is longer than {self._most_bytes:,} bytes (max_body_bytes)", now)

    def _answered(self, now: int) -> None:
        status = self._parser.get_status_code()
        self._failures, self._served = 0, True
        self._head = bytes(self._head)  # no copy of an answer in one piece
        self._note_head()
        if self._server.redirects and status in REDIRECTS and self._is_followed(status, now):
            return
        error, server_ns = self._judge(status)
        if self._complete == 1 and self._keep_alive == self._server.keep_alive:
            self._remember(status, error, server_ns)
        if self._complete > 1 or not self._keep_alive or not self._server.keep_alive:
            self._disconnect()
        self._finish(now, error, status, server_ns)

    def _is_followed(self, status: int, now: int) -> bool:
        """Follow a redirect. False where the operation expects that very status."""
        reader = self.op.reader
        if reader is not None and status in reader.statuses:
            return False
        if self._hops >= self._server.redirects:
            self._end_with("redirect", f"more than {self._server.redirects} redirects in a row", status, now)
            return True
        if not self._hops:
            request = self.op.request
            self._hop, self._hop_ns = request.fixed or request.build(self.row), self.start_ns
        try:
            hop = following(self._hop, status, bytes(self._head), self._address.origin, self._server.may_go_to)
        except NotFollowedError as why:
            self._end_with("redirect", str(why), status, now)
            return True
        leaves = hop.origin != self._address.origin
        if leaves or self._complete > 1 or not self._keep_alive or not self._server.keep_alive:
            self._disconnect()
        if leaves:
            comes_back = hop.origin == self._server.address.origin
            self._elsewhere = None if comes_back else self._server.address_of(hop.origin)
        self._setup.append(("redirect", self._hop_ns, now - self._hop_ns))
        self._hops, self._hop, self._hop_ns = self._hops + 1, hop.request, now
        self._complete, self._first_ns, self._heads = 0, NONE_NS, NO_HEADS
        payload = self._addressed(hop.request)
        self._sent += len(payload)
        self._forget_body()
        self._write(payload)
        return True

    def _note_head(self) -> None:
        """An answer has come: a lane of a user keeps its cookies."""

    def _addressed(self, payload: bytes) -> bytes:
        """A request with what says who sends it; a lane of a user adds that."""
        return payload

    def _end_with(self, error: str, why: str, status: int, now: int) -> None:
        """The request ends with this answer, which is an error."""
        self.driver.explain(error, why)
        if self._complete > 1 or not self._keep_alive or not self._server.keep_alive:
            self._disconnect()
        self._finish(now, self.driver.error_code(error), status)

    def _forget_body(self) -> None:
        """Another answer comes to the same request."""

    def _judge(self, status: int) -> tuple[int, int]:
        """Error code (0: none) and server time of a complete answer. An answer that cannot be read is an error."""
        try:
            head = self._head
            timing_ns = self._server_timing() if b"erver-" in head or b"SERVER-" in head else NONE_NS
            return self._read(status, timing_ns)
        except Exception as problem:
            return self._unreadable(problem), NONE_NS

    def _unreadable(self, problem: Exception) -> int:
        """The error code of an answer that is complete and cannot be made sense of."""
        self.driver.explain("protocol", in_words(problem))
        return self.driver.error_code("protocol")

    def _remember(self, status: int, error: int, server_ns: int) -> None:
        """Cache the head, so that the next answer with the same bytes in its head is not parsed.

        Only of an answer that came in one piece and is all there was: a head alone says how long it is, and the same
        bytes of a head can belong to nothing else.
        """
        heads, head = self._server.parsed_heads, bytes(self._head[: self._head.find(HEAD_ENDS) + 4])
        if (
            self._received == len(self._head)
            and all(span[0] in STEPS for span in self._setup)  # none of them comes from this answer
            and head.startswith(b"HTTP/1.")
            and end_of_head(head) == len(head)
            and b"\r\ntransfer-encoding:" not in head.lower()
            and not self.driver.wants(error)
        ):
            if len(heads) >= _MAX_PARSED_HEADS:  # probably heads that never come again, as those with a counter
                heads.clear()
            heads[head] = ParsedHead(self._received, error, status, server_ns, not self._server.keep_alive)
        self._heads = heads

    def _row(self, now: int, error: int, status: int, server_ns: int) -> bool:
        """Make the request a row. True: the next one is assigned."""
        for span in self._setup:
            self.driver.span(*span)
        self._setup.clear()
        first_ns, received = self._first_ns, self._received
        self._complete = self._interim = self._received = self._hops = 0
        self._first_ns = NONE_NS
        if self._elsewhere is not None:
            self._disconnect()
            self._elsewhere = None
        more = self.driver.finish(self, now, first_ns, error, status, self._sent, received, server_ns)
        self._head = b""
        return more

    def evidence(self, is_answered: bool) -> Evidence | None:
        if is_answered and not self._head:  # known by its head, and not looked at
            self._server.parsed_heads.clear()
            return None
        return Evidence.of_http(self._request_bytes(), bytes(self._head))

    def _request_bytes(self) -> bytes:
        """The request in flight; b"" where it cannot be built."""
        try:
            return self._addressed(self.op.request.fixed or self.op.request.build(self.row))
        except Exception:
            return b""

    def _read(self, status: int, timing_ns: int) -> tuple[int, int]:
        """Error code (0: none) and server time of a complete answer. `timing_ns`: the time that its head names."""
        if status < 400 and status not in REDIRECTS:
            return 0, timing_ns
        return self.driver.error_code(f"http_{status // 100}xx"), timing_ns

    def _server_timing(self) -> int:
        """The server's time, ns: `total` of its Server-Timing header, else the first. Several are spans."""
        parts = server_timing(self._head[: end_of_head(self._head)])
        if len(parts) > 1:
            some = list(parts.items())[:_MOST_TIMINGS]
            self._setup += [(f"server:{label[:40]}", self.start_ns, ns) for label, ns in some]
        return parts.get("total", next(iter(parts.values()), NONE_NS))

    def _not_built(self, problem: Exception) -> None:
        """End a request that cannot be built. The connection stays."""
        self._heads = NO_HEADS  # the next answer is parsed, which ends the back-off
        self._sent = 0
        self.start_ns = clock()
        self._failed("template", in_words(problem), self.start_ns)

    def _broken_off(self, exc: Exception | None, now: int) -> None:
        """The connection ended during a request.

        Where it had served a request before, and not a byte came back, the server had probably closed it before this
        one reached it. As browsers and curl do, an idempotent request is sent again on a new connection, once; any
        other one is `stale`, and not a `reset` of the server.
        """
        if exc is None and self._first_ns != NONE_NS and ends_with_connection(self._head):
            status = self._parser.get_status_code()
            self._note_head()
            error, server_ns = self._judge(status)
            self._failures = 0
            self._finish(now, error, status, server_ns)
        elif isinstance(exc, ssl.SSLError) and not self._served:  # the server did not like our certificate, say
            self._failed("tls", worded(exc, self._address.place, self._address.server_name), now)
        elif not self._served or self._first_ns != NONE_NS:
            self._failed("reset", exc or "the server closed the connection before the answer was complete", now)
        elif (payload := self._same_again()) is not None:
            self.driver.resent += 1
            self._setup.append(("resent", self.start_ns, now - self.start_ns))
            self._payload = payload
            self._connect()
        else:
            self._failed("stale", "the server had closed the connection, and the request may not be sent twice", now)

    def _same_again(self) -> bytes | None:
        """The bytes of the request in flight, or None where it must not be sent twice."""
        request = self.op.request
        if self._hops:
            is_safe = request.idempotent or self._hop.startswith((b"GET ", b"HEAD "))
            return self._addressed(self._hop) if is_safe else None
        return self._addressed(request.fixed or request.build(self.row)) if request.idempotent else None
