"""OpenAI's Batch API on the wire: what is sent, and what its answers mean."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    ImageTaskFailedError,
    InvalidRequestError,
    QuotaExceededError,
    RateLimitError,
    ResultExpiredError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services.openai import OpenAIService
from airflow_provider_imagetasks.services.openai_batches import OpenAIBatches
from airflow_provider_imagetasks.services.provider_batches import (
    RequestGroup,
    custom_id,
    place_of,
    placed_id,
    row_in,
)
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest, TaskState
from tests.flow_driver import drive, response

BATCHES = OpenAIBatches()
REQUEST = ImageRequest(prompt="a kite", model="gpt-image-2", options={"size": "1024x1024"})
GROUP = RequestGroup(endpoint="/v1/images/generations", model="gpt-image-2")
PICTURE = base64.b64encode(b"not looked at here " * 200).decode()


def record(**changes: Any) -> dict[str, Any]:
    usual = {"id": "batch_1", "status": "in_progress", "created_at": 1_790_000_000, "metadata": {"imagetasks_key": "k"}}
    return {**usual, **changes}


def line(**changes: Any) -> bytes:
    body = {"created": 1_790_000_000, "data": [{"b64_json": PICTURE}], "usage": {"total_tokens": 7}}
    response = {"status_code": 200, "request_id": "r", "body": body}
    return json.dumps({"id": "x", "custom_id": "row-1", "response": response, "error": None, **changes}).encode()


class TestSent:
    def test_a_line_is_a_request_of_the_images_api(self) -> None:
        sent = json.loads(BATCHES.line_of(REQUEST, "row-1"))

        assert sent == {
            "custom_id": "row-1",
            "method": "POST",
            "url": "/v1/images/generations",
            "body": {"size": "1024x1024", "model": "gpt-image-2", "prompt": "a kite"},
        }

    def test_an_edit_names_its_pictures_or_holds_them(self) -> None:
        file = ImageFile(name="a.png", media_type="image/png", content=b"png")
        edit = ImageRequest(prompt="bluer", model="m", images=[file], mask=file)

        sent = json.loads(BATCHES.line_of(edit, "row-1"))

        told = {"image_url": "data:image/png;base64,cG5n"}
        assert sent["url"] == "/v1/images/edits"
        assert (sent["body"]["images"], sent["body"]["mask"]) == ([told], told)

    def test_a_file_holds_one_endpoint_and_one_model(self) -> None:
        edit = ImageRequest(prompt="bluer", model="gpt-image-2", images=["https://pictures.example/a.png"])

        assert BATCHES.group_of(REQUEST) == GROUP
        assert BATCHES.group_of(edit).endpoint == "/v1/images/edits"

    def test_results_are_expected_by_size_and_format(self) -> None:
        small = ImageRequest(prompt="a", options={"size": "1024x1024", "output_format": "jpeg"})
        large = ImageRequest(prompt="a", options={"size": "2048x2048"})

        assert BATCHES.expected_bytes(small) < BATCHES.expected_bytes(REQUEST) < BATCHES.expected_bytes(large)

    def test_the_upload_is_a_form_and_is_made_again_where_no_answer_comes(self) -> None:
        driven = drive(BATCHES.upload(b"{}\n", "key"), response({}, status=500), response({"id": "file-1"}))

        first: Any = driven.requests[0]
        assert (driven.result, len(driven.requests)) == ("file-1", 2)
        assert (first.path, first.form["purpose"]) == ("/files", "batch")
        assert first.parts[0].file.content == b"{}\n"

    def test_the_creation_carries_the_key_and_is_made_once(self) -> None:
        creation = BATCHES.create("file-1", GROUP, "key", names={"dag_id": "d" * 600}, how_to_look="Look.")

        driven = drive(creation, response({}, status=500))

        assert isinstance(driven.error, UnknownOutcomeError)
        request: Any
        (request,) = driven.requests
        assert request.body == {
            "input_file_id": "file-1",
            "endpoint": "/v1/images/generations",
            "completion_window": "24h",
            "metadata": {"dag_id": "d" * 512, "imagetasks_key": "key"},
        }


class TestAnswers:
    @pytest.mark.parametrize(
        ("status", "state", "is_over"),
        [
            *((word, TaskState.RUNNING, False) for word in ("validating", "in_progress", "finalizing", "cancelling")),
            ("dreaming", TaskState.RUNNING, False),
            # One that failed after it was taken holds what it made by then.
            *((word, TaskState.SUCCEEDED, True) for word in ("completed", "expired", "cancelled", "failed")),
        ],
    )
    def test_a_batch_is_read_by_the_service_s_own_flow(self, status: str, state: TaskState, is_over: bool) -> None:
        counts = {"total": 4, "completed": 3, "failed": 0}
        told = response(record(status=status, request_counts=counts, output_file_id="file-2"))

        task = drive(OpenAIService().read_one("batch_1"), told).result

        batch = BATCHES.batch_of(task)
        assert (task.state, task.rows_ready, batch.is_over, batch.key) == (state, 3, is_over, "k")
        assert batch.result_files == ("file-2",)

    def test_a_batch_that_is_unknown_is_not_found(self) -> None:
        told = response({"error": {"message": "No batch found", "code": None}}, status=404)
        assert drive(OpenAIService().read_one("batch_1"), told).result.state is TaskState.NOT_FOUND

    def test_errors_of_validation_name_their_lines(self) -> None:
        data = [
            {"code": "invalid_value", "message": "no such size", "line": 3, "param": "body.size"},
            {"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None},
        ]
        task = drive(BATCHES.read("batch_1"), response(record(status="failed", errors={"data": data}))).result

        first, second = BATCHES.batch_of(task).errors
        assert (first.line, type(first.error), first.error.billed) == (3, InvalidRequestError, "no")
        assert "no such size (body.size)" in first.error.message
        assert (second.line, type(second.error)) == (None, RateLimitError)

    def test_a_refused_creation_was_not_billed(self) -> None:
        told = response({"error": {"message": "You exceeded", "code": "insufficient_quota"}}, status=429)
        error = drive(BATCHES.create("file-1", GROUP, "key", names={}, how_to_look=""), told).error
        assert isinstance(error, QuotaExceededError)
        assert error.billed == "no"

    def test_a_batch_is_cancelled_until_it_is_over(self) -> None:
        assert "told to stop" in drive(BATCHES.cancel("batch_1"), response(record(status="cancelling"))).result
        driven = drive(OpenAIService().cancel("batch_1"), response(record(status="completed")))
        assert "already over" in str(driven.error)

    def test_a_file_that_is_gone_was_paid_for(self) -> None:
        error = BATCHES.content_refused(404, b'{"error": {"message": "No such File object"}}')
        assert (type(error), error.billed) == (ResultExpiredError, "yes")
        assert isinstance(BATCHES.content_refused(503, b"<html>"), ServiceUnavailableError)


class TestSearch:
    def page(self, *records: dict[str, Any], more: bool = False) -> Any:
        return response({"data": list(records), "has_more": more})

    def test_it_looks_on_until_the_list_ends(self) -> None:
        other = record(id="batch_0", metadata={"imagetasks_key": "other"})
        search = BATCHES.find("k", since=1_790_000_000.0)

        driven = drive(search, self.page(other, more=True), self.page(record()))

        second: Any = driven.requests[1]
        assert [each.id for each in driven.result.found] == ["batch_1"]
        assert second.parameters["after"] == "batch_0"

    def test_what_is_older_than_the_creation_is_not_looked_through(self) -> None:
        old = [record(id=f"batch_{n}", metadata=None, created_at=1_780_000_000 - n) for n in range(2)]

        listing = drive(BATCHES.find("k", since=1_790_000_000.0), self.page(*old, more=True)).result

        assert (listing.found, listing.is_complete) == ((), True)

    def test_nothing_found_proves_nothing_where_the_list_tells_no_keys(self) -> None:
        nameless = record(metadata=None)
        assert not drive(BATCHES.find("k", since=1_790_000_000.0), self.page(nameless)).result.is_complete
        known = record(id="batch_2", metadata={"imagetasks_key": "other"})
        assert drive(BATCHES.find("k", since=1_790_000_000.0), self.page(nameless, known)).result.is_complete


class TestLines:
    def test_a_line_with_a_picture_is_read(self) -> None:
        read = BATCHES.read_line(line())

        (image,) = read.images
        assert (read.custom_id, image.data, read.usage, read.error) == ("row-1", PICTURE, {"total_tokens": 7}, None)

    @pytest.mark.parametrize(
        "written",
        [
            lambda text: text.replace('"b64_json": ', '"b64_json"  :  '),
            lambda text: text.replace("/", "\\/"),
            lambda text: text.replace('"data": ', '"note": "a \\"b64_json\\": \\"x\\" in a text", "data": '),
        ],
        ids=["with blanks", "with escaped slashes", "with the name in a text"],
    )
    def test_a_picture_however_it_is_written(self, written: Any) -> None:
        (image,) = BATCHES.read_line(written(line().decode()).encode()).images
        assert image.data == PICTURE

    @pytest.mark.parametrize(
        ("said", "error_class", "billed"),
        [
            ({"response": None, "error": {"code": "batch_expired", "message": "m"}}, ServiceUnavailableError, "no"),
            ({"response": None, "error": {"code": "batch_cancelled", "message": "m"}}, ServiceUnavailableError, "no"),
            ({"response": None, "error": None}, ServiceUnavailableError, "unknown"),
            ({"response": {"status_code": 200, "body": {"data": []}}}, ImageTaskFailedError, "unknown"),
            *(
                ({"response": {"status_code": status, "body": {"error": {"code": code, "message": "m"}}}}, kind, "no")
                for status, code, kind in (
                    (400, "moderation_blocked", ContentPolicyError),
                    (400, None, InvalidRequestError),
                    (429, "rate_limit_exceeded", RateLimitError),
                    (429, "insufficient_quota", QuotaExceededError),
                    (500, "server_error", ServiceUnavailableError),
                )
            ),
        ],
    )
    def test_a_line_without_a_picture_says_why(
        self, said: dict[str, Any], error_class: type[Exception], billed: str
    ) -> None:
        error = BATCHES.read_line(line(**said)).error

        assert error is not None
        assert (type(error), error.billed) == (error_class, billed)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[]",
            b'{"custom_id": 7}',
            line()[:-700],
            b'{"custom_id": "row-1", "response": [' + b"[]," * 50_000 + b"[]]}",
            b'{"custom_id": "row-1", "response": ' + b"[" * 40_000,
        ],
        ids=["nothing", "a cut one", "a list", "an odd name", "half", "more values than any answer", "too deep"],
    )
    def test_a_line_that_cannot_be_read_is_refused(self, content: bytes) -> None:
        with pytest.raises(ValueError):
            BATCHES.read_line(content)

    @pytest.mark.parametrize(
        "content",
        [b'{"b64_json":"' * 300_000, b'{"a":' * 800_000, b"[]," * 1_000_000, b'"a",' * 1_000_000],
        ids=["pictures", "names", "lists", "texts"],
    )
    def test_a_line_that_cannot_be_read_takes_little_memory(self, content: bytes) -> None:
        tracemalloc.start()
        with pytest.raises(ValueError):
            BATCHES.read_line(content)
        BATCHES.results_in(content)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

        assert peak < 4 * len(content)

    @pytest.mark.parametrize(
        ("content", "results"),
        [
            (line(), [line().strip()]),
            (b' {"a": "}{"}\t{"b": 1} ', [b'{"a": "}{"}', b'{"b": 1}']),
            ('{"a": "\u00e9"}{"b"'.encode(), ['{"a": "\u00e9"}'.encode(), b'{"b"']),
            (b'{"a"{"b": 1}', [b'{"a"{"b": 1}']),
            (b"[" * 100_000, [b"[" * 100_000]),
            (b'{"b": 1} 2 3', [b'{"b": 1}', b"2 3"]),
            (b"{}" * 50_001, [b"{}" * 50_001]),
        ],
        ids=["one", "two", "and a cut one", "behind a cut one", "deep", "before numbers", "too many"],
    )
    def test_results_that_share_a_line(self, content: bytes, results: list[bytes]) -> None:
        assert list(BATCHES.results_in(content)) == results

    def test_whose_it_is_is_told_by_its_beginning(self) -> None:
        assert BATCHES.custom_id_in(line()[:60]) == "row-1"
        assert BATCHES.custom_id_in(b'{"custom') is None


def test_ids_of_rows_and_of_requests_tell_their_places() -> None:
    assert place_of(placed_id("batch_1", 17)) == ("batch_1", 17)
    assert place_of("resp_1") is None
    told = custom_id("mark", 17)
    assert len(told) <= 64
    assert (row_in(told, "mark"), row_in(told, "other"), row_in("row-17", "mark")) == (17, None, None)
