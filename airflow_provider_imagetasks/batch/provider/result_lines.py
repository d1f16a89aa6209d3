"""Lines of a file of results, read as they come, also after a broken connection; and ends of rows without a line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    ImageTaskFailedError,
    ProtocolError,
    RateLimitError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.exchange import LONGEST_PAUSE
from airflow_provider_imagetasks.services.provider_batches import ProviderBatch, ProviderBatches
from airflow_provider_imagetasks.transports.http import AsyncTransport
from airflow_provider_imagetasks.transports.streamed_answer import Line

ATTEMPTS = 5
"""Attempts in a row that may read nothing."""
FIRST_PAUSE = 1.0
"""Seconds before reading again; twice as long each further time."""
LARGEST_LINE = 64 * 1024 * 1024
"""Bytes; ten times what the largest pictures of image models take."""
_MENDABLE = (ServiceUnavailableError, RateLimitError, ProtocolError)


async def result_lines(
    api: AsyncTransport, batches: ProviderBatches, file_id: str, log: Any
) -> AsyncGenerator[Line, None]:
    """Yield the lines of a file of results, each once.

    :raises ResultExpiredError: the service no longer has it.
    :raises ImageTaskError: it cannot be read.
    """
    read_to, failures, takes_ranges = 0, 0, True
    while True:
        before = read_to
        try:
            request = batches.content_request(file_id)
            if read_to and takes_ranges:
                request = replace(request, headers={**request.headers, "Range": f"bytes={read_to}-"})
            async with api.stream(request) as answer:
                if answer.status == 416 and read_to:
                    return
                if answer.status not in (200, 206):
                    raise batches.content_refused(answer.status, await answer.refusal())
                takes_ranges = takes_ranges and not answer.is_packed
                if answer.status == 206 and (answer.begins_at != read_to or answer.is_packed):
                    takes_ranges = False
                    raise ProtocolError("The file was sent from a different byte than requested")
                async with aclosing(answer.lines(LARGEST_LINE)) as lines:
                    async for line in lines:
                        if line.ends_at > read_to:
                            read_to = line.ends_at
                            yield line
            return
        except _MENDABLE as error:
            failures = 1 if read_to > before else failures + 1
            if failures >= ATTEMPTS or not error.retryable:
                raise
            pause = _pause(error, failures)
            log.warning("%s. Reading continues in %.0f s.", error.message.rstrip("."), pause)
        await asyncio.sleep(pause)


def _pause(error: ImageTaskError, failures: int) -> float:
    wanted = getattr(error, "retry_after", None) or 0.0
    return float(min(LONGEST_PAUSE, max(wanted, FIRST_PAUSE * 2 ** (failures - 1))))


def refusal_of_row(batch: ProviderBatch, line: int, service: Service) -> ImageTaskError:
    """Return why a row fails whose provider batch was refused as a whole: nothing of it was made or billed.

    :param line: of the row, from 1.
    """
    told = batch.reasons.get(line) or batch.reasons.get(None)
    if told is not None:
        return told
    others = len(batch.reasons)
    return ServiceUnavailableError(
        f"Provider batch {batch.id} was refused because of {others:,} of its other rows, and this row with it",
        service=service.name,
        code="provider_batch",
        billed="no",
        retry_advice="A retry submits this row again, without those.",
    )


def missing_row(batch: ProviderBatch, made: int, service: Service) -> ImageTaskError:
    """Return why a row fails that the results, read to their end, do not mention.

    It was not made where the provider batch ended early, and everything that was made by then was seen.

    :param made: rows of the provider batch whose pictures were seen.
    """
    facts: dict[str, Any] = {"service": service.name, "code": "no_result"}
    # Fewer than were seen is no count.
    if batch.is_partial and made == batch.completed:
        return ServiceUnavailableError(
            f"The picture was not made before provider batch {batch.id} ended ({batch.status})",
            billed="no",
            retry_advice="A retry submits it again.",
            **facts,
        )
    return ImageTaskFailedError(
        f"Provider batch {batch.id} is {batch.status}, but its results contain neither a picture nor an error for this "
        "row",
        billed="unknown",
        retry_advice="Clear looks at the results again, and submits the row again if they still contain nothing.",
        **facts,
    )
