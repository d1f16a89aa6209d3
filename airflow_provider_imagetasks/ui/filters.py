"""What is asked for of the gallery's cards: by state, service, model, error, time, or words; in which order. Pure."""

# ruff: noqa: I002 - FastAPI reads the annotations of Filter; that of Airflow 3.1 knows no names in postponed ones.

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from unicodedata import normalize

Order = Literal["newest", "oldest", "row", "failed", "end", "duration", "cost"]
_COUNTS = {"stored": "succeeded", "failed": "failed", "waiting": "running"}
"""The counts of a batch by the state of the rows that they count."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which cards are to be shown, and in which order; None admits all.

    :param error: class of the error.
    :param search: words that stand, next to each other, in the prompt, the row's id or the image task's id.
    :param row: position of a row in its batch.
    :param since: time of the submission; likewise ``until``.
    :param order: of the page of all Dags ``newest`` or ``oldest`` first; of the rows of a batch ``row`` (as in the
        file) or ``end`` (as they came to their end); of all of them ``failed`` (failures first), ``duration`` (the
        slowest first) or ``cost`` (the costliest first).
    """

    state: str | None = None
    service: str | None = None
    model: str | None = None
    error: str | None = None
    search: str | None = None
    row: int | None = None
    run_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    order: Order | None = None

    @property
    def looks_into_cards(self) -> bool:
        """Whether cards have to be looked at to tell which are to be shown."""
        return any((self.state, self.service, self.looks_into_rows))

    @property
    def looks_into_rows(self) -> bool:
        """Whether the rows of a batch have to be read to tell whether some of them are to be shown."""
        return any((self.model, self.error, self.search)) or self.row is not None

    @property
    def goes_by_result(self) -> bool:
        """Whether the order goes by what became of them, so that all are read to tell which comes first."""
        return self.order in ("failed", "duration", "cost")

    def rank(self, item: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return what cards are sorted by where the order goes by what became of them; the same for all otherwise.

        What is not known comes last, and costs in one currency come together.
        """
        if self.order == "failed":
            return (item["state"] != "failed" and not (item.get("counts") or {}).get("failed"),)
        value = item.get(self.order) if self.order in ("duration", "cost") else None
        currency = item.get("currency") if self.order == "cost" else None
        return value is None, currency or "", -(value or 0)

    def admits(self, item: Mapping[str, Any]) -> bool:
        """Whether the card of one image task is to be shown."""
        error = item.get("error") or {}
        return (
            self.state in (None, "", item["state"])
            and self.service in (None, "", item["service"])
            and self.model in (None, "", item["model"])
            and self.error in (None, "", error.get("class"))
            and self.row in (None, item.get("index"))
            and self._says(item)
        )

    def may_admit_rows(self, batch: Mapping[str, Any]) -> bool:
        """Whether a batch may have rows to be shown, by what its card counts."""
        if self.service not in (None, "", batch["service"]):
            return False
        if self.error and not batch["counts"]["failed"]:
            return False
        if not self.state or (self.state == batch["state"] and not self.looks_into_rows):
            return True
        if self.state == "ready":
            return bool(batch["ready"])
        return self.state in _COUNTS and bool(batch["counts"][_COUNTS[self.state]])

    def _says(self, item: Mapping[str, Any]) -> bool:
        if not self.search:
            return True
        words = _as_compared(self.search)
        texts = (item.get(name) or "" for name in ("prompt", "row_id", "image_task_id"))
        return any(words in _as_compared(text) for text in texts)


def _as_compared(text: str) -> str:
    # A letter with an accent is one character or two, by the keyboard that it was typed on.
    return normalize("NFC", " ".join(text.split()).casefold())
