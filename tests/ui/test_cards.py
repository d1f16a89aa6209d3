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
THEIRS = xcom([{"id": "it-2", **ERROR}], key="image_task_failures")
BATCH = xcom({"folder": "file:///b", "total": 40, "model": "m", "service": "kie"}, key="image_batch", task_id="b")


def file(index: int = 0, image_task_id: str = "it-1") -> dict[str, Any]:
    return {"uri": f"file:///pics/{index}.png", "image_task_id": image_task_id, "index": index}


def made(*xcoms: XCom, run_state: str = "running") -> dict[str, Any]:
    return card(ASKED, collect_results(xcoms), run_state, lambda dag_id, each: {"uri": each["uri"]})


@pytest.mark.parametrize(
    ("xcoms", "run_state", "state"),
    [
        pytest.param([], "running", "waiting", id="nothing came back"),
        pytest.param([], "failed", "unfinished", id="the run is over"),
        pytest.param([xcom(RECORD, run_key=2)], "running", "waiting", id="another run's"),
        pytest.param([xcom(RECORD)], "running", "ready", id="a sensor's"),
        pytest.param([xcom([RECORD])], "running", "ready", id="a sensor's of several"),
        pytest.param([THEIRS, xcom([RECORD], key="image_tasks")], "running", "ready", id="read beside one that failed"),
        pytest.param([THEIRS], "running", "waiting", id="one that it waited for with it has failed"),
    ],
)
def test_what_came_back_in_its_run_tells_how_far_it_is(xcoms: list[XCom], run_state: str, state: str) -> None:
    shown = made(*xcoms, run_state=run_state)

    assert shown["state"] == state
    assert shown["duration"] == (2.5 if state == "ready" else None)
    assert (shown["prompt"], shown["model"], shown["service"]) == ("a kite", "m", "kie")
    assert (shown["dag_id"], shown["run_id"], shown["task_id"], shown["map_index"]) == ("kites", "run", "submit", -1)


def test_a_download_shows_its_pictures_in_their_order() -> None:
    shown = made(xcom(RECORD), xcom({"files": [file(1), file(0), file(0, "it-2")]}))

    assert shown["state"] == "stored"
    assert [picture["uri"] for picture in shown["pictures"]] == ["file:///pics/0.png", "file:///pics/1.png"]


def test_a_failure_says_why() -> None:
    shown = made(xcom([{"id": "it-1", **ERROR}], key="image_task_failures"))

    assert (shown["state"], shown["error"]) == ("failed", ERROR)


@pytest.mark.parametrize("dearer", ["UnsafeResultError", "ResultExpiredError", "ImageTaskFailedError"])
def test_of_several_failures_that_which_is_mended_for_nothing_comes_first(dearer: str) -> None:
    failures = [{"id": "it-1", **ERROR, "class": name} for name in ("DownloadError", dearer)]

    for told in (failures, failures[::-1]):
        shown = made(xcom(told, key="image_task_failures", task_id="save"))
        assert shown["error"]["class"] == "DownloadError"
        assert [(each["task_id"], each["pays"]) for each in shown["clears"]] == [("save", "nothing")]


def test_what_a_later_task_says_of_a_failure_counts() -> None:
    first = xcom([{"id": "it-1", **ERROR, "class": "DownloadError"}], "image_task_failures", "save")

    shown = made(first, xcom([{"id": "it-1", **ERROR}], "image_task_failures", "again"))

    assert shown["error"] == ERROR


def test_a_submission_that_was_refused_has_a_card_that_says_why() -> None:
    refused = xcom({"prompt": "a kite", "service": "kie", "error": ERROR}, key="image_task_refused")

    shown = card(refused, collect_results([]), "failed", lambda *_: {})

    assert (shown["state"], shown["prompt"], shown["error"]) == ("failed", "a kite", ERROR)


def test_a_batch_tells_how_far_it_is_and_what_it_came_to() -> None:
    progress = xcom({"total": 40, "submitted": 30, "succeeded": 9, "failed": 1, "running": 20}, "progress", "b")
    summary = xcom({"manifest": "file:///b/m", "total": 40, "succeeded": 38, "failed": 2, "cost": 1.5}, task_id="b")

    under_way = batch_card(BATCH, collect_results([progress]), "deferred", [])
    done = batch_card(BATCH, collect_results([progress, summary]), "success", [])

    assert under_way["counts"] == {"total": 40, "submitted": 30, "succeeded": 9, "failed": 1, "running": 20}
    assert under_way["state"] == "waiting"
    assert batch_card(BATCH, collect_results([]), "running", [])["counts"]["total"] == 40
    assert done["counts"] == {"total": 40, "submitted": 40, "succeeded": 38, "failed": 2, "running": 0}
    assert (done["state"], done["cost"]) == ("stored", 1.5)
    assert batch_card(BATCH, collect_results([progress]), "failed", [])["state"] == "failed"


@pytest.mark.parametrize(
    ("at_deferral", "succeeded", "ready"),
    [
        (None, 9, 0),
        ({"succeeded": 4}, 4, 5),
        ({"succeeded": 0}, 0, 9),
        ({"succeeded": 50}, 9, 0),
        ({"succeeded": "x"}, 0, 9),
    ],
)
def test_what_the_service_has_ready_is_not_counted_as_stored(
    at_deferral: dict[str, Any] | None, succeeded: int, ready: int
) -> None:
    told = xcom({"total": 40, "submitted": 30, "succeeded": 9, "failed": 1, "running": 20}, "progress", "b")

    item = batch_card(BATCH, collect_results([told]), "deferred", [], at_deferral)

    counts = item["counts"]
    assert (counts["succeeded"], item["ready"], counts["running"]) == (succeeded, ready, 20 + ready)
    assert counts["succeeded"] + counts["failed"] + counts["running"] == counts["submitted"]


