"""Files of results whose way breaks: each line comes once, from wherever the service goes on."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from multidict import CIMultiDict

from airflow_provider_imagetasks.batch.provider import result_lines
from airflow_provider_imagetasks.batch.provider.result_lines import missing_row, refusal_of_row
from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    RateLimitError,
    ResultExpiredError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.openai_batches import OpenAIBatches
from airflow_provider_imagetasks.services.provider_batches import LineError, ProviderBatch
from airflow_provider_imagetasks.services.wire import Request
from airflow_provider_imagetasks.transports.streamed_answer import StreamedAnswer

CONTENT = b"one\ntwo\nthree\nfour\n"
LINES = CONTENT.split()
SERVICE = get_service("openai")
WRONG, FULL = InvalidRequestError("wrong"), RateLimitError("full", billed="no")


class Answered:
    """What the HTTP client has of one answer: pieces, after which the connection may break."""

    def __init__(self, status: int, content: bytes, begins_at: int = 0, *, breaks: bool = False) -> None:
        self.status, self._content, self.content, self._breaks = status, content, self, breaks
        self.headers = CIMultiDict({"Content-Range": f"bytes {begins_at}-/{len(CONTENT)}"} if status == 206 else {})

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self._content
        if self._breaks:
            raise ServiceUnavailableError("the connection was cut")

    async def read(self, most: int) -> bytes:
        return self._content[:most]


class Way:
    """Stands for the transport: serves so many bytes an answer, then breaks, until the file is at its end.

    :param takes_ranges: whether it goes on where it is asked to; ``errs_by`` so many bytes too late.
    """

    def __init__(self, served: int, *, takes_ranges: bool = True, errs_by: int = 0) -> None:
        self._served, self._takes_ranges, self._errs_by = served, takes_ranges, errs_by
        self.asked: list[str] = []

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[StreamedAnswer]:
        asked = request.headers.get("Range", "")
        self.asked.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-") or 0) if self._takes_ranges else 0
        begins_at = start + self._errs_by if start else 0
        # Where it begins anew each time, more comes through with time.
        served = self._served if self._takes_ranges and not self._errs_by else self._served * len(self.asked)
        content = CONTENT[begins_at : begins_at + served]
        breaks = begins_at + served < len(CONTENT)
        answered: Any = Answered(206 if start else 200, content, begins_at, breaks=breaks)
        yield StreamedAnswer(answered, [])


async def read(way: Any) -> list[bytes]:
    log = logging.getLogger(__name__)
    lines = result_lines.result_lines(way, OpenAIBatches(), "file-1", log)
    return [line.content async for line in lines]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_lines, "FIRST_PAUSE", 0)


async def test_it_is_read_on_from_the_end_of_the_last_line() -> None:
    way = Way(8)

    assert await read(way) == LINES
    assert way.asked == ["", "bytes=8-", "bytes=14-"]


async def test_where_the_service_takes_no_ranges_what_was_read_is_passed_over() -> None:
    way = Way(8, takes_ranges=False)

    assert await read(way) == LINES
    assert len(way.asked) == 3


async def test_a_service_that_goes_on_elsewhere_is_asked_for_the_whole() -> None:
    way = Way(8, errs_by=1)

    assert await read(way) == LINES
    assert way.asked[1:3] == ["bytes=8-", ""]


async def test_it_is_given_up_once_nothing_more_comes() -> None:
    way = Way(2, takes_ranges=True)

    with pytest.raises(ServiceUnavailableError):
        await read(way)
    assert len(way.asked) == result_lines.ATTEMPTS


@pytest.mark.parametrize(("status", "error"), [(404, ResultExpiredError), (403, ImageTaskError)])
async def test_what_asking_again_cannot_mend_is_raised_at_once(status: int, error: type[Exception]) -> None:
    class Refusing:
        asked = 0

        @asynccontextmanager
        async def stream(self, _request: Request) -> AsyncIterator[StreamedAnswer]:
            self.asked += 1
            answered: Any = Answered(status, b'{"error": {"message": "no"}}')
            yield StreamedAnswer(answered, [])

    way = Refusing()
    with pytest.raises(error):
        await read(way)
    assert way.asked == 1


def batch(**changes: Any) -> ProviderBatch:
    return ProviderBatch(**{"id": "batch_1", "status": "completed", "is_over": True, **changes})


@pytest.mark.parametrize(
    ("changes", "made", "expected"),
    [
        ({}, 3, (ImageTaskFailedError, "unknown")),
        ({"completed": 3}, 3, (ImageTaskFailedError, "unknown")),
        ({"is_partial": True, "completed": 3}, 3, (ServiceUnavailableError, "no")),
        ({"is_partial": True, "completed": 0}, 0, (ServiceUnavailableError, "no")),
        # Something was made that was not seen, or nobody says how much was.
        ({"is_partial": True, "completed": 4}, 3, (ImageTaskFailedError, "unknown")),
        ({"is_partial": True}, 3, (ImageTaskFailedError, "unknown")),
    ],
)
def test_a_row_that_results_do_not_name(
    changes: dict[str, Any], made: int, expected: tuple[type[ImageTaskError], str]
) -> None:
    error = missing_row(batch(**changes), made, SERVICE)

    assert (type(error), error.billed, error.retryable) == (*expected, expected[1] == "no")


@pytest.mark.parametrize(
    ("errors", "line", "expected"),
    [
        ([(2, WRONG)], 2, WRONG),
        ([(None, FULL)], 1, FULL),
        ([(2, WRONG), (None, FULL)], 1, FULL),
        ([(2, WRONG), (None, FULL)], 2, WRONG),
        ([(2, WRONG), (3, WRONG)], 1, None),
    ],
)
def test_a_row_whose_batch_was_not_taken(
    errors: list[tuple[int | None, ImageTaskError]], line: int, expected: ImageTaskError | None
) -> None:
    told = tuple(LineError(line=number, error=error) for number, error in errors)

    error = refusal_of_row(batch(status="failed", was_refused=True, errors=told), line, SERVICE)

    assert error.billed == "no"
    if expected is None:
        assert (type(error), error.retryable) == (ServiceUnavailableError, True)
        assert "2 of its other rows" in str(error)
    else:
        assert error is expected
