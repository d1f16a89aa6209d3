"""Heads of answers, and where an answer ends: which of them are HTTP, alike on a worker and on an event loop.

An answer that may end in several places counts as none: it may have been changed or cut on its way. aiohttp refuses
most of them itself; Python's own client, below requests, makes something of nearly any.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from email import errors
from http import HTTPStatus
from http.client import HTTPResponse, parse_headers

from airflow_provider_imagetasks.transports.answers import UnreadableHeadError
from airflow_provider_imagetasks.transports.failures import NO_HTTP

LONGEST_HEADER = 64 * 1024
"""Bytes that a line of an answer's head may have, as Python's own client, below requests, has it."""
_VERSIONS = ((1, 0), (1, 1))
_LENGTH = re.compile(r"[0-9]{1,18}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_HEADERS = (
    errors.InvalidHeaderDefect,
    errors.MisplacedEnvelopeHeaderDefect,
    errors.MissingHeaderBodySeparatorDefect,
)


def require_framing(version: tuple[int, int], status: int, lengths: Sequence[str], codings: Sequence[str]) -> None:
    """Refuse the head of an answer whose end may be in several places, or which is of no kind that was asked for.

    :param lengths: all that it says in ``Content-Length``; ``codings`` in ``Transfer-Encoding``.
    :raises UnreadableHeadError: the request has left all the same.
    """
    is_known = version in _VERSIONS and status >= HTTPStatus.CONTINUE and len(lengths) + len(codings) <= 1
    are_lengths = all(_LENGTH.fullmatch(each.strip(" \t\r\n")) for each in lengths)
    if not (is_known and are_lengths and all(each.strip(" \t\r\n").lower() == "chunked" for each in codings)):
        raise UnreadableHeadError(NO_HTTP)


class FramedAnswer(HTTPResponse):
    """An answer on a worker, whose head is refused where aiohttp would refuse it.

    What a server says before its answer (102, 103) is passed over, as aiohttp does; Python itself does so for 100.
    """

    length: int | None
    chunked: bool
    chunk_left: int | None

    def begin(self) -> None:
        """Read the head.

        :raises UnreadableHeadError: it is none, or does not say where the answer ends.
        """
        super().begin()
        assert self.msg is not None
        are_headers = all(_HEADER_NAME.fullmatch(name) and "\0" not in value for name, value in self.msg.items())
        if not are_headers or any(isinstance(defect, _NO_HEADERS) for defect in self.msg.defects):
            raise UnreadableHeadError(NO_HTTP)
        codings = self.msg.get_all("Transfer-Encoding", [])
        require_framing(divmod(self.version, 10), self.status, self.msg.get_all("Content-Length", []), codings)
        if codings and not self.chunked:
            # Python itself does not know the word with a blank beside it.
            self.chunked, self.chunk_left, self.length = True, None, None

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 < status < 200 or status == HTTPStatus.SWITCHING_PROTOCOLS:
                return version, status, reason
            parse_headers(self.fp)
