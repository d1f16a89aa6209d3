"""Ends of rows that have no line of their own in the results of their provider batch. Pure."""

from __future__ import annotations

from typing import Any

from airflow_provider_imagetasks.exceptions import ImageTaskError, ImageTaskFailedError, ServiceUnavailableError
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.provider_batches import ProviderBatch


def refusal_of_row(batch: ProviderBatch, line: int, service: Service) -> ImageTaskError:
    """Return why a row fails whose provider batch was not taken as a whole: nothing of it was made or billed.

    :param line: of the row, from 1.
    """
    told = batch.reasons.get(line) or batch.reasons.get(None)
    if told is not None:
        return told
    others = len(batch.reasons)
    return ServiceUnavailableError(
        f"Provider batch {batch.id} was not taken, because of {others:,} other of its rows, and this one with them",
        service=service.name,
        code="provider_batch",
        billed="no",
        retry_advice="A retry submits it again, without those.",
    )


def missing_row(batch: ProviderBatch, made: int, service: Service) -> ImageTaskError:
    """Return why a row fails of which the results, read to their end, say nothing.

    It was not made where the provider batch ended early, and everything that was made by then was seen.

    :param made: rows of the provider batch whose pictures were seen.
    """
    facts: dict[str, Any] = {"service": service.name, "code": "no_result"}
    if batch.is_partial and batch.completed is not None and made >= batch.completed:
        return ServiceUnavailableError(
            f"It was not made before provider batch {batch.id} ended ({batch.status})",
            billed="no",
            retry_advice="A retry has it made again.",
            **facts,
        )
    return ImageTaskFailedError(
        f"Provider batch {batch.id} is {batch.status}, and its results hold neither a picture nor an error for it",
        billed="unknown",
        retry_advice="Clear looks at the results once more, and has it made again where they still say nothing.",
        **facts,
    )
