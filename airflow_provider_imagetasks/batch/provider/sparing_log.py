"""A log that is told the same of many rows at once, and repeats it of the first only."""

from __future__ import annotations

from collections import Counter
from typing import Any

MOST = 20
"""Rows of which the log is told the same."""


class SparingLog:
    """Hands on the first lines of each kind.

    :param log: that they are handed to.
    """

    def __init__(self, log: Any) -> None:
        self._log = log
        self._told = Counter[str]()

    def info(self, text: str, *arguments: Any) -> None:
        """Log what is no reason to worry."""
        if self._is_new(text):
            self._log.info(text, *arguments)

    def warning(self, text: str, *arguments: Any) -> None:
        """Log what may be one."""
        if self._is_new(text):
            self._log.warning(text, *arguments)

    def error(self, text: str, *arguments: Any) -> None:
        """Log what is one."""
        if self._is_new(text):
            self._log.error(text, *arguments)

    def _is_new(self, text: str) -> bool:
        self._told[text] += 1
        if self._told[text] == MOST + 1:
            self._log.info("The same of further rows is left out here; the manifest says it of each.")
        return self._told[text] <= MOST
