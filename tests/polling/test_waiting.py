"""When a wait is over, what it came to, and what is logged of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    DownloadError,
    ImageTaskError,
    ImageTaskFailedError,
    ImageTaskNotFoundError,
    ImageTaskTimeoutError,
    RateLimitError,
    ResultExpiredError,
    UnsafeResultError,
)
from airflow_provider_imagetasks.polling.waiting import WaitLog, Watch, combine, failure, wait
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from tests.flow_driver import NOW, DrivenFlow, drive, response
from tests.polling.conftest import ScriptedService, down

ANSWER = response({})


def task(state: str, image_task_id: str = "task-1", **fields: Any) -> ImageTask:
    return ImageTask(id=image_task_id, service="acedatacloud", state=TaskState(state), **fields)


def watch(
    *, deadline: float = 3600, asked: float = 0, interval: float = 10, ids: tuple[str, ...] = ("task-1",)
) -> Watch:
    return Watch(
        image_task_ids=ids, trace_id=None, asked_at=NOW + asked, deadline=NOW + deadline, poll_interval=interval
    )


def waited(*readings: str | ImageTaskError, first_pause: float = 20, **fields: Any) -> DrivenFlow:
    flow = wait(watch(**fields), ScriptedService(50, *readings), Pace(None), first_pause=first_pause)
    return drive(flow, *[ANSWER] * len(readings))


def limited(retry_after: float | None = None) -> ImageTaskError:
    return RateLimitError("slowly", retry_after=retry_after)


@pytest.mark.parametrize(
    ("readings", "fields", "result", "pauses"),
    [
        (["succeeded"], {}, "done", [20]),
        (["failed"], {"first_pause": 30}, "done", [30]),
        ([ImageTaskFailedError("no luck")], {}, "error", [20]),
        ([], {"deadline": -1}, "deadline", []),
        ([], {"deadline": 5, "first_pause": 60}, "deadline", [5]),
        ([limited(9000)], {"deadline": 100}, "deadline", [20, 80]),
        ([limited(1), "succeeded"], {}, "done", [20, 1]),
        (["not_found"] * 3, {"asked": -100, "interval": 0}, "done", [20]),
    ],
    ids=[
        "the first question comes after the first pause",
        "a failure is an end too",
        "an error that no retry mends",
        "a deadline that has passed",
        "a deadline before the first question",
        "a deadline before a rate limit is over",
        "a rate limit is over when the service says so",
        "the minute for what is not found counts from the submission",
    ],
)
def test_a_wait_ends_as_soon_as_there_is_a_reason(
    readings: list[Any], fields: dict[str, float], result: str, pauses: list[float]
) -> None:
    driven = waited(*readings, **fields)

    assert (driven.result, driven.pauses) == (result, pauses)


def test_every_branch_pauses_a_jittered_interval() -> None:
    driven = waited("running", down(), "not_found", "succeeded")

    assert (driven.result, len(driven.pauses)) == ("done", 4)
    assert all(8 <= seconds <= 10 for seconds in driven.pauses[1:])


def test_a_wait_ends_at_its_deadline_without_a_last_question() -> None:
    driven = waited("running", "running", deadline=25, first_pause=10)

    assert (driven.result, sum(driven.pauses), len(driven.pauses)) == ("deadline", pytest.approx(25), 3)


@pytest.mark.parametrize(
    ("states", "over"), [(["succeeded", "running"], False), (["succeeded"], False), (["succeeded", "failed"], True)]
)
def test_a_wait_for_several_ends_with_the_last_of_them(states: list[str], over: bool) -> None:
    assert watch(ids=("a", "b")).is_over([task(state) for state in states], NOW) is over


@pytest.mark.parametrize(("age", "over"), [(0, False), (59.9, False), (60, True), (600, True)])
def test_not_found_is_not_yet_for_sixty_seconds(age: float, over: bool) -> None:
    assert watch().is_over([task("not_found")], NOW + age) is over


def test_that_there_is_none_is_believed_when_it_is_said_again_and_never_once_its_record_was_read() -> None:
    assert waited("not_found", "not_found", "succeeded", asked=-100).result == "done"
    assert waited("running", *["not_found"] * 9, "succeeded", asked=-100).result == "done"


def why(found: ImageTask) -> ImageTaskError | None:
    return failure(found, service=AceDataCloud(), conn_id="mine")


def test_success_is_no_failure_and_the_service_s_own_error_is_one() -> None:
    refused = ContentPolicyError("no kites")

    assert why(task("succeeded")) is None
    assert why(task("failed", error=refused)) is refused


def test_what_is_not_found_asks_for_connection_and_age() -> None:
    error = why(task("not_found", trace_id="t-1"))

    assert type(error) is ImageTaskNotFoundError
    assert "'mine'" in error.message
    assert "older than the service keeps" in error.message
    assert (error.image_task_id, error.trace_id, error.service) == ("task-1", "t-1", "acedatacloud")


def test_what_still_runs_may_still_be_billed() -> None:
    error = why(task("running", raw_state="mixing-the-paint"))

    assert type(error) is ImageTaskTimeoutError
    assert "mixing-the-paint" in error.message
    assert "billed" in error.message
    assert (error.billed, error.retryable) == ("unknown", False)


def combined(*failures: ImageTaskError, total: int = 5, retryable: bool = False) -> ImageTaskError:
    return combine(failures, total, rest="the others are in XCom 'image_tasks'", retryable=retryable)


def test_one_failure_of_one_is_itself() -> None:
    error = ContentPolicyError("no kites")

    assert combined(error, total=1) is error


def test_failures_of_the_same_kind_keep_their_class_and_cost() -> None:
    error = combined(*(ContentPolicyError("no kites.", image_task_id=name, service="local") for name in ("a", "b")))

    assert type(error) is ContentPolicyError
    assert "2 of 5" in error.message
    assert "a: no kites; b: no kites" in error.message
    assert "the others are in XCom 'image_tasks'" in error.message
    assert (error.billed, error.retryable, error.service) == ("no", False, "local")


def test_failures_of_different_kinds_are_a_failure_of_unknown_cost() -> None:
    error = combined(ContentPolicyError("no kites"), ImageTaskTimeoutError("too late"), limited())

    assert (type(error), error.billed, error.retryable) == (ImageTaskFailedError, "unknown", False)


@pytest.mark.parametrize("others", [[UnsafeResultError("refused")], [ResultExpiredError("403")]])
def test_downloads_that_failed_in_different_ways_are_a_download_that_a_retry_may_mend(
    others: list[ImageTaskError],
) -> None:
    for failures in ([DownloadError("cut off"), *others], [*others, DownloadError("cut off")]):
        error = combined(*failures)
        assert (type(error), error.billed, error.retryable) == (DownloadError, "yes", True)
        assert error.retry_advice == DownloadError.default_advice


def test_pictures_that_none_may_store_are_not_fetched_again() -> None:
    refused = [UnsafeResultError("refused"), DownloadError("full", retryable=False, retry_advice="Make room.")]

    assert (type(combined(*refused)), combined(*refused).retryable) == (DownloadError, False)
    assert (type(combined(*refused[:1] * 2)), combined(*refused[:1] * 2).retryable) == (UnsafeResultError, False)


def test_where_all_failed_there_are_no_others() -> None:
    error = combined(*[ContentPolicyError("no kites", image_task_id=name) for name in "ab"], total=2)

    assert error.message == "2 of 2 failed. a: no kites; b: no kites"


@pytest.mark.parametrize("retryable", [True, False])
def test_the_advice_is_that_of_a_failure_which_fits(retryable: bool) -> None:
    failures = [ContentPolicyError("no", retry_advice="Other words."), RateLimitError("no", retry_advice="Try again.")]

    error = combined(*failures, retryable=retryable)

    assert error.retryable is retryable
    assert error.retry_advice == ("Try again." if retryable else "Other words.")


def test_only_ten_failures_are_named() -> None:
    failures = [ImageTaskFailedError("no luck", image_task_id=f"task-{number}") for number in range(25)]
    error = combined(*failures, total=30)

    assert "task-9:" in error.message
    assert "task-10:" not in error.message
    assert "and 15 more" in error.message


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def test_only_news_are_logged(said: pytest.LogCaptureFixture) -> None:
    log = WaitLog()
    for state in ("running", "running", "running", "succeeded"):
        log.read([task(state)])

    assert said.messages == ["Image task task-1: running", "Image task task-1: succeeded"]


def test_the_service_s_own_word_is_shown_where_it_says_more(said: pytest.LogCaptureFixture) -> None:
    WaitLog().read([task("running", "a", raw_state="mixing-the-paint"), task("running", "b", raw_state="running")])

    assert said.messages == ["Image task a: running (the service says: mixing-the-paint)", "Image task b: running"]


def test_many_are_counted(said: pytest.LogCaptureFixture) -> None:
    WaitLog().read([task("running" if number else "succeeded", str(number)) for number in range(40)])

    assert said.messages == ["Of 40 image tasks: 1 succeeded, 39 running"]


def test_failed_questions_are_one_warning_for_each_reason(said: pytest.LogCaptureFixture) -> None:
    log = WaitLog()
    for error in (down(), down(), down(), ImageTaskError("another reason")):
        log.failed(error)

    assert [record.levelname for record in said.records] == ["WARNING", "WARNING"]
    assert "no luck" in said.messages[0]
    assert "another reason" in said.messages[1]
