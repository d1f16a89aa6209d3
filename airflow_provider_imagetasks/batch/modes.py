"""Modes of a batch: rows go out one by one, or in files as the provider's own batches, where a service has those."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

from airflow_provider_imagetasks.batch.arguments import BatchArguments, BatchLimits, Mode
from airflow_provider_imagetasks.batch.provider.run import ProviderBatchRun
from airflow_provider_imagetasks.batch.run import BatchRun
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.polling.batch_wait import Counts
from airflow_provider_imagetasks.services.base import Service

USUAL_TIMEOUTS: Mapping[str, float] = {"tasks": 3600.0, "provider_batch": 26 * 3600.0}
"""Seconds that a row may take from its submission, where nobody says."""
SHORTEST_PROVIDER_TIMEOUT = 24 * 3600.0


def check_mode_arguments(mode: Any, *, max_active_tasks: Any, submit_rate: Any, timeout: Any) -> None:
    """Refuse an unknown mode, and arguments that make no sense in a mode.

    :raises ValueError: names the argument.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode is {mode!r}; it must be 'tasks' or 'provider_batch'")
    if mode != "provider_batch":
        return
    for name, value in (("max_active_tasks", max_active_tasks), ("submit_rate", submit_rate)):
        if value is not None:
            raise ValueError(
                f"{name} cannot be used with mode='provider_batch', because the provider paces its batches itself: "
                "leave it out"
            )
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if isinstance(seconds, int | float) and 0 < seconds < SHORTEST_PROVIDER_TIMEOUT:
        raise ValueError(
            f"timeout is {timeout!r} with mode='provider_batch', for which the provider has 24 hours: leave it out, or "
            f"give at least {SHORTEST_PROVIDER_TIMEOUT:.0f}"
        )


def check_mode(mode: Mode, service: Service, limits: BatchLimits) -> float | None:
    """Refuse a mode that the service does not have, before anything is billed.

    :returns: seconds between two questions for a provider batch, at least; None where there are none.
    :raises InvalidRequestError: it cannot be used with this connection.
    """
    if mode != "provider_batch":
        return None
    batches = service.provider_batches
    if batches is None:
        raise InvalidRequestError(
            f"mode is 'provider_batch', but {service.title} does not offer batches: leave mode out, or use a "
            "connection to a service that does"
        )
    return limits.provider_interval or batches.poll_interval


def run_of(
    arguments: BatchArguments,
    batch: OpenBatch,
    scratch: Path,
    *,
    report: Callable[[Counts], None],
    log: Any,
    ends_at: float | None = None,
    over: Any = None,
) -> BatchRun | ProviderBatchRun:
    """Return what a start of a batch does in a worker, by its mode.

    :param scratch: a local folder.
    :param ends_at: Unix seconds at which Airflow ends the process, where it does.
    :param over: the provider batches that the trigger says are over, if it says so.
    """
    batches = arguments.provider_batches
    if batches is not None:
        how: dict[str, Any] = {"report": report, "log": log, "ends_at": ends_at, "over": over}
        return ProviderBatchRun(arguments, batches, batch, scratch, **how)
    return BatchRun(arguments, batch, report=report, log=log, ends_at=ends_at)
