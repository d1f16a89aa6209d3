"""When a request is made again, what a submission's answer decides, and that a failed read says nothing of money."""

from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import exchange, get_service
from airflow_provider_imagetasks.services.inline_ids import task_from_inline_id
from airflow_provider_imagetasks.services.wire import Flow, Request, Response, ask
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from tests.flow_driver import NOW, DrivenFlow, drive, no_response, response, tool_answer
from tests.services.wire_examples import REQUEST, TASK_ID

ACEDATACLOUD = get_service("acedatacloud")
ACCEPTED, RECORD = response({"task_id": TASK_ID}), response({"id": TASK_ID})
UNREACHED, CUT = no_response(may_have_left=False), no_response(may_have_left=True)
NO_CREDITS = response({"code": 402, "msg": "no credits", "data": None})
BROKEN = response({"error": {"code": "api_error", "message": "no luck"}}, status=500)


def limited(retry_after: Any) -> Response:
    return response({"error": {"code": "too_many_requests"}}, status=429, headers={"retry-after": str(retry_after)})


def submitted(interpret: Any, *answers: Response, repeatable: bool = False) -> DrivenFlow:
    """Submit with this reading of the answers."""
    request = Request(method="POST", path="/jobs")
    flow = exchange.submit(request, interpret, service="easel", repeatable=repeatable, how_to_look="Look there.")
    return drive(flow, *answers)


def task(image_task_id: str, state: TaskState = TaskState.RUNNING) -> ImageTask:
    return ImageTask(id=image_task_id, service="easel", state=state)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 2.5 ", 2.5),
        ("-3", 0),
        *(
            (formatdate(NOW + ahead, usegmt=gmt), max(0, ahead))
            for ahead, gmt in ((90, True), (90, False), (-90, True))
        ),
        *((word, None) for word in ("", "soon", "nan", "inf", "1e999")),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", None),
    ],
)
def test_retry_after_comes_in_seconds_or_as_a_date(value: str, seconds: float | None) -> None:
    assert exchange.retry_after(limited(value)) == seconds
    assert exchange.retry_after(BROKEN) is None


@pytest.mark.parametrize(
    ("failing", "least"),
    [
        *((failing, (1, 2, 4, 8)) for failing in (BROKEN, CUT, UNREACHED, response(b"<html>", status=502))),
        (limited(3), (3, 3, 3, 3)),
    ],
)
def test_reading_is_repeated_and_given_up_after_five_times_with_growing_pauses(failing, least) -> None:
    driven = drive(ACEDATACLOUD.get_task(TASK_ID), *[failing] * 4, RECORD)
    given_up = drive(ACEDATACLOUD.get_task(TASK_ID), *[failing] * 5)

    assert driven.result.id == TASK_ID
    assert type(given_up.error) is (RateLimitError if least[0] == 3 else ServiceUnavailableError)
    assert given_up.error.retryable is True
    for pauses in (driven.pauses, given_up.pauses):
        assert all(low <= pause <= low + 1 for pause, low in zip(pauses, least, strict=True))
    # Many tasks that ask in the same moment must not do so again.
    assert driven.pauses != given_up.pauses


@pytest.mark.parametrize("seconds", [0, 1, 30, 60])
def test_the_pause_is_at_least_what_the_service_asks_for(seconds: int) -> None:
    driven = drive(ACEDATACLOUD.submit(REQUEST), limited(seconds), ACCEPTED)

    assert driven.result.id == TASK_ID
    assert seconds <= driven.pauses[0] <= seconds + 1


def test_a_pause_that_is_too_long_is_not_waited_for() -> None:
    for flow in (ACEDATACLOUD.submit(REQUEST), ACEDATACLOUD.get_task(TASK_ID)):
        driven = drive(flow, limited(61))
        assert type(driven.error) is RateLimitError
        assert (driven.error.retry_after, driven.pauses) == (61, [])


