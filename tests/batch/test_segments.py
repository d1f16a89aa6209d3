from __future__ import annotations

import json

import pytest

from airflow_provider_imagetasks.batch.segments import (
    Intent,
    SegmentName,
    intents_content,
    json_line,
    read_intents,
    read_json_lines,
    read_name,
)
from tests.batch.batches import ACCOUNT

INTENTS = [
    Intent(index=3, attempt=0, at=10.5),
    Intent(index=4, attempt=1, at=10.5, image_task_id="an-id", submitted_at=11.0),
    Intent(index=5, attempt=0, at=10.5, taken=False),
]


def test_a_segment_of_intents_comes_back_as_it_was_written() -> None:
    head, intents = read_intents(intents_content(INTENTS, ACCOUNT))

    assert (head["schema"], head["conn_id"], head["base_url"]) == (1, "c", "https://easel.example")
    assert intents == INTENTS


def test_what_a_later_version_adds_is_passed_over() -> None:
    lines = [{"schema": 1, "more": 1}, {"index": 0, "attempt": 0, "at": 1.0, "more": {"x": 1}}]

    assert read_intents(b"".join(map(json_line, lines)))[1] == [Intent(index=0, attempt=0, at=1.0)]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "schema"),
        (b"[]\n", "not an object"),
        (b'{"index": 0}\n', "schema"),
        (b'{"schema": 2}\n', "newer version"),
        (b'{"schema": 1}\n{"index": 0}\n', "incomplete"),
        (b'{"schema": 1}\n{"index": 0, "att', "Unterminated"),
    ],
)
def test_a_damaged_segment_is_never_taken_for_an_empty_one(content: bytes, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        read_intents(content)


def test_segments_sort_by_the_order_in_which_they_were_written() -> None:
    names = ["outcomes-0-000010.jsonl", "intents-0-000009.jsonl", "intents-0-1000000.jsonl", "outcomes-0-000002.jsonl"]

    found = sorted(name for name in map(read_name, names) if name)

    assert [name.number for name in found] == [2, 9, 10, 1000000]
    assert [str(name) for name in found[:2]] == ["outcomes-0-000002.jsonl", "intents-0-000009.jsonl"]


@pytest.mark.parametrize("name", ["manifest.jsonl", "intents-0.jsonl", "intents-x-1.jsonl", "intents-0-1.part", ""])
def test_other_files_are_no_segments(name: str) -> None:
    assert read_name(name) is None
    assert read_name(str(SegmentName(2, 7, "outcomes"))) == SegmentName(2, 7, "outcomes")


def test_any_text_survives() -> None:
    value = {"prompt": "line\u2028break \ud800 \x85 end"}

    assert list(read_json_lines(json_line(value) * 2)) == [value, value]
    assert json.loads(json_line(value)) == value
