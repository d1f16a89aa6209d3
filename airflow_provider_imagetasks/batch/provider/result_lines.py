"""Lines of a file of results, read as they come; where the way to the service breaks, it is read on from there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    ProtocolError,
    RateLimitError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services.exchange import LONGEST_PAUSE
from airflow_provider_imagetasks.services.provider_batches import ProviderBatches
from airflow_provider_imagetasks.transports.http import AsyncTransport
from airflow_provider_imagetasks.transports.streamed_answer import Line

ATTEMPTS = 5
"""How often in a row reading may bring nothing."""
FIRST_PAUSE = 1.0
"""Seconds before reading again; twice as long each further time."""
LARGEST_LINE = 64 * 1024 * 1024
"""Bytes; ten times what the largest pictures of image models take."""
_MENDABLE = (ServiceUnavailableError, RateLimitError, ProtocolError)


async def result_lines(
    api: AsyncTransport, batches: ProviderBatches, file_id: str, log: Any
) -> AsyncGenerator[Line, None]:
    """Yield the lines of a file of results, each once.

    :raises ResultExpiredError: the service has it no more.
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
                    raise ProtocolError("The file is answered from another byte on than was asked for")
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
            log.warning("%s. It is read on in %.0f s.", error.message.rstrip("."), pause)
        await asyncio.sleep(pause)


def _pause(error: ImageTaskError, failures: int) -> float:
    wanted = getattr(error, "retry_after", None) or 0.0
    return float(min(LONGEST_PAUSE, max(wanted, FIRST_PAUSE * 2 ** (failures - 1))))
