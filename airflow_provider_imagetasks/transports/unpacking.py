"""Unpacks answers that were packed for the way, alike on a worker and on an event loop, within bounds."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

ACCEPTED = "gzip, deflate"
"""The codings that are asked for; likewise ``x-gzip``, the older name of the first, is unpacked."""
LARGEST_PART = 1024 * 1024
"""Bytes that are unpacked at a time."""
_ZLIB = frozenset({"gzip", "x-gzip", "deflate"})
_MOST_CODINGS = 3
_MOST_MEMBERS = 100
_GZIP = 0x1F


class NotUnpackedError(Exception):
    """An answer cannot be unpacked. Its text says what happened."""


class Unpacking:
    """An answer that is being unpacked, in as many layers as it says.

    :param coding: its ``Content-Encoding``, empty where there is none.
    :raises NotUnpackedError: it is packed in a way that nobody asked for.
    """

    def __init__(self, coding: str) -> None:
        names = [name for name in map(str.strip, coding.lower().split(",")) if name not in ("", "identity")]
        if len(names) > _MOST_CODINGS or not _ZLIB.issuperset(names):
            raise NotUnpackedError("the answer has a content encoding that was not requested")
        self._layers = [_Layer() for _ in names]

    @property
    def is_needed(self) -> bool:
        """Whether it is packed at all."""
        return bool(self._layers)

    def parts(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece holds, at most ``LARGEST_PART`` bytes at a time.

        :raises NotUnpackedError: it cannot be unpacked.
        """
        yield from _through(self._layers, piece)

    def end(self) -> None:
        """Say that no piece is left.

        :raises NotUnpackedError: something is missing.
        """
        if not all(layer.is_whole for layer in self._layers):
            raise NotUnpackedError("the answer is compressed, but its end is missing")


def _through(layers: list[_Layer], piece: bytes) -> Iterator[bytes]:
    if not layers:
        yield piece
        return
    for part in layers[-1].parts(piece):
        yield from _through(layers[:-1], part)


class _Layer:
    """One coding of an answer."""

    def __init__(self) -> None:
        self._unpacking: zlib._Decompress | None = None
        self._beginning = b""
        self._members = 0

    @property
    def is_whole(self) -> bool:
        return not self._beginning and (self._unpacking is None or self._unpacking.eof)

    def parts(self, piece: bytes) -> Iterator[bytes]:
        piece = self._beginning + piece
        if self._unpacking is None:
            if len(piece) < 2:
                self._beginning = piece
                return
            self._beginning, self._unpacking = b"", _unpacker(piece)
        try:
            while piece:
                if self._unpacking.eof:
                    # It may have several members, one behind the other; what else is behind its end is left out.
                    self._members += 1
                    if piece[0] != _GZIP or self._members > _MOST_MEMBERS:
                        return
                    self._unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
                part = self._unpacking.decompress(piece, LARGEST_PART)
                piece = self._unpacking.unused_data if self._unpacking.eof else self._unpacking.unconsumed_tail
                if part:
                    yield part
        except zlib.error:
            raise NotUnpackedError("the answer is compressed, but cannot be unpacked") from None


def _unpacker(beginning: bytes) -> zlib._Decompress:
    has_head = beginning[0] == _GZIP or (beginning[0] & 0x0F == 0x08 and int.from_bytes(beginning[:2], "big") % 31 == 0)
    return zlib.decompressobj(zlib.MAX_WBITS | 32 if has_head else -zlib.MAX_WBITS)
