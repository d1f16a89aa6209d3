"""What the batch operator logs and pushes at its start, and how it leaves its wait to the triggerer."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.polling.batch_wait import Counts, longest_ready, wake_at
from airflow_provider_imagetasks.triggers.image_batch import ImageBatchTrigger

_BACKSTOP_SECONDS = 120.0


def announcement(batch: OpenBatch, arguments: BatchArguments) -> dict[str, Any]:
    """Return the XCom ``image_batch``: where the batch is kept, and what it is."""
    return {
        "folder": batch.folder.uri,
        "conn_id": arguments.account.conn_id,
        "service": arguments.service.name,
        "model": arguments.model or arguments.account.default_model or arguments.service.default_model,
        "total": batch.owner.total,
        "generation": batch.generation,
    }


def say_at_begin(batch: OpenBatch, arguments: BatchArguments, log: Any) -> None:
    """Log what the author may not expect of the batch's limits and folder."""
    if (arguments.account.max_active_tasks or 0) > arguments.most_active:
        log.info("At most %s image tasks of a batch run at the same time.", arguments.most_active)
    executor = conf.get("core", "executor", fallback="")
    if batch.folder.is_local and "LocalExecutor" not in executor and "SequentialExecutor" not in executor:
        log.warning(
            "The batch is kept in %s, on this machine's disk, but the executor is %s. If another machine continues the "
            "task, it has no record of what was submitted and paid for: output_path must be a disk that all "
            "workers share, or object storage.",
            batch.folder.uri,
            executor,
        )


def deferral(
    arguments: BatchArguments,
    batch: OpenBatch,
    counts: Counts,
    ids: Sequence[str],
    *,
    ends_at: float | None,
    cancels: bool,
) -> dict[str, Any]:
    """Return how the wait is left to the triggerer, until ``execution_timeout`` is over where that is first.

    :param ids: what it waits for: image tasks, or provider batches, of which each is worth a worker.
    :param ends_at: Unix seconds at which ``execution_timeout`` is over, where there is one.
    :param cancels: whether the trigger cancels them where a person ends the task.
    :returns: the arguments of ``BaseOperator.defer``.
    """
    latest = batch.ledger.state.latest_submission
    deadline = min(latest + arguments.timeout, ends_at or math.inf)
    seconds = max(0.0, deadline - time.time())
    rows_wait = counts.submitted < counts.total
    return {
        "trigger": ImageBatchTrigger(
            conn_id=arguments.account.conn_id,
            image_task_ids=ids,
            deadline=deadline,
            poll_interval=arguments.poll_interval,
            asked_at=latest,
            cancel_on_kill=cancels,
            wake_at=1 if arguments.provider_batches is not None else wake_at(len(ids), rows_wait=rows_wait),
            counts=counts.as_numbers(),
            longest_ready=longest_ready(batch.shortest_life(arguments.service)),
        ),
        "method_name": "execute_complete",
        "kwargs": {"output_path": batch.folder.output_path, **({"ends_at": ends_at} if ends_at is not None else {})},
        # Only a net: the trigger ends by itself at the deadline.
        "timeout": timedelta(seconds=seconds + arguments.poll_interval + _BACKSTOP_SECONDS),
    }
