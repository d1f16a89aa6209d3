"""Answers about provider batches that are odd: no row is lost, none is paid twice, and each error has its class."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError, UnknownOutcomeError
from tests.provider_batch import ProviderBatch
from tests.scripted_batches import RED, Line, ScriptedBatches, made, result, text
from tests.scripted_server import CutAfterReading, ReceivedRequest, Reply, Step

pytestmark = pytest.mark.parametrize("service_name", ["openai"], indirect=True)
PROMPTS = ["a boat", "a kite", "a tree"]


def kite(write: Callable[[Line], bytes]) -> Callable[[list[Line]], bytes]:
    """Return results in which the row of the kite has the lines that ``write`` makes, and all others their pictures."""
    return lambda lines: b"".join(
        write(line) if line["body"]["prompt"] == "a kite" else text([made(line)]) for line in lines
    )


def said(line: Line, response: Any, error: Any = None) -> bytes:
    return text([result(line["custom_id"], response, error)])


PICTURE = {"data": [{"b64_json": RED}]}
REFUSED = {"error": {"code": "moderation_blocked", "message": "no"}}
DELIVERED: dict[str, Callable[[Line], bytes]] = {
    "its fields in another order": lambda line: (
        json.dumps({"response": made(line)["response"], "pad": "x" * 9_000, "custom_id": line["custom_id"]}).encode()
        + b"\n"
    ),
    "the name of another row deep within it": lambda line: (
        json.dumps(
            {"note": {"custom_id": line["custom_id"][:-1] + "0"}, **made(line), "id": "a later field of the line"}
        ).encode()
        + b"\n"
    ),
    "behind a byte order mark": lambda line: b"\xef\xbb\xbf" + text([made(line)]),
    "behind lines that are none": lambda line: b'\n{"custom_id": 7}\n[1]\nnull\n\xff\xfe\n' + text([made(line)]),
    "after a damaged line of it": lambda line: text([made(line)])[:200] + b"\n" + text([made(line)]),
    "before an error of it": lambda line: text([made(line)]) + said(line, {"status_code": 500, "body": {}}),
    "after an error of it": lambda line: said(line, {"status_code": 500, "body": {}}) + text([made(line)]),
    "with an error beside it": lambda line: said(line, made(line)["response"], {"code": "x", "message": "y"}),
    "with an error in its body": lambda line: said(line, {"status_code": 200, "body": {**REFUSED, **PICTURE}}),
    "with the status of an error": lambda line: said(line, {"status_code": 500, "body": PICTURE}),
    "without a status": lambda line: said(line, {"body": PICTURE}),
    "in one line with another result of something else": lambda line: (
        said({**line, "custom_id": "else"}, {"body": PICTURE})[:-1] + text([made(line)])
    ),
    "in one line with what is none": lambda line: text([made(line)])[:-1] + b' {"custom_id": "x", "resp\n',
    "with odd accounts": lambda line: said(line, {"status_code": 200, "body": {**PICTURE, "usage": ["\0", 1e308]}}),
}


@pytest.mark.parametrize("write", DELIVERED.values(), ids=DELIVERED)
def test_a_picture_that_is_there_is_delivered_to_its_row(
    provider_batch: ProviderBatch, service: ScriptedBatches, write: Callable[[Line], bytes]
) -> None:
    service.results = kite(write)

    outcome = provider_batch.start(*PROMPTS)

    assert outcome.state == "success", outcome.error
    assert provider_batch.pictures == 3
    assert service.prompts == PROMPTS


def test_results_that_are_packed_for_the_way_are_read(provider_batch: ProviderBatch, service: ScriptedBatches) -> None:
    def packed(request: ReceivedRequest) -> Step | None:
        if not request.path.endswith("/content"):
            return None
        usual = service.usual(request)
        assert isinstance(usual, Reply)
        return Reply(gzip.compress(usual.content), headers={"Content-Encoding": "gzip"})

    service.answer = packed

    assert provider_batch.start(*PROMPTS).state == "success"
    assert provider_batch.pictures == 3


ODD_LISTS: dict[str, Any] = {
    "entries that are none": {"data": [None, 7, "x", {}, {"id": "batch_x"}], "has_more": False},
    "names that are none": {"data": [{"id": "../files", "status": "completed", "metadata": {"imagetasks_key": "k"}}]},
    "a further page that it does not name": {"data": [], "has_more": True},
    "the same page again and again": {"data": [{"id": "batch_x", "status": "completed"}], "has_more": True},
}


@pytest.mark.parametrize("listed", ODD_LISTS.values(), ids=ODD_LISTS)
def test_an_odd_list_of_batches_proves_nothing_so_that_nothing_is_made_again(
    provider_batch: ProviderBatch, service: ScriptedBatches, listed: Any
) -> None:
    def answer(request: ReceivedRequest) -> Step | None:
        if request.path.endswith("/batches") and request.method == "POST" and not service.created:
            service.usual(request)
            return CutAfterReading()
        return Reply(listed) if request.path.endswith("/batches") and request.method == "GET" else None

    service.answer = answer

    assert isinstance(provider_batch.start(*PROMPTS).error, UnknownOutcomeError)
    assert len(service.created) == 1
    service.answer = lambda _request: None
    assert provider_batch.start(*PROMPTS, try_number=2, max_tries=3).state == "success"
    # The Clear has found it.
    assert len(service.created) == 1


@pytest.mark.parametrize("name", ["../batches", "a/b", "x?y=1", "é", "a b", "a\r\nX: y", "..", "f" * 10_000])
def test_names_of_files_that_are_none_become_no_part_of_an_address(
    provider_batch: ProviderBatch, service: ScriptedBatches, name: str
) -> None:
    service.record = lambda _lines: {"output_file_id": name}

    outcome = provider_batch.start(*PROMPTS)

    assert isinstance(outcome.error, ImageTaskError)
    assert provider_batch.errors == [("DownloadError", "unknown")] * 3
    assert "names no file" in provider_batch.rows[0]["error"]["message"]
    assert not [request.path for request in service.server.requests if request.path.endswith("/content")]
    # What is named later is read, and nothing made again.
    service.record = lambda _lines: {}
    assert provider_batch.start(*PROMPTS, try_number=2).state == "success"
    assert service.prompts == PROMPTS


def test_a_lost_file_of_errors_costs_no_picture_and_a_clear_has_those_made_that_have_none(
    provider_batch: ProviderBatch, service: ScriptedBatches
) -> None:
    service.results = kite(lambda _line: b"")
    counts = {"total": 3, "completed": 2, "failed": 1}
    service.record = lambda _lines: {"error_file_id": "err-gone", "request_counts": counts}

    provider_batch.start(*PROMPTS)
    assert provider_batch.errors == [None, ("ImageTaskFailedError", "unknown"), None]
    provider_batch.start(*PROMPTS, try_number=2)
    assert service.prompts == PROMPTS

    made_again = {"request_counts": {"total": 1, "completed": 1, "failed": 0}}
    service.results = lambda lines: kite(lambda line: text([made(line)]) if len(lines) == 1 else b"")(lines)
    whole = service.record
    service.record = lambda lines: made_again if len(lines) == 1 else whole(lines)
    assert provider_batch.start(*PROMPTS, try_number=3, max_tries=4).state == "success"
    assert service.prompts == sorted([*PROMPTS, "a kite"])


def test_a_batch_that_fails_after_it_made_pictures_delivers_them_and_has_the_rest_made(
    provider_batch: ProviderBatch, service: ScriptedBatches
) -> None:
    service.results = lambda lines: kite(lambda line: text([made(line)]) if len(lines) == 1 else b"")(lines)
    failed = {"status": "failed", "request_counts": {"total": 3, "completed": 2, "failed": 1}, "errors": {"data": []}}
    service.record = lambda lines: failed if len(lines) > 1 else {}

    assert provider_batch.start(*PROMPTS).state == "success"
    assert service.prompts == sorted([*PROMPTS, "a kite"])


NO_COUNTS: dict[str, Any] = {
    "none": None,
    "fewer than none": {"completed": -1},
    "more than there can be": {"completed": 10**12},
    "fewer than its results hold": {"completed": 1},
    "no numbers": {"completed": "x"},
    "no object": [2],
}


@pytest.mark.parametrize("counts", NO_COUNTS.values(), ids=NO_COUNTS)
def test_where_an_expired_batch_does_not_say_how_much_it_made_nothing_is_made_again_until_somebody_clears(
    provider_batch: ProviderBatch, service: ScriptedBatches, counts: Any
) -> None:
    service.results = kite(lambda _line: b"")
    service.record = lambda _lines: {"status": "expired", "request_counts": counts}

    provider_batch.start(*PROMPTS)

    assert provider_batch.errors == [None, ("ImageTaskFailedError", "unknown"), None]
    assert service.prompts == PROMPTS


def test_of_thousands_of_reasons_for_a_refusal_a_row_is_told_its_own(
    provider_batch: ProviderBatch, service: ScriptedBatches
) -> None:
    reasons = [{"code": "invalid_value", "line": 2, "message": f"bad size {number}"} for number in range(3_000)]
    refused = {"status": "failed", "output_file_id": None, "errors": {"data": reasons}, "request_counts": {}}
    service.record = lambda lines: refused if len(lines) == 3 else {}

    provider_batch.start(*PROMPTS, max_failed=1)

    assert provider_batch.errors == [None, ("InvalidRequestError", "no"), None]
    assert "bad size 0" in provider_batch.rows[1]["error"]["message"]


LATE = {"code": "batch_expired", "message": "late"}
FAILED: dict[str, tuple[Any, Any, tuple[str, str], str]] = {
    "an error with a status": (
        {"status_code": 400, "body": REFUSED},
        None,
        ("ContentPolicyError", "no"),
        "HTTP 400: no",
    ),
    "an error without a status": ({"body": REFUSED}, None, ("ContentPolicyError", "no"), "did not make it: no"),
    "an error that is a text": (None, "broke", ("ServiceUnavailableError", "no"), "did not make it: broke"),
    "an error in what is no error": ({"status_code": 200, "body": REFUSED}, None, ("ContentPolicyError", "no"), "no"),
    "a text in what is no error": (
        {"status_code": 200, "body": {"error": "it broke"}},
        None,
        ("ServiceUnavailableError", "no"),
        "it broke",
    ),
    "no status and nothing": ({"body": {}}, None, ("ImageTaskFailedError", "unknown"), "without a picture"),
    "a status that is none": ({"status_code": 10**99}, None, ("ImageTaskFailedError", "unknown"), "without a picture"),
    "nothing": (None, None, ("ServiceUnavailableError", "unknown"), "neither a picture nor an error"),
    "an unknown code": (None, {"code": "odd", "message": "y"}, ("InvalidRequestError", "no"), "did not make it: y"),
    "a code alone": (
        None,
        {"code": "server_error"},
        ("ServiceUnavailableError", "no"),
        "did not make it: server_error",
    ),
    "not made in its day": (None, LATE, ("ServiceUnavailableError", "no"), "within the day"),
    "a rate limit": ({"status_code": 429, "body": {}}, None, ("RateLimitError", "no"), "HTTP 429"),
}


@pytest.mark.parametrize(("response", "error", "expected", "words"), FAILED.values(), ids=FAILED)
def test_a_line_without_a_picture_says_why_in_words_of_its_own(
    provider_batch: ProviderBatch,
    service: ScriptedBatches,
    response: Any,
    error: Any,
    expected: tuple[str, str],
    words: str,
) -> None:
    service.results = kite(lambda line: said(line, response, error))

    provider_batch.start(*PROMPTS, max_failed=1, row_attempts=1)

    assert provider_batch.errors == [None, expected, None]
    assert words in provider_batch.rows[1]["error"]["message"]
    assert service.prompts == PROMPTS


def test_of_a_lost_file_of_pictures_the_rows_with_an_error_are_still_told_theirs(
    provider_batch: ProviderBatch, service: ScriptedBatches
) -> None:
    refused = result("", {"status_code": 400, "body": REFUSED})
    service.results = lambda _lines: None
    service.errors = lambda lines: text([{**refused, "custom_id": lines[1]["custom_id"]}])

    provider_batch.start(*PROMPTS)

    lost = ("ResultExpiredError", "yes")
    assert provider_batch.errors == [lost, ("ContentPolicyError", "no"), lost]
    assert service.prompts == PROMPTS
