"""Gatling's binary log, written as its LogFileDataWriter (3.13 and newer) writes it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tests.support.exports import REQUESTS, START_MS, Request

UNASKED = "a message that came unasked"  # as a name; a server sent it, and it takes no time


class BinaryLog:
    def __init__(self, scenarios: Sequence[str] = ("Browse",), assertions: int = 1) -> None:
        self.content = b"\0"
        self.strings: dict[str, int] = {}
        for text in ("3.13.5", "shop.Simulation"):
            self.string(text)
        self.content += struct.pack(">q", START_MS)
        self.string("")
        self.content += struct.pack(">i", len(scenarios))
        for scenario in scenarios:
            self.string(scenario)
        self.content += struct.pack(">i", assertions) + struct.pack(">i3s", 3, b"\1\0\2") * assertions

    def string(self, text: str) -> None:
        """As Java holds it: a byte for each character where that is enough, else two."""
        if not text:
            self.content += struct.pack(">i", 0)
            return
        narrow = all(ord(sign) < 256 for sign in text)
        encoded = text.encode("latin-1" if narrow else "utf-16-le")
        self.content += struct.pack(">i", len(encoded)) + encoded + (b"\0" if narrow else b"\1")

    def cached(self, text: str) -> None:
        if text in self.strings:
            self.content += struct.pack(">i", -self.strings[text])
            return
        self.strings[text] = len(self.strings) + 1
        self.content += struct.pack(">i", self.strings[text])
        self.string(text)

    def groups(self, names: Sequence[str]) -> None:
        self.content += struct.pack(">i", len(names))
        for name in names:
            self.cached(name)

    def user(self, at_ms: int, starts: bool) -> None:
        self.content += struct.pack(">bi?i", 2, 0, starts, at_ms)

    def request(self, each: Request, groups: Sequence[str] = (), message: str = "") -> None:
        self.content += b"\1"
        self.groups(groups)
        self.cached(each.name)
        end_ms = each.at_ms + round(each.took_ms)
        if each.name == UNASKED:
            end_ms = struct.unpack(">i", struct.pack(">q", -(2**63) - START_MS + 2**64)[4:])[0]
        self.content += struct.pack(">ii?", each.at_ms, end_ms, each.status == 200)
        self.cached(message)

    def group(self, names: Sequence[str], start_ms: int, end_ms: int) -> None:
        self.content += b"\3"
        self.groups(names)
        self.content += struct.pack(">iii?", start_ms, end_ms, end_ms - start_ms, True)

    def error(self, message: str, at_ms: int) -> None:
        self.content += b"\4"
        self.cached(message)
        self.content += struct.pack(">i", at_ms)


def binary_log(requests: Sequence[Request] = REQUESTS) -> bytes:
    """These requests, some in groups, between records of users, groups and an error."""
    written = BinaryLog()
    written.user(0, True)
    for number, each in enumerate(requests):
        message = "" if each.status == 200 else "status.find.in(200), but actually found 503"
        written.request(each, ("Cart", "Pay – now") if number % 3 else (), message)
        if number % 50 == 0:
            written.group(("Cart",), each.at_ms, each.at_ms + 10)
            written.error("no such file", each.at_ms)
    written.user(9000, False)
    return written.content