@pytest.mark.parametrize("pause", ["999999999", "1e300", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_pause_beyond_sense_is_taken_for_an_hour(pause: str) -> None:
    for flow in (ACEDATACLOUD.submit(REQUEST), ACEDATACLOUD.get_task(TASK_ID), get_service("kie").get_task(TASK_ID)):
        assert drive(flow, limited(pause)).error.retry_after == 3_600


def test_a_submission_is_repeated_while_it_did_not_leave_and_never_left_without_being_billed() -> None:
    driven = drive(ACEDATACLOUD.submit(REQUEST), UNREACHED, limited(1), UNREACHED, ACCEPTED)
    error = drive(ACEDATACLOUD.submit(REQUEST), *[UNREACHED] * 5).error

    assert driven.result.id == TASK_ID
    assert type(error) is ServiceUnavailableError
    assert (error.billed, error.retryable) == ("no", True)


@pytest.mark.parametrize(
    "unclear",
    [
        *(CUT, BROKEN, response(b"", status=502), response(b"<html>try later</html>", status=504)),
        *(response(b"", status=408), response({"error": {"message": "too slow"}}, status=408)),
        *(response(b"<html>welcome</html>"), response({"task_id": None})),
    ],
    ids=["cut", "500", "empty 502", "a proxy's 504", "empty 408", "explained 408", "a page", "no id"],
)
def test_a_submission_is_never_repeated_blindly(unclear: Any) -> None:
    error = drive(ACEDATACLOUD.submit(REQUEST, key="derived"), unclear).error

    assert type(error) is UnknownOutcomeError
    assert (error.billed, error.retryable, error.trace_id) == ("unknown", False, "derived")
    assert "2026-09-21 14:13:20 UTC" in error.message
    assert "https://platform.acedata.cloud" in error.message
    assert "Clear submits again" in str(error)


STAYS_UNCLEAR: dict[str, tuple[str, str | None, list[Any]]] = {
    "after repetitions": ("acedatacloud", None, [limited(1), UNREACHED, CUT]),
    "without a key": ("aigptimage", None, [CUT]),
    "a timeout inside": ("aigptimage", None, [response({"code": 408, "msg": "too slow"})]),
    "repetitions that do not leave": ("aigptimage", "derived", [CUT, *[UNREACHED] * 4]),
    "repetitions too fast": ("aigptimage", "derived", [CUT, *[limited(1)] * 4]),
    "a refused repetition": ("aigptimage", "derived", [CUT, NO_CREDITS]),
}


@pytest.mark.parametrize(("service", "key", "answers"), STAYS_UNCLEAR.values(), ids=STAYS_UNCLEAR)
def test_an_unclear_submission_stays_so_whatever_came_before_and_after(service, key, answers) -> None:
    error = drive(get_service(service).submit(REQUEST, key=key), *answers).error

    assert type(error) is UnknownOutcomeError
    assert error.billed == "unknown"
    if answers[-1] is NO_CREDITS:
        assert type(error.__cause__) is QuotaExceededError


@pytest.mark.parametrize("named", [task(""), task("", TaskState.NOT_FOUND), task("7", TaskState.NOT_FOUND)])
def test_an_answer_that_names_no_image_task_leaves_the_outcome_unknown(named: ImageTask) -> None:
    error = submitted(lambda _answer: named, response({"status": "odd"})).error

    assert type(error) is UnknownOutcomeError
    assert (error.billed, error.retryable) == ("unknown", False)
    assert "names no image task" in error.message
    assert '{"status": "odd"}' in error.message


def test_a_surprise_in_the_answer_leaves_the_outcome_unknown_and_is_its_cause() -> None:
    def interpret(answer: Response) -> ImageTask:
        return task(answer.json()["id"])

    error = submitted(interpret, response({"status": "odd"})).error
    repeated = submitted(interpret, response({}), response({"id": "7"}), repeatable=True)

    assert type(error) is UnknownOutcomeError
    assert isinstance(error.__cause__, KeyError)
    assert "KeyError: 'id'" in error.message
    assert (repeated.result.id, len(repeated.requests)) == ("7", 2)


def test_a_definite_refusal_stays_one() -> None:
    def refuse(_answer: Response) -> ImageTask:
        raise ProtocolError("no", billed="no", retryable=False)

    error = submitted(refuse, response({})).error

    assert type(error) is ProtocolError
    assert error.billed == "no"


HTTP_SERVICES = ("acedatacloud", "xhuoapi", "aigptimage", "kie", "local")
TOOL_SERVERS = ("acedatacloud_mcp", "gpt_image_mcp")
PAGE = b"<html>nothing for you</html>"


def reported(status: int, code: Any) -> Response:
    """Return an error in the words of both families at once: each reads its own."""
    return response({"error": {"code": code, "message": "no"}, "code": status, "msg": "no"}, status=status)


PAGES = (404, 400, 413, 403)
NO_ANSWER = {f"no answer, may have left: {left}": no_response(may_have_left=left) for left in (False, True)}
OVER_HTTP = {
    **{f"a {status} page": response(PAGE, status=status) for status in (*PAGES, 429)},
    "a redirect": response(b"", status=302, headers={"location": "https://login.example"}),
    "an empty balance": reported(403, "used_up"),
    "a refused key": reported(401, "invalid_token"),
    "a bad request": reported(400, "bad_request"),
    "an unknown code": reported(418, "teapot"),
    **NO_ANSWER,
}
OVER_MCP = {
    **{f"a {status} page": replace(tool_answer(PAGE.decode()), status=status, from_tool=False) for status in PAGES},
    "wrong arguments": tool_answer("no such argument", code=-32602),
    "a marked error": tool_answer("Input validation error: 'x' is not of type 'string'", is_error=True),
    "an empty balance": tool_answer({"error": "Authentication Error", "message": "used up"}),
    **NO_ANSWER,
}


def check(error: ImageTaskError | None) -> None:
    assert error is not None
    assert error.billed == "unknown"
    assert "not billed" not in str(error)
    # A Clear of the submission, or of a batch, would pay for the picture again.
    assert "Clear" not in str(error)
    assert "ask" in error.retry_advice


def failed_read(raised: Exception) -> Any:
    """Return what comes of an answer in whose reading this is raised."""

    def stumble(_answer: Response) -> None:
        raise raised

    return drive(exchange.read(Request(method="GET", path="/"), stumble, service="kie"), response({"odd": 1})).error


@pytest.mark.parametrize("name", [*HTTP_SERVICES, *TOOL_SERVERS])
def test_no_answer_to_a_status_request_says_that_the_picture_was_not_billed(name: str) -> None:
    service = get_service(name)

    for said, answer in (OVER_MCP if name in TOOL_SERVERS else OVER_HTTP).items():
        check(drive(service.read_one("paid"), answer).error)
        if service.batch_size > 1:
            check(drive(service.read_batch(["paid", "too"]), answer).error)
        if service.finds_by_trace_id and said in ("an empty balance", "a 404 page"):
            check(drive(service.read_by_trace_id("t"), answer).error)
            check(drive(service.list_tasks(trace_ids=["t"]), answer).error)


ADVICE: dict[type[ImageTaskError], str] = {
    AuthenticationError: "Correct the API key (the connection's password); asking again costs nothing.",
    QuotaExceededError: "Top up the account at the service; asking again costs nothing.",
    InvalidRequestError: "Correct what it names; asking again costs nothing.",
    ServiceUnavailableError: "A retry asks again.",
}


@pytest.mark.parametrize("error_class", ADVICE)
def test_the_advice_after_a_failed_read_is_about_reading(error_class: type[ImageTaskError]) -> None:
    error = failed_read(error_class("no"))

    assert type(error) is error_class
    assert (error.billed, error.retry_advice) == ("unknown", ADVICE[error_class])


def test_a_record_that_says_it_failed_and_was_not_billed_is_a_result() -> None:
    failed = {"id": "paid", "finished_at": 1, "response": {"success": False, "error": {"code": "api_error"}}}

    task = drive(get_service("acedatacloud").read_one("paid"), response(failed)).result

    assert task.error.billed == "no"


def test_an_inline_id_that_cannot_be_read_stands_for_a_picture_that_was_paid_for() -> None:
    for image_task_id in ("inline:broken", "inline:eyJ1cmxzIjpbInUiXSwic2VydmljZSI6ImtpZSJ9"):
        with pytest.raises(InvalidRequestError) as caught:
            task_from_inline_id(image_task_id, "acedatacloud")
        check(caught.value)


def test_a_service_that_cannot_cancel_does_not_say_what_becomes_of_the_bill() -> None:
    error = drive(get_service("kie").cancel("paid")).error

    assert error is not None
    assert (error.billed, "goes on" in error.message) == ("unknown", True)


@pytest.mark.parametrize("surprise", [KeyError, TypeError, ValueError, AttributeError, IndexError])
def test_a_surprise_in_an_answer_is_a_protocol_error_with_its_cause(surprise: type[Exception]) -> None:
    error = failed_read(surprise("id"))

    assert type(error) is ProtocolError
    assert isinstance(error.__cause__, surprise)
    assert (error.service, error.retryable) == ("kie", True)
    assert surprise.__name__ in error.message
    assert '{"odd": 1}' in error.message


def breaking(*, after: int) -> Flow[ImageTask]:
    for _ in range(after):
        yield from ask(Request(method="POST", path="/images"))
    return {}["id"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("after", "error_class", "billed"), [(0, ProtocolError, "no"), (1, UnknownOutcomeError, "unknown")]
)
def test_a_submission_that_breaks_may_be_paid_for_once_it_has_left(after: int, error_class: Any, billed: str) -> None:
    driven = drive(
        exchange.typed_submission(breaking(after=after), service="easel", how_to_look="Look."), otherwise=response({})
    )

    assert (type(driven.error), driven.error.billed, driven.error.service) == (error_class, billed, "easel")
    assert "KeyError: 'id'" in str(driven.error)
    assert isinstance(driven.error.__cause__, KeyError)


@pytest.mark.parametrize("after", [0, 1])
def test_a_question_that_breaks_says_nothing_of_money(after: int) -> None:
    driven = drive(exchange.typed(breaking(after=after), service="easel"), otherwise=response({}))

    assert (type(driven.error), driven.error.billed, driven.error.retryable) == (ProtocolError, "unknown", True)
