"""The rows of a batch, read from its folder a page at a time: from the manifest, or before that from its segments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_imagetasks.ui.roots import Location, locate
from airflow_provider_imagetasks.ui.stored_files import OutOfReachError, names_in, opened

PAGE_BYTES = 1024 * 1024
LONGEST_ROW = 256 * 1024
_CURSOR = re.compile(r"(\d{1,9})\.(\d{1,15})")


def read_rows(
    batch: Mapping[str, Any],
    summary: Mapping[str, Any] | None,
    roots: Sequence[Location],
    *,
    cursor: str | None,
    most: int,
) -> tuple[list[Mapping[str, Any]], str | None]:
    """Return a page of rows that have come to their end, and where the next begins; None after the last one there now.

    :param batch: the XCom ``image_batch``.
    :param summary: the batch's result, once there is one; it names the manifest.
    :param cursor: where the page before said that this one begins.
    :raises OutOfReachError: no gallery root allows to read them, the storage does not answer, or the manifest is gone.
    """
    files = _files(batch, summary, roots)
    match = _CURSOR.fullmatch(cursor or "")
    number, offset = (int(match[1]), int(match[2])) if match else (0, 0)
    rows: list[Mapping[str, Any]] = []
    while number < len(files) and len(rows) < most:
        found, offset, is_end = _lines(files[number], offset, most - len(rows))
        rows += found
        if not is_end:
            return rows, f"{number}.{offset}"
        number, offset = number + 1, 0
    return rows, f"{number}.{offset}" if number < len(files) else None


def _files(batch: Mapping[str, Any], summary: Mapping[str, Any] | None, roots: Sequence[Location]) -> list[Location]:
    uri = batch.get("folder") if summary is None else summary.get("manifest")
    place = locate(uri.rstrip("/"), roots) if isinstance(uri, str) else None
    if place is None:
        raise OutOfReachError("outside")
    if summary is not None:
        return [place]
    generation = batch.get("generation")
    number = generation if isinstance(generation, int) else "[0-9]+"
    segment = re.compile(rf"outcomes-{number}-([0-9]+)(?:-[\w-]+)?\.jsonl")
    numbered = [(int(match[1]), name) for name in names_in(place) if (match := segment.fullmatch(name))]
    return [replace(place, path=f"{place.path}/{name}") for _, name in sorted(numbered)]


def _lines(file: Location, offset: int, most: int) -> tuple[list[Mapping[str, Any]], int, bool]:
    """Return rows from an offset on, where they end, and whether the file ends there."""
    rows: list[Mapping[str, Any]] = []
    with opened(file) as (stream, size):
        stream.seek(offset)
        last = min(size, offset + PAGE_BYTES)
        while offset < last and len(rows) < most:
            line = stream.readline(LONGEST_ROW)
            if not line:
                break
            offset += len(line)
            try:
                row = json.loads(line)
            except ValueError:
                # Cut off, since it is still being written, or longer than any row is.
                continue
            if isinstance(row, Mapping):
                rows.append(row)
    return rows, offset, offset >= size
