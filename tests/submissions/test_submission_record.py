from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.submissions.submission_record import SubmissionRecord, fingerprint, read_record
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest

RECORD = SubmissionRecord(
    fingerprint="f", generation=1, max_tries=2, intent_at=1_000.5, image_task_id="a", trace_id="t"
)


def account(**fields: Any) -> Account:
    defaults = {"conn_id": "c", "service": "acedatacloud", "base_url": "https://api.example.com", "key": "one-key"}
    return Account(**{**defaults, **fields})


def mark(of_account: Account | None = None, **fields: Any) -> str:
    return fingerprint(ImageRequest(**{"prompt": "a kite", "model": "m", **fields}), of_account or account())


def file(content: bytes) -> ImageFile:
    return ImageFile(name="images.png", media_type="image/png", content=content)


def test_a_record_survives_json() -> None:
    assert read_record(json.loads(json.dumps(RECORD.as_json()))) == RECORD


def test_fields_of_later_versions_are_passed_over() -> None:
    assert read_record({**RECORD.as_json(), "version": 9, "mood": "good"}) == RECORD


@pytest.mark.parametrize("value", [None, "text", [], {}, {"fingerprint": "f"}, {**RECORD.as_json(), "generation": "x"}])
def test_what_is_no_record_is_never_taken_for_none(value: Any) -> None:
    with pytest.raises(ValueError, match="record"):
        read_record(value)


def test_the_same_request_has_the_same_fingerprint() -> None:
    assert mark(options={"a": 1, "b": 2}) == mark(options={"b": 2, "a": 1})


@pytest.mark.parametrize(
    "fields",
    [
        *({"prompt": "a boat"}, {"model": "another"}, {"options": {"size": "64x64"}}, {"trace_id": "mine"}),
        {"images": ["https://example.com/a.png"]},
    ],
)
def test_another_request_has_another(fields: dict[str, Any]) -> None:
    assert mark(**fields) != mark()


def test_another_account_has_another_but_another_key_has_not() -> None:
    assert mark(account(conn_id="d")) != mark()
    assert mark(account(base_url="https://api.example.org")) != mark()
    assert mark(account(key="another-key")) == mark()


def test_what_changes_without_the_picture_changing_does_not_count() -> None:
    assert mark(callback_url="https://a.example/1") == mark(callback_url="https://a.example/2")
    assert mark(images=["https://e.com/a.png?sig=1"]) == mark(images=["https://e.com/a.png?sig=2"])


def test_files_count_by_what_is_in_them() -> None:
    assert mark(images=[file(b"one")]) == mark(images=[file(b"one")])
    assert mark(images=[file(b"one")]) != mark(images=[file(b"two")])
    assert mark(images=[file(b"one")], mask=file(b"m")) != mark(images=[file(b"one")])