def test_a_row_of_a_batch_is_a_card_like_any_other() -> None:
    row = {"id": "r7", "index": 7, "prompt": "a kite", "status": "succeeded", "image_task_id": "it", "files": [file()]}

    shown = row_card(BATCH, row, lambda dag_id, each: {"uri": each["uri"]})
    failed = row_card(BATCH, {**row, "status": "failed", "files": [], "error": ERROR}, lambda *_: {})

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


@pytest.mark.parametrize(
    ("told", "advice"),
    [
        ({**ERROR, "advice": "Restore the folder, then Clear."}, "Restore the folder, then Clear."),
        # As versions pushed it that told no advice.
        (ERROR, "Clear the task to repeat its failed rows. To change a request, start a new Dag run."),
    ],
)
def test_a_failed_batch_leads_to_its_own_log_with_the_log_s_own_advice(told: dict[str, Any], advice: str) -> None:
    failed = batch_card(BATCH, collect_results([xcom(told, key="image_task_error", task_id="b")]), "failed", [])

    assert (failed["advice"], failed["log_at"]) == (advice, {"task_id": "b", "map_index": -1})
    assert batch_card(BATCH, collect_results([]), "running", [])["advice"] is None


def test_a_batch_that_failed_without_a_word_can_be_cleared_like_any_other() -> None:
    killed = batch_card(BATCH, collect_results([]), "failed", [])

    assert (killed["error"], killed["log_at"]["task_id"]) == (None, "b")
    assert killed["advice"].startswith("Clear the task to repeat its failed rows.")
    assert [each["pays"] for each in killed["clears"]] == ["rows"]


@pytest.mark.parametrize(
    ("task_state", "advice"),
    [("failed", "Clear the task"), ("success", "Request it in a new Dag run"), ("running", "")],
)
def test_a_failed_row_advises_what_can_be_done_about_its_batch(task_state: str, advice: str) -> None:
    row = {"index": 7, "status": "failed", "error": {**ERROR, "class": "ContentPolicyError"}}

    told = row_card(BATCH, row, lambda *_: {}, task_state)

    assert (told["advice"] or "").startswith(advice)
    assert told["log_at"] == {"task_id": "b", "map_index": -1}
    assert row_card(BATCH, {"index": 7, "files": [file()]}, lambda *_: {}, task_state)["advice"] is None


def test_what_is_not_a_number_or_a_text_is_left_out() -> None:
    told = {**TOLD, "prompt": {"a": 1}, "model": ["m"], "duration": "long", "usage": {"tokens": 5, "nested": {"a": 1}}}

    shown = card(xcom(told, key="image_task"), collect_results([]), "running", lambda *_: {})

    assert (shown["prompt"], shown["model"], shown["duration"], shown["usage"]) == (None, None, None, {"tokens": 5})


def test_what_makes_no_sense_is_not_told() -> None:
    told = {**TOLD, "submitted_at": "yesterday", "finished_at": "2026-W09-7", "duration": -5}
    counts = {"total": 3, "succeeded": -3, "failed": 4, "running": -9, "updated_at": "soon"}

    single = card(xcom(told, key="image_task"), collect_results([]), "running", lambda *_: {})
    batch = batch_card(BATCH, collect_results([xcom(counts, key="progress", task_id="b")]), None, [])

    assert (single["submitted_at"], single["duration"]) == (MOMENT.isoformat(), None)
    assert single["finished_at"] == "2026-03-01T00:00:00+00:00"
    assert batch["counts"] == {"total": 4, "submitted": 0, "succeeded": 0, "failed": 4, "running": 0}
    assert batch["updated_at"] is None


def test_texts_are_shown_without_what_turns_the_direction_of_writing_or_is_no_sign() -> None:
    odd = "a\u202e\x1b[31mb"
    told = {**TOLD, "model": odd, "prompt": "a kite\n\u05d0"}
    failure = {"id": "it-1", "class": odd, "message": odd, "billed": "no"}

    shown = card(xcom(told, key="image_task"), collect_results([]), "running", lambda *_: {})
    failed = card(ASKED, collect_results([xcom([failure], key="image_task_failures")]), "failed", lambda *_: {})

    assert (shown["model"], shown["prompt"]) == ("a[31mb", "a kite\n\u05d0")
    assert (failed["error"]["class"], failed["error"]["message"]) == ("a[31mb", "a[31mb")


def test_rows_are_told_apart_also_where_the_id_of_one_is_the_number_of_another() -> None:
    rows: list[dict[str, Any]] = [{"index": 0, "id": "1"}, {"index": 1}, {"index": 2, "id": "1"}, {"id": "x"}]

    assert len({row_card(BATCH, row, lambda *_: {})["key"] for row in rows}) == 4


def test_what_came_back_of_an_id_that_is_the_record_itself_is_found_however_long_it_is() -> None:
    alike = "inline:" + "a" * 5_000
    asked = xcom({**TOLD, "id": f"{alike}1"}, key="image_task")
    came = [xcom({**RECORD, "id": f"{alike}1"}), xcom({"files": [file(0, f"{alike}1"), file(1, f"{alike}2")]})]

    shown = card(asked, collect_results(came), "running", lambda _, each: {"uri": each["uri"]})

    assert (shown["state"], shown["duration"], len(shown["pictures"])) == ("stored", 2.5, 1)
