"""Answers as they come in, piece by piece: within bounds of size and structure, and read beside the event loop; or
written to a file, where their request wants that."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.client import HTTPException
from types import TracebackType
from typing import Any, TypeVar

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services import get_service, known_services
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import AnswerFile

LARGEST_ANSWER = 256 * 1024 * 1024
"""Bytes; the largest answers hold ten pictures in base64."""
LARGEST_WITHOUT_PICTURES = 16 * 1024 * 1024
"""Bytes; fifty records with prompts of 32,000 characters are 10 MB where each character is an escape."""
LARGEST_TOTAL = 512 * 1024 * 1024
"""Bytes of all answers that a process is receiving at the same time."""
MOST_MARKS = 2_000_000
"""Quotes, colons, commas and the like that are received. Who reads the answer counts its values, without those in
texts: fifty prompts of 32,000 characters may have as many, where they are JSON themselves."""
MOST_HEADER_LINES = 99
"""Lines of an answer's head that are read, which is what Python's own client, below requests, reads."""
TOO_MANY_HEADER_LINES = "the answer has more header lines than are read"
READ_APART = 64 * 1024
"""Bytes of an answer from which on it is read in a thread rather than on an event loop."""
Result = TypeVar("Result")
_MARKS = b'{[,:"'
_BLOCK = 256 * 1024
_PICTURE = re.compile(rb"(?<![A-Za-z0-9+/=\\])[A-Za-z0-9+/=]{16384,}")
_LEFT_OF_A_PICTURE = b"AAAA"
MOST_OF_A_TEXT = 512 * 1024
"""Bytes of one text, after which no further block of it is kept. A prompt of 32,000 characters has at most half of it,
also in a record that is a text itself."""
_CHARACTERS = rb'(?:[^"\\\xc0-\xff]++|[\xc0-\xff][\x80-\xbf]{0,3}+(?=.)|\\u[0-9A-Fa-f]{4}|\\[^u]|\\u(?=.{4}))*+'
"""Of a text; without the last one where the next block may have more of it."""
_WITHIN_A_TEXT = re.compile(_CHARACTERS, re.DOTALL)
_WHOLE_TEXTS = re.compile(rb'(?:[^"]++|"' + _CHARACTERS + rb'")*+', re.DOTALL)
"""And whatever stands between them."""


class UnreadableHeadError(HTTPException):
    """The head of an answer is none that HTTP knows, or longer than any. Its text says which."""


class AnswerTooLargeError(Exception):
    """An answer is larger than any that a service has reason to send."""


async def apart(size: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function that reads an answer: in a thread, where the answer is large.

    :param size: of the answer, in bytes.
    """
    return await asyncio.to_thread(function, *arguments) if size > READ_APART else function(*arguments)


class _Total:
    """What all answers that are being received hold, in bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0

    def add(self, size: int) -> None:
        with self._lock:
            self._bytes += size
            if size > 0 and self._bytes > LARGEST_TOTAL:
                raise AnswerTooLargeError


_total = _Total()


class ReceivedAnswer(AbstractContextManager["ReceivedAnswer"]):
    """An answer that is being received; use it in ``with``, which gives its room free again.

    :param account: whom it is for; its service says whether answers may hold pictures.
    :param keeps_pictures: False where nobody looks at them, as on a triggerer: what is long enough to be one is left
        out as it comes in.
    :param shortens_texts: whether very long texts in JSON, such as the reason of a failure, are cut as well.
    """

    def __init__(self, account: Account, *, keeps_pictures: bool = True, shortens_texts: bool = False) -> None:
        # A service that is held against the contract need not be installed.
        is_known = account.service in known_services()
        holds_pictures = not is_known or get_service(account.service).answers_hold_pictures
        self._most_received = LARGEST_ANSWER if holds_pictures else LARGEST_WITHOUT_PICTURES
        self._most_kept = self._most_received if keeps_pictures else LARGEST_WITHOUT_PICTURES
        self._keeps_pictures = keeps_pictures
        self._shortened = ShortenedTexts() if shortens_texts else None
        self._received = self._marks = self._kept = 0
        self._block: list[bytes] = []
        self._block_size = 0
        self._blocks: list[bytes] = []

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give its room free; once or several times."""
        _total.add(-self._kept - self._block_size)
        self._kept = self._block_size = 0

    def add(self, piece: bytes) -> None:
        """Take the next piece.

        :raises AnswerTooLargeError: it gets larger than an answer may be; the rest of it is not wanted.
        """
        self._received += len(piece)
        self._marks += len(piece) - len(piece.translate(None, _MARKS))
        if self._received > self._most_received or self._marks > MOST_MARKS:
            raise AnswerTooLargeError
        self._block.append(piece)
        self._block_size += len(piece)
        _total.add(len(piece))
        if self._block_size >= _BLOCK:
            self._keep_block()

    def take(self) -> bytes:
        """Return what was received since the last call."""
        self._keep_block()
        content = b"".join(self._blocks)
        self._blocks.clear()
        return content

    def _keep_block(self) -> None:
        block = b"".join(self._block)
        kept = block if self._keeps_pictures else _PICTURE.sub(_LEFT_OF_A_PICTURE, block)
        kept = kept if self._shortened is None else self._shortened.of(kept)
        self._blocks.append(kept)
        self._kept += len(kept)
        self._block.clear()
        self._block_size = 0
        _total.add(len(kept) - len(block))
        if self._kept > self._most_kept:
            raise AnswerTooLargeError


