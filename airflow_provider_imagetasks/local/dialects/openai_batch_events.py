"""Events about batches, as OpenAI's webhook tells of them: the double calls the URL that it was told once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_imagetasks.local.dialects.openai_batch_table import BatchRecord
from airflow_provider_imagetasks.local.dialects.webhook_signatures import signed_event
from airflow_provider_imagetasks.local.service_state import ServiceState

_SHORTEST = 0.05
"""Seconds between two looks at a batch that is about to end."""


@dataclass(frozen=True, kw_only=True)
class _AwaitedBatch:
    """A batch as the sender of callbacks waits for it.

    :param advance: makes what is due by now.
    """

    batch: BatchRecord
    state: ServiceState
    advance: Callable[[], None]

    @property
    def finished(self) -> bool:
        """Whether it has ended by now."""
        self.advance()
        return self.batch.ended_as is not None

    @property
    def remaining(self) -> float:
        """Seconds of a usual clock until it ends."""
        return max(_SHORTEST, (self.batch.ends_at - self.state.now()) / self.state.options.clock_rate)


def promise_event(batch: BatchRecord, state: ServiceState, advance: Callable[[], None]) -> None:
    """Promise the call that tells of the end of a batch, if there is a URL to call.

    :param advance: makes what is due by now.
    """
    if state.options.webhook_url:
        awaited = _AwaitedBatch(batch=batch, state=state, advance=advance)
        state.callbacks.promise(awaited, state.options.webhook_url, lambda: _event(batch, state))


async def _event(batch: BatchRecord, state: ServiceState) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the event and the headers that sign it."""
    at = batch.ended_at or batch.created_at
    return signed_event(f"batch.{batch.ended_as}", batch.id, at=at, options=state.options)
