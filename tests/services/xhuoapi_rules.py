"""Checks of the rows of section 2: where XHuoAPI is not like AceDataCloud."""

from __future__ import annotations

from typing import Any

from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    ImageTaskError,
    InvalidRequestError,
    QuotaExceededError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services.account import Account, read_account
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.services.xhuoapi import XHuoApi
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from tests.flow_driver import NOW, DrivenFlow, drive, response
from tests.services.row_cases import Rules
from tests.services.tasks_api_cases import PICTURE, TASK_ID, record

SERVICE = XHuoApi()
RULES = Rules()
RESERVED = "https://callback.invalid/"
ACCEPTED = response({"task_id": TASK_ID})


def account(**extra: Any) -> Account:
    return read_account(
        conn_id="mine",
        service=SERVICE.name,
        default_base_url=SERVICE.default_base_url,
        requires_key=SERVICE.requires_key,
        host=None,
        key="sk-of-the-tests",
        extra=extra,
    )


def submitted(answer: Response, *, extra: dict[str, Any] | None = None, **fields: Any) -> DrivenFlow:
    request = SERVICE.complete(ImageRequest(prompt="a red kite", **fields), account(**(extra or {})))
    return drive(SERVICE.submit(request, key="derived"), answer)


def sent_callback(**arguments: Any) -> Any:
    return (submitted(ACCEPTED, **arguments).requests[0].body or {}).get("callback_url")


def refused(code: str, *, status: int = 400, **arguments: Any) -> ImageTaskError:
    error = submitted(response({"error": {"code": code, "message": "no luck"}}, status=status), **arguments).error
    assert error is not None
    return error


@RULES.row("2-base-path")
def everything_stands_below_its_own_base_path() -> None:
    assert account().base_url == "https://api.xhuoapi.ai/v1"
    assert submitted(ACCEPTED).requests[0].path == "/openai/images/generations"
    assert submitted(ACCEPTED, images=["https://x.example/a.png"]).requests[0].path == "/openai/images/edits"
    assert drive(SERVICE.get_task(TASK_ID), response({})).requests[0].path == "/openai/tasks"


@RULES.row("2-callback")
def a_callback_url_is_always_sent() -> None:
    own, connection = "https://me.example/own", "https://me.example/connection"

    assert sent_callback(callback_url=own, extra={"callback_url": connection}) == own
    assert sent_callback(extra={"callback_url": connection}) == connection
    assert sent_callback() == RESERVED
    assert sent_callback(images=["https://x.example/a.png"]) == RESERVED


@RULES.row("2-callback")
def the_answer_is_asked_for_at_once_all_the_same() -> None:
    assert (submitted(ACCEPTED).requests[0].body or {})["async"] is True
    assert submitted(ACCEPTED).result.id == TASK_ID


@RULES.row("2-callback")
def a_refused_request_says_that_the_reserved_address_may_be_why() -> None:
    error = refused("bad_request")

    assert type(error) is InvalidRequestError
    assert "set callback_url" in error.retry_advice
    assert RESERVED in error.retry_advice


@RULES.row("2-callback")
def a_refused_request_with_a_callback_url_of_one_s_own_says_nothing_of_it() -> None:
    assert "callback" not in str(refused("bad_request", callback_url="https://me.example"))
    assert "callback" not in str(refused("bad_request", extra={"callback_url": "https://me.example"}))
    assert "callback" not in str(refused("forbidden", status=403))


@RULES.row("2-answered-at-once")
def an_answer_with_pictures_becomes_an_id_that_holds_them() -> None:
    for task_id in ({}, {"task_id": TASK_ID}):
        task = submitted(response({"success": True, "created": 1790000000, "data": [PICTURE], **task_id})).result

        assert task.state is TaskState.SUCCEEDED
        assert task.id.startswith("inline:")
        again = drive(SERVICE.get_task(task.id))
        assert (again.requests, again.result.id) == ([], task.id)
        assert again.result.as_xcom("c")["images"] == task.as_xcom("c")["images"]
        assert (again.result.finished_at, again.result.trace_id) == (NOW, "derived")


@RULES.row("2-answered-at-once")
def pictures_that_cannot_be_asked_for_again_are_an_error_that_says_they_were_billed() -> None:
    error = submitted(response({"task_id": TASK_ID, "data": [{"b64_json": "aGVsbG8="}]})).error

    assert error is not None
    assert (type(error), error.billed, error.retryable) == (ImageTaskError, "yes", False)
    assert "response_format" in error.message


@RULES.row("2-answered-at-once")
def neither_id_nor_pictures_leave_the_outcome_unknown() -> None:
    assert type(submitted(response({"success": True, "data": []})).error) is UnknownOutcomeError


@RULES.row("2-older-times")
def the_duration_has_its_older_name() -> None:
    times = {"created_at": 1790000000.25, "finished_at": 1790000041.75, "duration": 41.5}

    task = drive(SERVICE.get_task(TASK_ID), response(record(**times, response={"data": [PICTURE]}))).result

    assert (task.duration, task.created_at, task.finished_at) == (41.5, 1790000000.25, 1790000041.75)
    assert task.raw_state == "finished"


@RULES.row("2-older-times")
def a_record_that_runs_has_no_duration() -> None:
    task = drive(SERVICE.get_task(TASK_ID), response(record(duration=None, finished_at=None))).result

    assert (task.state, task.raw_state, task.duration) == (TaskState.RUNNING, "created", None)


@RULES.row("2-no-success-key")
def pictures_are_enough_for_a_success() -> None:
    items = [record(id="a", finished_at=5.5, response={"created": 5, "data": [PICTURE]}), record(id="b", response={})]

    tasks = drive(SERVICE.get_tasks(["a", "b"]), response({"items": items, "count": 2})).result

    assert [task.state for task in tasks.values()] == [TaskState.SUCCEEDED, TaskState.RUNNING]


@RULES.row("2-not-found")
def an_empty_object_is_not_found() -> None:
    task = drive(SERVICE.get_task(TASK_ID), response({})).result

    assert (task.id, task.service, task.state) == (TASK_ID, "xhuoapi", TaskState.NOT_FOUND)


@RULES.row("2-used-up")
def an_empty_balance_is_not_a_matter_of_content() -> None:
    assert type(refused("used_up", status=403)) is QuotaExceededError
    assert type(refused("forbidden", status=403)) is ContentPolicyError
    assert refused("used_up", status=403).billed == "no"