class FiledAnswer(AbstractContextManager["FiledAnswer"]):
    """An answer that is received into a file; use it in ``with``, which leaves no file where it did not come whole.

    :raises ImageTaskError: by all that writes: this machine cannot keep the file.
    """

    def __init__(self, to: AnswerFile) -> None:
        self._to = to
        self._ends_at = time.monotonic() + to.seconds
        self._received = 0
        try:
            # Each piece is written at once, so that nothing is left to fail when it is closed.
            self._file = to.path.open("wb", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is not None:
            self._to.path.unlink(missing_ok=True)

    def add(self, piece: bytes) -> None:
        """Write the next piece; blocks.

        :raises AnswerTooLargeError: it gets larger than wanted.
        :raises TimeoutError: it takes longer than wanted.
        """
        self._received += len(piece)
        if self._received > self._to.most_bytes:
            raise AnswerTooLargeError
        if time.monotonic() > self._ends_at:
            raise TimeoutError
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._unwritable(error) from error

    def take(self) -> bytes:
        """Return what is not in the file: nothing."""
        return b""

    def _unwritable(self, error: OSError) -> ImageTaskError:
        return ImageTaskError(f"An answer cannot be kept in {self._to.path}: {error.strerror or type(error).__name__}")


def received(
    account: Account, to: AnswerFile | None, status: int, *, keeps_pictures: bool
) -> ReceivedAnswer | FiledAnswer:
    """Return what receives an answer of a status.

    :param to: where its request wants it.
    :param keeps_pictures: of :class:`ReceivedAnswer`; where it does not, it keeps no very long texts either.
    """
    if to is not None and 200 <= status < 300:
        return FiledAnswer(to)
    return ReceivedAnswer(account, keeps_pictures=keeps_pictures, shortens_texts=not keeps_pictures)


class ShortenedTexts:
    """What is left of an answer in JSON, block by block, once its very long texts are cut.

    A text is cut only where two blocks meet, and never within a character, so that what is left reads as before.
    Of what is no JSON anything may be left.
    """

    def __init__(self) -> None:
        self._begun = b""
        self._kept_of_text: int | None = None

    def of(self, block: bytes) -> bytes:
        """Return what is kept of the next block."""
        block = self._begun + block
        kept, start = b"", 0
        if self._kept_of_text is not None:
            end = _end(_WITHIN_A_TEXT, block, 0)
            kept = block[:end] if self._kept_of_text < MOST_OF_A_TEXT else b""
            self._kept_of_text += end
            if block[end : end + 1] != b'"':
                self._begun = block[end:]
                return kept
            kept, start = kept + b'"', end + 1
        opened = _end(_WHOLE_TEXTS, block, start)
        end = _end(_WITHIN_A_TEXT, block, opened + 1) if opened < len(block) else opened
        self._kept_of_text = end - opened if opened < len(block) else None
        self._begun = block[end:]
        return kept + block[start:end]


def _end(pattern: re.Pattern[bytes], block: bytes, start: int) -> int:
    found = pattern.match(block, start)
    return found.end() if found else start
