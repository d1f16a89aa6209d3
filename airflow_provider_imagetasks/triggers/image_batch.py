"""The wait of a batch on the triggerer: it only reads, reports progress, and resumes the task once that is worth it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.providers.common.compat.sdk import XCom
from airflow.triggers.base import TriggerEvent

from airflow_provider_imagetasks.polling.batch_wait import BatchProgress, Counts
from airflow_provider_imagetasks.polling.waiting import WaitLog
from airflow_provider_imagetasks.triggers.base import ImageTaskTriggerBase

PROGRESS_KEY = "progress"
PROGRESS_SECONDS = 10.0
"""Seconds between two updates of XCom ``progress`` while it changes."""
FRESH_SECONDS = 60.0
"""Seconds between two updates while it does not."""
EVENT_STATUSES = ("done", "deadline", "error", "ripe")


class ImageBatchTrigger(ImageTaskTriggerBase):
    """Ask for the image tasks of a batch, then fire one event; keep XCom ``progress`` fresh meanwhile.

    The event is ``{status}``, with the ids that are ``over`` where it fires for the first of them.

    :param wake_at: fires once so many are over.
    :param counts: ``{total, submitted, succeeded, failed}`` of the batch at deferral.
    :param longest_ready: seconds that a result may lie at the service before it fires; None for the usual ones.
    :param wait: those of :class:`ImageTaskTriggerBase`: at most 500 ids, ``deadline`` and ``asked_at`` of the latest.
    """

    class_path = "airflow_provider_imagetasks.triggers.image_batch.ImageBatchTrigger"
    serialized_fields = (*ImageTaskTriggerBase.serialized_fields, "wake_at", "counts", "longest_ready")
    left_out_if_none = ImageTaskTriggerBase.left_out_if_none | {"longest_ready"}

    def __init__(
        self, *, wake_at: int, counts: Mapping[str, int], longest_ready: float | None = None, **wait: Any
    ) -> None:
        super().__init__(**wait)
        self.wake_at = wake_at
        self.longest_ready = longest_ready
        self.counts = dict(counts)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire one event whose status is one of ``done``, ``ripe``, ``deadline`` and ``error``."""
        progress = BatchProgress(
            self.watch, WaitLog(self.logger()), wake_at=self.wake_at, longest_ready=self.longest_ready
        )
        waiting = asyncio.create_task(self.poller.wait(progress, first_pause=self.first_question_after()))
        try:
            status = await self._watched(waiting, progress)
        except asyncio.CancelledError as cancelled:
            raise self.explained_cancellation(cancelled) from None
        finally:
            waiting.cancel()
        # Where each that ends is worth a worker, that one need not ask for the others.
        over = [each for each in self.image_task_ids if each not in progress.pending] if self.wake_at == 1 else []
        yield TriggerEvent({"status": status, **({"over": over} if over else {})})

    async def _watched(self, waiting: asyncio.Task[str], progress: BatchProgress) -> str:
        told, told_at = (0, 0), 0.0
        while True:
            await asyncio.wait({waiting}, timeout=PROGRESS_SECONDS)
            now = time.time()
            seen = (progress.ready_count, progress.failed_count)
            if seen != told or now - told_at >= FRESH_SECONDS:
                told, told_at = seen, now
                await self._tell(progress.ready_count, now)
            if waiting.done():
                return waiting.result()
            if progress.has_old_result(now):
                return "ripe"

    async def _tell(self, ready: int, now: float) -> None:
        """Push how far the batch is. The wait goes on if that fails.

        What failed at the service is not over: the worker decides whether it is submitted again.
        """
        instance = getattr(self, "task_instance", None)
        if instance is None:
            # `dag.test()` runs triggers without one.
            return
        counts = Counts(**self.counts).with_ready(ready)
        names = {name: getattr(instance, name) for name in ("dag_id", "task_id", "run_id")}
        names["map_index"] = instance.map_index if instance.map_index is not None else -1
        try:
            if hasattr(XCom, "aset"):
                await XCom.aset(PROGRESS_KEY, counts.as_xcom(now), **names)
            else:
                # Before Airflow 3.3: in a thread that calls back into this loop, which so is not blocked.
                from asgiref.sync import sync_to_async

                await sync_to_async(XCom.set)(PROGRESS_KEY, counts.as_xcom(now), **names)
        except Exception as error:  # noqa: BLE001 - Airflow's API may be away for a while, in any way
            self.log.warning("XCom 'progress' could not be updated: %s", error)
