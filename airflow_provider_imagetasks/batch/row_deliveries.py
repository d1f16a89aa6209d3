"""Deliveries of a batch's rows: the pictures of a finished image task, brought to where they belong."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.manifest import outcome_row
from airflow_provider_imagetasks.batch.requests_file import FrozenRequests
from airflow_provider_imagetasks.batch.row_submissions import RunFlow
from airflow_provider_imagetasks.batch.rows import frozen_request
from airflow_provider_imagetasks.exceptions import DownloadError, InvalidRequestError, ResultExpiredError
from airflow_provider_imagetasks.files.filenames import pattern_for_row
from airflow_provider_imagetasks.files.picture_store import DownloadedFile, PictureStore, undelivered
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.polling.reads import read_moved
from airflow_provider_imagetasks.polling.session import pace_of
from airflow_provider_imagetasks.tasks import ImageTask


@dataclass(frozen=True, slots=True)
class Delivered:
    """A row whose pictures are in place, with its line for the ledger and the manifest."""

    task: ImageTask
    outcome: dict[str, Any]

    def count(self) -> None:
        """Tell the metrics."""
        metrics.ended(self.task, None)
        metrics.cost(self.task.service, self.outcome["cost"] or 0.0)


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A row of which a picture could not be stored, with the first error that says why."""

    row: int
    task: ImageTask
    error: DownloadError


Delivery: TypeAlias = Delivered | Undelivered


async def deliver(
    row: int,
    task: ImageTask,
    arguments: BatchArguments,
    requests: FrozenRequests,
    store: PictureStore,
    run: RunFlow,
    *,
    may_be_there: bool,
    log: Any,
) -> Delivery:
    """Store the pictures of a finished image task under the names of its row. Free, and safe to repeat.

    No row keeps others from being delivered: an unforeseen error fails only its own row. Where addresses have expired
    since the image task was read, it is read once more, within ``query_rate``.

    :param store: where pictures go; open.
    :param run: runs a flow of the service.
    :param may_be_there: False spares the look for pictures that an earlier start stored.
    """
    try:
        line = requests.line(row)
        # What was frozen before names were has none.
        pattern = line.get("filename") or pattern_for_row(arguments.filename, row=row, row_id=line.get("id"))
        stored = await store.store(task, pattern, may_be_there=may_be_there)
        if any(isinstance(result, ResultExpiredError) for result in stored):
            pace = pace_of(arguments.account, arguments.service)
            for moved in await run(read_moved(arguments.service, pace, [task])):
                task, stored = moved, await store.store(moved, pattern, may_be_there=True)
        problem = next((result for result in stored if isinstance(result, DownloadError)), None)
        if problem is not None:
            return Undelivered(row, task, problem)
        files = [result.as_xcom() for result in stored if isinstance(result, DownloadedFile)]
        cost = None
        # An earlier version froze, and submitted, what is refused by now: its pictures are in place all the same.
        with suppress(InvalidRequestError):
            request = frozen_request(line)
            request = request.with_model(request.model or task.model)
            asked = arguments.service.image_count_of(request)
            if len(files) < asked:
                log.warning("Row %s has %s of %s pictures.", row, len(files), asked)
            if len(files) > asked:
                log.warning("Row %s has %s pictures, and %s was asked for; all are kept.", row, len(files), asked)
            cost = arguments.cost_of(request, len(files) + task.left_out)
        outcome = outcome_row(
            line,
            image_task_id=task.id,
            files=files,
            left_out=task.left_out,
            duration=task.duration,
            usage=task.usage,
            cost=cost,
            currency=arguments.currency,
            price_share=arguments.price_share,
        )
        return Delivered(task, outcome)
    except Exception as error:  # noqa: BLE001 - it must not decide what becomes of the batch
        return Undelivered(row, task, undelivered(error, task, "The pictures"))
