"""What is left of an answer in JSON, block by block, once its very long texts are cut."""

from __future__ import annotations

import re

MOST_OF_A_TEXT = 512 * 1024
"""Bytes of one text, after which no further block of it is kept. A prompt of 32,000 characters has at most half of it,
also in a record that is a text itself."""
_CHARACTERS = rb'(?:[^"\\\xc0-\xff]++|[\xc0-\xff][\x80-\xbf]{0,3}+(?=.)|\\u[0-9A-Fa-f]{4}|\\[^u]|\\u(?=.{4}))*+'
"""Of a text; without the last one where the next block may have more of it."""
_WITHIN_A_TEXT = re.compile(_CHARACTERS, re.DOTALL)
_WHOLE_TEXTS = re.compile(rb'(?:[^"]++|"' + _CHARACTERS + rb'")*+', re.DOTALL)
"""And whatever stands between them."""


class ShortenedTexts:
    """Cuts a text only where two blocks meet, and never within a character, so that what is left reads as before.

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
