"""The rows of a batch, read from its folder: from the manifest, or before that from its segments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.services.fields import mapping
from airflow_provider_imagetasks.ui.roots import Location, locate
from airflow_provider_imagetasks.ui.stored_files import OutOfReachError, names_in, opened

if TYPE_CHECKING:
    from airflow_provider_imagetasks.ui.airflow_records import XCom

PAGE_BYTES = 1024 * 1024
LONGEST_ROW = 256 * 1024
MOST_BYTES = 16 * 1024 * 1024
"""What is read of a batch to sort or search its rows: some 20,000 of them."""
OWNER_NAME, REQUESTS_NAME = "batch.json", "requests.jsonl"
_AT_ONCE = 8
_CURSOR = re.compile(r"(\d{1,9})\.(\d{1,15})")


def files_of(batch: XCom, summary: Mapping[str, Any] | None, roots: Sequence[Location]) -> list[Location]:
    """Return the files that hold the rows of a batch.

    :param batch: its XCom ``image_batch``.
    :param summary: its result, once there is one; it names the manifest.
    :param roots: those that may show what its Dag names.
    :raises OutOfReachError: no gallery root allows to read them, the storage does not answer, or the folder is that of
        another batch.
    """
    told = mapping(batch.value)
    uri = told.get("folder") if summary is None else summary.get("manifest")
    place = locate(uri.rstrip("/"), roots) if isinstance(uri, str) else None
    if place is None:
        raise OutOfReachError("outside")
    folder = place.path if summary is None else place.path.rpartition("/")[0]
    _require_own(batch, replace(place, path=f"{folder}/{OWNER_NAME}"))
    if summary is not None:
        return [place]
    generation = told.get("generation")
    number = generation if isinstance(generation, int) else "[0-9]+"
    segment = re.compile(rf"outcomes-{number}-([0-9]+)(?:-[\w-]+)?\.jsonl")
    numbered = [(int(match[1]), name) for name in names_in(place) if (match := segment.fullmatch(name))]
    return [replace(place, path=f"{folder}/{name}") for _, name in sorted(numbered)]


def frozen_request(batch: XCom, index: int, roots: Sequence[Location]) -> Mapping[str, Any]:
    """Return what was asked for in one row of a batch, as its first start froze it; nothing where there is no such row.

    :raises OutOfReachError: as for ``files_of``.
    """
    uri = mapping(batch.value).get("folder")
    place = locate(uri.rstrip("/"), roots) if isinstance(uri, str) else None
    if place is None:
        raise OutOfReachError("outside")
    _require_own(batch, replace(place, path=f"{place.path}/{OWNER_NAME}"))
    with opened(replace(place, path=f"{place.path}/{REQUESTS_NAME}")) as (stream, _):
        # By the number in it: a row that is longer than any is read in several pieces.
        while (line := stream.readline(LONGEST_ROW)) and stream.tell() <= MOST_BYTES:
            row = _row(line)
            if row is not None and row.get("index") == index:
                return row
    return {}


def read_page(files: Sequence[Location], cursor: str | None, most: int) -> tuple[list[Mapping[str, Any]], str | None]:
    """Return a page of rows as they lie in the files, and where the next begins; None after the last one there now.

    :param cursor: where the page before said that this one begins.
    :raises OutOfReachError: a file is gone, or the storage does not answer.
    """
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


def read_all(files: Sequence[Location]) -> list[Mapping[str, Any]] | None:
    """Return all rows as they lie in the files; None where that is more than can be sorted within one request.

    :raises OutOfReachError: a file is gone, or the storage does not answer.
    """
    if not files:
        return []
    read: list[list[bytes]] = []
    room = MOST_BYTES
    with ThreadPoolExecutor(min(_AT_ONCE, len(files))) as threads:
        for start in range(0, len(files), _AT_ONCE):
            for content in threads.map(_content, files[start : start + _AT_ONCE]):
                room -= len(content)
                if room < 0:
                    return None
                read.append(content.splitlines(keepends=False))
    rows = (_row(line) for line in chain.from_iterable(read))
    return [row for row in rows if row is not None]


def _require_own(batch: XCom, file: Location) -> None:
    """Refuse the folder of another batch: whoever can push an XCom may name any."""
    try:
        with opened(file) as (stream, _):
            owner = mapping(json.loads(stream.read(LONGEST_ROW)))
    except (ValueError, RecursionError) as error:
        raise OutOfReachError("unreadable") from error
    own = {"dag_id": batch.dag_id, "task_id": batch.task_id, "run_id": batch.run_id, "map_index": batch.map_index}
    if any(owner.get(name) != value for name, value in own.items()):
        raise OutOfReachError("another")


def _content(file: Location) -> bytes:
    with opened(file) as (stream, _):
        return stream.read(MOST_BYTES + 1)


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
            row = _row(line)
            if row is not None:
                rows.append(row)
    return rows, offset, offset >= size


def _row(line: bytes) -> Mapping[str, Any] | None:
    """Return a row; None for what is cut off, since it is still being written, or longer than any row is."""
    if len(line) > LONGEST_ROW:
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, Mapping) else None
