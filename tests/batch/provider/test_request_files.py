"""Files of requests, and where they are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.provider.request_files import MOST_OPEN, FileLimits, RequestFiles
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.services.provider_batches import RequestGroup

ONE, OTHER = RequestGroup(endpoint="/a", model="m"), RequestGroup(endpoint="/b", model="m")
LARGE: dict[str, Any] = {"rows": 100, "input_bytes": 10_000, "result_bytes": 10_000}


def sent(folder: Path, groups: list[RequestGroup], limits: dict[str, Any]) -> list[list[int]]:
    """Return the rows of each file, whose lines have 10 bytes each, and their results 100."""
    files = RequestFiles(folder, FileLimits(**{**LARGE, **limits}))
    ready = [
        files.add(Intent(index=row, attempt=0, at=0.0), group, b"%08d.\n" % row, 100)
        for row, group in enumerate(groups)
    ]
    found = [*filter(None, ready), *files.rest()]
    for file in found:
        assert file.path.read_bytes() == b"".join(b"%08d.\n" % intent.index for intent in file.intents)
    return [[intent.index for intent in file.intents] for file in found]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, [[0, 1, 2, 3, 4]]),
        ({"rows": 2}, [[0, 1], [2, 3], [4]]),
        ({"input_bytes": 35}, [[0, 1, 2], [3, 4]]),
        ({"result_bytes": 250}, [[0, 1], [2, 3], [4]]),
        ({"result_bytes": 50}, [[0], [1], [2], [3], [4]]),
    ],
)
def test_files_are_cut_where_one_of_their_limits_is_reached(
    tmp_path: Path, limits: dict[str, Any], expected: list[list[int]]
) -> None:
    assert sent(tmp_path, [ONE] * 5, limits) == expected


def test_rows_of_different_kinds_go_into_different_files_in_their_order(tmp_path: Path) -> None:
    assert sent(tmp_path, [ONE, OTHER, ONE, OTHER, ONE], {"rows": 2}) == [[0, 2], [1, 3], [4]]


def test_of_very_many_kinds_the_fullest_file_is_sent_first(tmp_path: Path) -> None:
    kinds = [RequestGroup(endpoint="/a", model=str(number)) for number in range(MOST_OPEN + 1)]

    files = sent(tmp_path, [kinds[0], *kinds], {})

    assert files[0] == [0, 1]
    assert sorted(row for rows in files for row in rows) == list(range(MOST_OPEN + 2))
