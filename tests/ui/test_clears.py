"""Which Clear a failed card offers: what the log advises, with what it will pay, and nothing dearer than needed."""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.ui.airflow_records import XCom
from airflow_provider_imagetasks.ui.clears import advice_of, clears_of, clears_of_batch
from tests.ui.conftest import NOW, RUN_ID


def pushed(key: str, task_id: str, map_index: int = 2) -> XCom:
    return XCom(1, "kites", RUN_ID, task_id, map_index, key, None, NOW)


SUBMITTED = pushed("image_task", "submit")
REFUSED = pushed("image_task_refused", "submit")
WAITED, SAVED = pushed("image_task_failures", "wait"), pushed("image_task_failures", "save", -1)


@pytest.mark.parametrize(
    ("error_class", "failed", "submission", "clears"),
    [
        ("ContentPolicyError", REFUSED, REFUSED, [("submit", 2, "picture")]),
        ("UnknownOutcomeError", REFUSED, REFUSED, [("submit", 2, "maybe")]),
        ("ImageTaskFailedError", WAITED, SUBMITTED, [("submit", 2, "picture")]),
        ("ContentPolicyError", WAITED, SUBMITTED, [("submit", 2, "picture")]),
        ("ImageTaskTimeoutError", WAITED, SUBMITTED, [("wait", 2, "nothing"), ("submit", 2, "picture")]),
        ("ImageTaskNotFoundError", WAITED, SUBMITTED, [("wait", 2, "nothing"), ("submit", 2, "picture")]),
        ("AuthenticationError", WAITED, SUBMITTED, [("wait", 2, "nothing")]),
        ("DownloadError", SAVED, SUBMITTED, [("save", -1, "nothing")]),
        ("ResultExpiredError", SAVED, SUBMITTED, [("save", -1, "nothing"), ("submit", 2, "picture")]),
        ("UnsafeResultError", SAVED, SUBMITTED, [("submit", 2, "picture")]),
        ("ImageTaskFailedError", WAITED, None, [("wait", 2, "nothing")]),
        ("a word of somebody's own", WAITED, SUBMITTED, [("wait", 2, "nothing")]),
        (None, WAITED, SUBMITTED, [("wait", 2, "nothing")]),
    ],
)
def test_a_failure_is_mended_where_the_log_says(
    error_class: str | None, failed: XCom, submission: XCom | None, clears: list[tuple[str, int, str]]
) -> None:
    found = clears_of(error_class, failed, submission)

    assert [(each["task_id"], each["map_index"], each["pays"]) for each in found] == clears


@pytest.mark.parametrize("state", ["success", "running", "deferred", "up_for_retry", None])
def test_no_batch_is_cleared_that_would_make_its_delivered_pictures_anew(state: str | None) -> None:
    batch = pushed("image_batch", "make")

    assert clears_of_batch(batch, state) == []
    assert clears_of_batch(batch, "failed") == [{"task_id": "make", "map_index": 2, "pays": "rows"}]


@pytest.mark.parametrize("name", ["no class", None, "Billed", "ClassVar", "__doc__", "public_class_name"])
def test_only_our_errors_have_an_advice(name: str | None) -> None:
    assert advice_of(name) is None
    assert advice_of("DownloadError") == "A retry reads the image task again and fetches what is missing, at no cost."
