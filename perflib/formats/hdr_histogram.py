"""HdrHistogram's histograms as its logs hold them: in base64, compressed, in the encoding V2 of HdrHistogram 2.1.5 and
newer.

Each count is of a bucket, a range of whole numbers; as in HdrHistogram, a quantile is the upper edge of its bucket.
Logs are not trusted: what they unpack to is bounded.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import math
import struct
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

_COMPRESSED: Final = 0x1C849304
_PLAIN: Final = 0x1C849303
_SIZE_OF_WORDS: Final = 0xF0  # bits of a cookie that say how long a count is
_HEADER: Final = struct.Struct(">iiiiqqd")
_MOST_BYTES: Final = 1_000_000  # of one histogram; one of 3 digits has some 50,000
MOST_BUCKETS: Final = 500_000  # of a file, those that are not empty
_MOST_REQUESTS: Final = 2**53  # of one bucket


@dataclass
class Histogram:
    """Counts by bucket: its lowest and its highest value."""

    buckets: Counter[tuple[int, int]] = field(default_factory=Counter)

    @property
    def n(self) -> int:
        return self.buckets.total()

    @property
    def max(self) -> int:
        """The upper edge of the highest bucket; 0 without values."""
        return max((high for _, high in self.buckets), default=0)

    @property
    def mean(self) -> float:
        return sum((low + high) / 2 * count for (low, high), count in self.buckets.items()) / self.n

    def quantiles(self, shares: tuple[float, ...]) -> list[int]:
        """The upper edges of the buckets at these shares, which rise."""
        ordered = sorted(self.buckets.items())
        upto = list(itertools.accumulate(count for _, count in ordered))
        wanted = [max(1, math.ceil(share * upto[-1] - 1e-9 * upto[-1])) for share in shares]
        return [next(high for ((_, high), _), n in zip(ordered, upto, strict=True) if n >= rank) for rank in wanted]


def encoded(values: Iterable[int]) -> str:
    """A histogram of these values, exact to 3 digits, as a line of a log has it."""
    half_bits = 10  # buckets of a width of 1 up to 2 * 1024, of 2 up to 4 * 1024, and so on
    counts: Counter[int] = Counter()
    highest = 2
    for value in values:
        doubled = max(0, value.bit_length() - half_bits - 1)
        counts[(doubled << half_bits) + (value >> doubled)] += 1
        highest = max(highest, value)
    payload, index = bytearray(), 0
    for at, count in sorted(counts.items()):
        empty = at - index
        if empty:
            payload += _written(-empty if empty > 1 else 0)
        payload += _written(count)
        index = at + 1
    plain = _HEADER.pack(_PLAIN | 0x10, len(payload), 0, 3, 1, highest, 1.0) + payload
    packed = zlib.compress(plain)
    return base64.b64encode(struct.pack(">ii", _COMPRESSED | 0x10, len(packed)) + packed).decode()


def _written(number: int) -> bytes:
    """A number in ZigZag LEB128; those of a histogram of requests are far below 9 bytes."""
    left = (number << 1) ^ (number >> 63)
    found = bytearray()
    while left >= 0x80:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*found, left])


def decoded(text: str) -> Histogram:
    """The histogram of a line of a log. Raises ValueError with what is wrong."""
    try:
        packed = base64.b64decode(text, validate=True)
        cookie, length = struct.unpack_from(">ii", packed)
    except (binascii.Error, struct.error):
        raise ValueError("its histogram is no base64, or was cut") from None
    if cookie & ~_SIZE_OF_WORDS != _COMPRESSED:
        raise ValueError("its histogram is not in the encoding V2, which HdrHistogram 2.1.5 and newer write")
    if length != len(packed) - 8:
        raise ValueError(f"its histogram has {len(packed) - 8:,} bytes instead of {length:,}: it was cut")
    return _counted(_unpacked(packed[8:]))


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(packed, _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"its histogram cannot be unpacked: {error}") from None
    if unpacker.unconsumed_tail:
        raise ValueError(f"its histogram unpacks to more than {_MOST_BYTES:,} bytes")
    if not unpacker.eof:
        raise ValueError("its histogram was cut")
    return plain


def _counted(plain: bytes) -> Histogram:
    if len(plain) < _HEADER.size:
        raise ValueError("its histogram was cut")
    cookie, length, _, digits, lowest, highest, _ = _HEADER.unpack_from(plain)
    counts = memoryview(plain)[_HEADER.size :]
    if cookie & ~_SIZE_OF_WORDS != _PLAIN:
        raise ValueError("its histogram is not in the encoding V2, which HdrHistogram 2.1.5 and newer write")
    if not (0 <= digits <= 5 and 1 <= lowest <= highest and 0 <= length <= len(counts)):
        raise ValueError("its histogram has an impossible header")
    half_bits = max(1, math.ceil(math.log2(2 * 10**digits))) - 1
    half, unit_bits = 1 << half_bits, lowest.bit_length() - 1
    found = Histogram()
    index, at = 0, 0
    while at < length:
        count, at = _number(counts, at, length)
        if count < 0:  # so many empty buckets
            index -= count
            continue
        if count:
            doubled = max(0, (index >> half_bits) - 1)  # how often the width of buckets has doubled up to here
            bits = doubled + unit_bits
            if bits + half_bits > 62 or count > _MOST_REQUESTS:
                raise ValueError("its histogram has values or counts beyond all bounds")
            low = (index - doubled * half) << bits
            high = low + (1 << bits) - 1
            found.buckets[low, high] += count
        index += 1
    return found


def _number(data: memoryview, at: int, end: int) -> tuple[int, int]:
    """A number in ZigZag LEB128, of at most 9 bytes, of which the last has 8 bits; and where the next one begins."""
    value = 0
    for place in range(9):
        if at >= end:
            raise ValueError("its histogram ends within a count")
        byte = data[at]
        at += 1
        value |= (byte if place == 8 else byte & 0x7F) << (7 * place)
        if byte < 0x80 or place == 8:
            break
    return (value >> 1) ^ -(value & 1), at
