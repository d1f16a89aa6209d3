"""Heads, lengths and chunks of answers: which of them are HTTP, alike on a worker and on an event loop.

An answer of which both clients do not make the same counts as none: it may have been changed or cut on its way. aiohttp
refuses most of them itself; Python's own client, below requests, makes something of nearly any.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from http import HTTPStatus
from http.client import HTTPResponse, LineTooLong, RemoteDisconnected, parse_headers
from typing import Any, BinaryIO

from airflow_provider_imagetasks.transports.answers import MOST_HEADER_LINES, UnreadableHeadError
from airflow_provider_imagetasks.transports.failures import NO_HTTP

LONGEST_HEADER = 64 * 1024
"""Bytes that a line of an answer's head may have, as Python's own client, below requests, has it."""
_VERSIONS = ((1, 0), (1, 1))
_LENGTH = re.compile(r"[0-9]{1,18}")
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9][0-9]{2})(?: ([^\r\n]*))?\r?\n")
_NAME = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEAD_LINE = re.compile(rb"(?:(?:" + _NAME + rb":|[ \t])[^\0\r\n]*)?\r?\n")
"""A header, what a folded one goes on with, or the end of the head."""
_TRAILER = re.compile(rb"(?!content-length:)(?:" + _NAME + rb":|[ \t])[^\r\n]*\r?\n", re.IGNORECASE)
_EXTENSION = rb';(?:[!#-:<-~]|"[\t !#-~]*")+'
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:(?:" + _EXTENSION + rb")+\r?\n|\r\n)")


def require_framing(version: tuple[int, int], status: int, lengths: Sequence[str], codings: Sequence[str]) -> None:
    """Refuse the head of an answer whose end may be in several places, or which is of no kind that was asked for.

    :param lengths: all that it says in ``Content-Length``; ``codings`` in ``Transfer-Encoding``.
    :raises UnreadableHeadError: the request has left all the same.
    """
    is_known = version in _VERSIONS and status >= HTTPStatus.CONTINUE and len(lengths) + len(codings) <= 1
    are_lengths = all(_LENGTH.fullmatch(each.strip(" \t\r\n")) for each in lengths)
    if not (is_known and are_lengths and all(each.strip(" \t\r\n").lower() == "chunked" for each in codings)):
        raise UnreadableHeadError(NO_HTTP)


class _HeaderLines:
    """The lines of a head, as Python's own client reads them."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.read: list[bytes] = []

    def readline(self, limit: int) -> bytes:
        self.read.append(self.file.readline(limit))
        return self.read[-1]

    def close(self) -> None:
        self.file.close()


class FramedAnswer(HTTPResponse):
    """An answer on a worker, which is refused where aiohttp would refuse it.

    What a server says before its answer (102, 103) is passed over, as aiohttp does; Python itself does so for 100.
    """

    fp: Any
    length: int | None
    chunked: bool
    chunk_left: int | None

    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self._socket = sock

    def begin(self) -> None:
        """Read the head.

        :raises UnreadableHeadError: it is none, or does not say where the answer ends.
        """
        lines = self.fp = _HeaderLines(self.fp)
        try:
            super().begin()
        finally:
            if self.fp is lines:
                self.fp = lines.file
        assert self.msg is not None
        if not all(map(_HEAD_LINE.fullmatch, lines.read)):
            raise UnreadableHeadError(NO_HTTP)
        codings = self.msg.get_all("Transfer-Encoding", [])
        require_framing(divmod(self.version, 10), self.status, self.msg.get_all("Content-Length", []), codings)
        if codings and not self.chunked:
            # Python itself does not know the word with a blank beside it.
            self.chunked, self.chunk_left, self.length = True, None, None

    def _read_status(self) -> tuple[str, int, str]:
        # What a proxy says before there is a tunnel is read here alone.
        file = getattr(self.fp, "file", self.fp)
        while True:
            # Some servers end the answer before with a line of its own.
            while (line := file.readline(LONGEST_HEADER + 1)) in (b"\r\n", b"\n"):
                continue
            if not line:
                raise RemoteDisconnected("Remote end closed connection without response")
            if len(line) > LONGEST_HEADER:
                raise LineTooLong("status line")
            found = _STATUS_LINE.fullmatch(line)
            if found is None:
                raise UnreadableHeadError(NO_HTTP)
            status = int(found[2])
            if not 100 < status < 200 or status == HTTPStatus.SWITCHING_PROTOCOLS:
                return found[1].decode(), status, (found[3] or b"").decode("latin-1")
            parse_headers(self.fp)

    def read1(self, n: int = -1) -> bytes:
        """Return the next piece of the body.

        :raises UnreadableHeadError: its chunks are none, or more comes with it than it says.
        """
        piece = super().read1(n)
        if self.length == 0 and not self.chunked and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self._require_end()
        return piece

    def _get_chunk_left(self) -> int | None:
        if self.chunk_left == 0:
            if self.fp.readline(2) not in (b"\r\n", b"\n"):
                raise UnreadableHeadError(NO_HTTP)
            self.chunk_left = None
        left: int | None = super()._get_chunk_left()  # type: ignore[misc]
        return left

    def _read_next_chunk_size(self) -> int:
        found = _CHUNK_SIZE.fullmatch(self.fp.readline(LONGEST_HEADER))
        if found is None:
            raise UnreadableHeadError(NO_HTTP)
        return int(found[1], 16)

    def _read_and_discard_trailer(self) -> None:
        for _ in range(MOST_HEADER_LINES):
            line = self.fp.readline(LONGEST_HEADER)
            if line in (b"\r\n", b"\n"):
                return self._require_end()
            if not _TRAILER.fullmatch(line):
                break
        raise UnreadableHeadError(NO_HTTP)

    def _require_end(self) -> None:
        if self.fp is None:
            return
        seconds = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            rest = self.fp.peek(1).lstrip(b"\r\n")
        except OSError:
            # As TLS says that nothing has come.
            return
        finally:
            self._socket.settimeout(seconds)
        # Another answer is nobody's, and goes with the connection.
        if rest and not rest.startswith(b"HTTP/"):
            raise UnreadableHeadError(NO_HTTP)
