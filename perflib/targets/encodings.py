"""Content-Encoding undone: gzip, deflate, br and zstd, never to more bytes than allowed."""

from __future__ import annotations

import re
import zlib
from typing import Final

_LINES: Final = re.compile(rb"\ncontent-encoding[ \t]*:([^\r\n]*)", re.IGNORECASE)

_WINDOW_BYTES: Final = 2**27  # of zstd: more memory than that is not given to an answer
_PIECE_BYTES: Final = 512


class EncodingError(Exception):
    """A body that cannot be decoded, and why, in words."""


class TooLongError(Exception):
    """A body that is longer than allowed."""


def encodings_of(head: bytes) -> list[str]:
    """The encodings that a head names, in the order in which they were applied."""
    named = b",".join(_LINES.findall(head)).decode("latin-1").lower()
    return [name for name in (part.strip() for part in named.split(",")) if name not in ("", "identity")]


def decoded(body: bytes, encodings: list[str], most_bytes: int, *, is_cut: bool = False) -> bytes:
    """The body with its encodings undone. Raises EncodingError, TooLongError.

    is_cut   the body is only the beginning of one; then what can be decoded is returned, at most `most_bytes` of it
    """
    for name in reversed(encodings):
        try:
            body, is_whole = _DECODERS[name](body, most_bytes + 1)
        except KeyError:
            raise EncodingError(f"the answer is in encoding {name[:20]!r}, which perflib cannot read") from None
        except Exception as problem:
            raise EncodingError(f"the answer is not {name}, as its head says: {problem}") from None
        if is_cut:
            body = body[:most_bytes]
        elif len(body) > most_bytes:
            raise TooLongError
        elif not is_whole:
            raise EncodingError(f"the answer ends before its {name} does")
    return body


def _zlib(body: bytes, most: int, bits: int) -> tuple[bytes, bool]:
    parts, length = [], 0
    while True:  # gzip may consist of several members, one after the other
        decompressor = zlib.decompressobj(bits)
        parts.append(decompressor.decompress(body, most - length))
        length += len(parts[-1])
        body = decompressor.unused_data
        if not decompressor.eof or length >= most or not body.startswith(b"\x1f\x8b"):
            return b"".join(parts), decompressor.eof


def _gzip(body: bytes, most: int) -> tuple[bytes, bool]:
    return _zlib(body, most, 31)


def _deflate(body: bytes, most: int) -> tuple[bytes, bool]:
    """With zlib's header, as the standard says, or without it, as some servers write."""
    try:
        return _zlib(body, most, 15)
    except zlib.error:
        return _zlib(body, most, -15)


def _brotli(body: bytes, most: int) -> tuple[bytes, bool]:
    import brotli

    decompressor = brotli.Decompressor()
    text = decompressor.process(body, output_buffer_limit=most)
    while len(text) < most and not decompressor.can_accept_more_data():
        text += decompressor.process(b"", output_buffer_limit=most - len(text))
    return text, decompressor.is_finished()


def _zstd(body: bytes, most: int) -> tuple[bytes, bool]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
    frame, parts, length = decompressor.decompressobj(), [], 0
    for at in range(0, len(body), _PIECE_BYTES):  # in pieces, since a frame has no other bound
        piece = body[at : at + _PIECE_BYTES]
        while piece and length < most:
            if frame.eof:
                frame = decompressor.decompressobj()
            parts.append(frame.decompress(piece))
            length += len(parts[-1])
            piece = frame.unused_data if frame.eof else b""
    return b"".join(parts)[:most], frame.eof


_DECODERS: Final = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate, "br": _brotli, "zstd": _zstd}
