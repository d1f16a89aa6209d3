from __future__ import annotations

import inspect
import re
import time

import pytest

from airflow_provider_imagetasks import exceptions

ERRORS = [
    error_class
    for _, error_class in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(error_class, exceptions.ImageTaskError)
]
BILLED_AND_RETRYABLE = {
    ("no", False): {"AuthenticationError", "QuotaExceededError", "InvalidRequestError", "ContentPolicyError"},
    ("no", True): {"RateLimitError"},
    ("yes", False): {"UnsafeResultError"},
    ("yes", True): {"DownloadError", "ResultExpiredError"},
    ("unknown", True): {"ServiceUnavailableError", "ProtocolError"},
    ("unknown", False): {
        *("ImageTaskError", "UnknownOutcomeError", "ImageTaskFailedError"),
        *("ImageTaskNotFoundError", "ImageTaskTimeoutError"),
    },
}


def test_the_classes_that_users_match_on_stay_what_they_are() -> None:
    facts: dict[tuple[str, bool], set[str]] = {}
    for error_class in ERRORS:
        error = error_class("x")
        facts.setdefault((error.billed, error.retryable), set()).add(error_class.__name__)

    assert facts == BILLED_AND_RETRYABLE


@pytest.mark.parametrize("error_class", ERRORS)
def test_every_error_says_what_happened_what_it_cost_and_what_to_do(error_class) -> None:
    error = error_class("The kite fell", image_task_id="task-1", trace_id="t-1", service="local", code="wind")

    text = str(error)
    assert text.startswith("The kite fell. [image task task-1, service local, code wind, trace id t-1] ")
    assert "billed" in text
    assert text.endswith(error.retry_advice)
    assert error.retry_advice
    assert error.retryable or not error.retry_advice.startswith(("A retry asks", "A retry reads", "A retry looks"))


@pytest.mark.parametrize("error_class", ERRORS)
def test_a_retry_is_promised_only_where_there_is_one(error_class) -> None:
    for retryable in (True, False):
        error = error_class("The kite fell", retryable=retryable)
        later = error_class("The kite fell")
        later.retryable = retryable

        assert error.retry_advice == later.retry_advice
        assert error.retry_advice.startswith("A retry") or not retryable
        assert retryable or not re.match("A retry (asks|reads|looks|tries)", error.retry_advice)
    assert error_class("x", retryable=False, retry_advice="Look first.").retry_advice == "Look first."


def test_what_is_known_better_replaces_the_defaults() -> None:
    error = exceptions.UnknownOutcomeError("x", billed="yes", retryable=True, retry_advice="Look first.")

    assert (error.billed, error.retryable) == ("yes", True)
    assert str(error) == "x. It was billed. Look first."


@pytest.mark.parametrize("message", ["Why?", "Stop!", "Done."])
def test_a_message_that_ends_with_a_mark_gets_no_second_one(message: str) -> None:
    assert str(exceptions.AuthenticationError(message)).startswith(f"{message} It was not billed.")


def test_a_rate_limit_knows_how_long_to_wait() -> None:
    error = exceptions.RateLimitError("slowly", retry_after=7.0, service="local")

    assert (error.retry_after, error.service) == (7.0, "local")
    assert exceptions.RateLimitError("slowly").retry_after is None


def test_an_error_can_be_pushed_as_xcom() -> None:
    assert exceptions.InvalidRequestError("prompt is empty", code="bad_request").as_xcom() == {
        "class": "InvalidRequestError",
        "code": "bad_request",
        "message": "prompt is empty",
        "billed": "no",
    }


def test_a_derived_class_is_called_by_the_name_that_users_know() -> None:
    class AirflowsError(exceptions.UnsafeResultError):
        pass

    assert exceptions.public_class_name(AirflowsError) == "UnsafeResultError"
    assert AirflowsError("x").as_xcom()["class"] == "UnsafeResultError"
    assert exceptions.public_class_name(ValueError) == "ValueError"


def test_an_unsafe_result_is_caught_with_the_downloads() -> None:
    assert issubclass(exceptions.UnsafeResultError, exceptions.DownloadError)


SHOWN = {
    "https://x.example/a.png?sig=secret#part": "https://x.example/a.png?***",
    "see 'https://me:secret@x.example/a', then": "see 'https://***@x.example/a', then",
    "s3://AKID:se/cr/et+@bucket/a": "s3://***@bucket/a",
    "http://127.0.0.1:8750/a@2x.png is gone": "http://127.0.0.1:8750/a@2x.png is gone",
    "http://[::1]:8750/a@2x.png": "http://[::1]:8750/a@2x.png",
    "http:\\/\\/me:secret@x.example\\/a?b": "http:\\/\\/***@x.example\\/a?***",
    "a=1;Signature=secret&b=2": "a=1;Signature=***&b=2",
    "X-Amz-Signature=secret my_password=secret & client_secret=secret": (
        "X-Amz-Signature=*** my_password=*** & client_secret=***"
    ),
    "s3://my_conn.2-x@bucket/a is not there": "s3://my_conn.2-x@bucket/a is not there",
    "'gs://google_cloud_default@my-bucket' and abfs://azure@container/a?sig=x": (
        "'gs://google_cloud_default@my-bucket' and abfs://azure@container/a?***"
    ),
    "s3://conn@bucket/a@2x.png": "s3://conn@bucket/a@2x.png",
    "s3://AKIAIOSFODNN7EXAMPLE@bucket/a": "s3://***@bucket/a",
    "s3://me:secret@bucket/a": "s3://***@bucket/a",
    "s3://me%3Asecret@bucket/a": "s3://***@bucket/a",
    "s3://me@secret@bucket/a": "s3://***@bucket/a",
    "https://token@x.example/a": "https://***@x.example/a",
    "xs3://token@x.example/a": "xs3://***@x.example/a",
    "redis://token@x.example/0": "redis://***@x.example/0",
    "file:///nowhere/a::s3://AKID:se/cret@bucket/a": "file:///nowhere/a::s3://***@bucket/a",
    "monkey=1, keys=2, conn_id='a', size=3": "monkey=1, keys=2, conn_id='a', size=3",
    "called back at /imagetasks/callback/eyJhIjoxfQ.c2ln": "called back at /imagetasks/callback/***",
    "write it like s3://bucket/pictures/ or file:///data": "write it like s3://bucket/pictures/ or file:///data",
}


@pytest.mark.parametrize(("told", "shown"), SHOWN.items())
def test_a_message_shows_nothing_of_an_address_that_lets_somebody_in(told: str, shown: str) -> None:
    error = exceptions.UnknownOutcomeError(told)
    later = exceptions.DownloadError("x")
    later.message = told

    assert error.message == later.message == error.as_xcom()["message"] == shown
    assert shown in str(error)
    assert error.args == later.args == (shown,)


@pytest.mark.parametrize("part", ["a-", "//", "/x?", "?a", "%2f%2f", "key=", "eyJ/", "@", "//a:", "token"])
def test_however_long_a_message_is_it_takes_no_long_time_to_be_read(part: str) -> None:
    hostile = part * (200_000 // len(part))
    began = time.process_time()

    exceptions.without_signatures(hostile)

    # Where the time grew with the square of the length, it would be minutes.
    assert time.process_time() - began < 5
