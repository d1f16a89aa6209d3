"""The rows of batches as cards: page by page in an order, filtered, counted, and some for a first impression."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.ui.batch_rows import files_of, read_all, read_page
from airflow_provider_imagetasks.ui.cards import PictureOf, row_card, whole
from airflow_provider_imagetasks.ui.cursors import offset_of
from airflow_provider_imagetasks.ui.roots import Location, roots_of
from airflow_provider_imagetasks.ui.stored_files import OutOfReachError

if TYPE_CHECKING:
    from airflow_provider_imagetasks.ui.airflow_records import XCom
    from airflow_provider_imagetasks.ui.filters import Filter

PAGE = 60
_MOST_PAGES_READ = 10
_PREVIEW = 4
_MOST_ROWS = 20_000
"""Rows of batches that one request reads to see whether some are to be shown."""

Summary = Mapping[str, Any] | None
"""The result of a batch; None while there is none."""


class BatchPages:
    """The rows of batches for one request.

    :param roots: where they may be read.
    :param picture: makes what the browser needs to show a stored file.
    """

    def __init__(self, roots: Sequence[Location], picture: PictureOf) -> None:
        self._roots = roots
        self._picture = picture
        self._rows_left = _MOST_ROWS

    def preview(self, batch: XCom, summary: Summary) -> list[dict[str, Any]]:
        """Return the first few pictures; none where they cannot be read."""
        try:
            rows, _ = read_page(self._files(batch, summary), None, 3 * _PREVIEW)
        except OutOfReachError:
            return []
        pictures = (row_card(batch, row, self._picture)["pictures"][:1] for row in rows)
        return [picture for of_row in pictures for picture in of_row][:_PREVIEW]

    def count(self, batch: XCom, summary: Summary, wanted: Filter) -> int | None:
        """Return how many rows a filter admits; None where that would take too long to tell."""
        if self._rows_left <= 0:
            return None
        try:
            rows = read_all(self._files(batch, summary))
        except OutOfReachError:
            return 0
        self._rows_left -= len(rows) if rows is not None else _MOST_ROWS
        if rows is None:
            return None
        return sum(wanted.admits(row_card(batch, row, no_picture)) for row in _latest(rows))

    def page(
        self, batch: XCom, summary: Summary, task_state: str | None, wanted: Filter, cursor: str | None
    ) -> dict[str, Any]:
        """Return a page of rows in the order that is asked for; without one, in that of their numbers.

        The first page also has ``failures``, the failed rows counted by class of error, and ``found``, how many rows
        there are to be shown. Both are None of a batch that is too large to be read as a whole; its rows come as they
        lie in its files. ``reach`` says why rows cannot be read, or ``ok``.

        :param task_state: of the batch's task instance.
        """
        try:
            files = self._files(batch, summary)
            if (
                summary is not None
                and summary.get("failed") == 0
                and wanted.order is None
                and not wanted.looks_into_cards
            ):
                # A manifest is in the order of the rows, and nothing has to be counted.
                page = self._as_they_lie(batch, files, task_state, wanted, cursor)
                return {**page, "failures": {}}
            everything = read_all(files)
            if everything is None:
                return self._as_they_lie(batch, files, task_state, wanted, cursor)
        except OutOfReachError as error:
            return {"items": [], "next": None, "reach": str(error)}
        rows = _latest(everything)
        if wanted.order != "end":
            rows = sorted(rows, key=_number_of)
        if wanted.goes_by_result:
            rows = sorted(rows, key=lambda row: wanted.rank(row_card(batch, row, no_picture)))
        start = offset_of(cursor)
        shown: Sequence[Mapping[str, Any]] = rows
        if wanted.looks_into_cards:
            shown = [row for row in rows if wanted.admits(row_card(batch, row, no_picture))]
        items = [row_card(batch, row, self._picture, task_state) for row in shown[start : start + PAGE]]
        page = {"items": items, "next": str(start + PAGE) if start + PAGE < len(shown) else None, "reach": "ok"}
        return page if start else {**page, "failures": _failures(rows), "found": len(shown)}

    def _as_they_lie(
        self, batch: XCom, files: Sequence[Location], task_state: str | None, wanted: Filter, cursor: str | None
    ) -> dict[str, Any]:
        items: list[dict[str, Any]] = []
        position = cursor
        for _ in range(_MOST_PAGES_READ):
            rows, position = read_page(files, position, PAGE)
            cards = (row_card(batch, row, self._picture, task_state) for row in rows)
            items += [item for item in cards if wanted.admits(item)]
            if position is None or len(items) >= PAGE:
                break
        return {"items": items, "next": position, "reach": "ok", "failures": None, "found": None}

    def _files(self, batch: XCom, summary: Summary) -> list[Location]:
        return files_of(batch, summary, roots_of(batch.dag_id, self._roots))


def no_picture(_dag_id: str, _file: Mapping[str, Any]) -> dict[str, Any]:
    """Return nothing that leads to a picture, where only what a card says is needed."""
    return {}


def _latest(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows without what was later written anew of the same row."""
    latest: dict[Any, Mapping[str, Any]] = {}
    for position, row in enumerate(rows):
        index = whole(row.get("index"))
        number = index if index is not None else f"unnumbered {position}"
        latest.pop(number, None)
        latest[number] = row
    return list(latest.values())


def _number_of(row: Mapping[str, Any]) -> float:
    index = whole(row.get("index"))
    return index if index is not None else float("inf")


def _failures(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many rows failed, by the class of the error, the most frequent first."""
    errors = (row.get("error") for row in rows if row.get("status") == "failed")
    classes = Counter(str(error.get("class"))[:100] if isinstance(error, Mapping) else "" for error in errors)
    return dict(classes.most_common(20))
