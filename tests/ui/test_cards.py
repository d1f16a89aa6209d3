"""What the gallery makes of XComs: a card for each image task, whatever somebody put into them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_imagetasks.ui.airflow_records import XCom
from airflow_provider_imagetasks.ui.cards import batch_card, card, collect_results, row_card

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
TOLD = {"id": "it-1", "service": "kie", "conn_id": "k", "model": "m", "prompt": "a kite", "submitted_at": "2026-03-01"}
RECORD = {**TOLD, "state": "succeeded", "images": [{"index": 0}], "image_count_requested": 1, "duration": 2.5}
ERROR = {"class": "ContentPolicyError", "code": "policy", "message": "refused", "billed": "no"}


def xcom(value: Any, key: str = "return_value", task_id: str = "task", run_key: int = 1) -> XCom:
    return XCom(run_key, "kites", "run", task_id, -1, key, value, MOMENT)


ASKED = xcom(TOLD, key="image_task", task_id="submit")


def file(index: int = 0, image_task_id: str = "it-1") -> dict[str, Any]:
    return {"uri": f"file:///pics/{index}.png", "image_task_id": image_task_id, "index": index}


def made(*xcoms: XCom, run_state: str = "running") -> dict[str, Any]:
    return card(ASKED, collect_results(xcoms), run_state, lambda dag_id, each: {"uri": each["uri"]})


def test_an_image_task_of_which_nothing_came_back_is_waited_for() -> None:
    shown = made()

    assert shown["state"] == "waiting"
    assert (shown["prompt"], shown["model"], shown["service"]) == ("a kite", "m", "kie")
    assert (shown["dag_id"], shown["run_id"], shown["task_id"], shown["map_index"]) == ("kites", "run", "submit", -1)


def test_when_the_run_is_over_it_has_no_result() -> None:
    assert made(run_state="failed")["state"] == "unfinished"


@pytest.mark.parametrize("value", [RECORD, [RECORD]])
def test_a_sensor_s_record_tells_that_it_is_ready(value: Any) -> None:
    shown = made(xcom(value))

    assert (shown["state"], shown["duration"]) == ("ready", 2.5)


def test_a_download_shows_its_pictures_in_their_order() -> None:
    shown = made(xcom(RECORD), xcom({"files": [file(1), file(0), file(0, "it-2")]}))

    assert shown["state"] == "stored"
    assert [picture["uri"] for picture in shown["pictures"]] == ["file:///pics/0.png", "file:///pics/1.png"]


def test_a_failure_says_why() -> None:
    shown = made(xcom([{"id": "it-1", **ERROR}], key="image_task_failures"))

    assert (shown["state"], shown["error"]) == ("failed", ERROR)


def test_of_several_that_one_sensor_waited_for_each_has_its_own_end() -> None:
    others = xcom([{"id": "it-2", **ERROR}], key="image_task_failures")

    assert made(others, xcom([RECORD], key="image_tasks"))["state"] == "ready"
    assert made(others)["state"] == "waiting"


def test_a_submission_that_was_refused_has_a_card_that_says_why() -> None:
    refused = xcom({"prompt": "a kite", "service": "kie", "error": ERROR}, key="image_task_refused")

    shown = card(refused, collect_results([]), "failed", lambda *_: {})

    assert (shown["state"], shown["prompt"], shown["error"]) == ("failed", "a kite", ERROR)


def test_another_run_s_results_are_not_mixed_in() -> None:
    assert made(xcom(RECORD, run_key=2))["state"] == "waiting"


def test_a_batch_tells_how_far_it_is_and_what_it_came_to() -> None:
    asked = xcom({"folder": "file:///b", "total": 40, "model": "m", "service": "kie"}, key="image_batch", task_id="b")
    progress = xcom({"total": 40, "submitted": 30, "succeeded": 9, "failed": 1, "running": 20}, "progress", "b")
    summary = xcom({"manifest": "file:///b/m", "total": 40, "succeeded": 38, "failed": 2, "cost": 1.5}, task_id="b")

    under_way = batch_card(asked, collect_results([progress]), "deferred", [])
    done = batch_card(asked, collect_results([progress, summary]), "success", [])

    assert under_way["counts"] == {"total": 40, "submitted": 30, "succeeded": 9, "failed": 1, "running": 20}
    assert (under_way["state"], batch_card(asked, collect_results([]), "running", [])["counts"]["total"]) == (
        "waiting",
        40,
    )
    assert done["counts"] == {"total": 40, "submitted": 40, "succeeded": 38, "failed": 2, "running": 0}
    assert (done["state"], done["cost"]) == ("stored", 1.5)
    assert batch_card(asked, collect_results([progress]), "failed", [])["state"] == "failed"


def test_a_row_of_a_batch_is_a_card_like_any_other() -> None:
    asked = xcom({"folder": "file:///b", "model": "m", "service": "kie"}, key="image_batch", task_id="b")
    row = {"id": "r7", "index": 7, "prompt": "a kite", "status": "succeeded", "image_task_id": "it", "files": [file()]}

    shown = row_card(asked, row, lambda dag_id, each: {"uri": each["uri"]})
    failed = row_card(asked, {**row, "status": "failed", "files": [], "error": ERROR}, lambda *_: {})

    assert (shown["state"], shown["prompt"], shown["model"], len(shown["pictures"])) == ("stored", "a kite", "m", 1)
    assert (failed["state"], failed["error"]) == ("failed", ERROR)


@pytest.mark.parametrize("junk", [None, 7, "text", [], {}, [None, 7, []], {"files": 7}, {"id": 5, "service": []}])
@pytest.mark.parametrize("key", ["image_task", "image_task_refused", "image_batch", "return_value", "progress"])
def test_junk_in_an_xcom_breaks_nothing(junk: Any, key: str) -> None:
    odd = xcom(junk, key=key)
    found = collect_results([odd, xcom(junk, key="image_tasks"), xcom(junk, key="image_task_failures")])

    assert card(odd, found, "running", lambda *_: {})["pictures"] == []
    assert batch_card(odd, found, None, [])["counts"]["total"] == 0
    assert row_card(odd, {"files": junk, "error": junk, "id": junk}, lambda *_: {})["pictures"] == []


def test_what_is_not_a_number_or_a_text_is_left_out() -> None:
    told = {**TOLD, "prompt": {"a": 1}, "model": ["m"], "duration": "long", "usage": {"tokens": 5, "nested": {"a": 1}}}

    shown = card(xcom(told, key="image_task"), collect_results([]), "running", lambda *_: {})

    assert (shown["prompt"], shown["model"], shown["duration"], shown["usage"]) == (None, None, None, {"tokens": 5})
