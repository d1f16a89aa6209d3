"""The metrics of image tasks that Airflow is told. Nothing that goes wrong here fails a task or stops a wait.

``docs/metrics.md`` lists them for those who watch them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from airflow_provider_imagetasks.exceptions import ImageTaskError, UnknownOutcomeError, public_class_name
from airflow_provider_imagetasks.tasks import ImageTask, TaskState

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric, as it is documented.

    :param name: without the prefix that Airflow sets (``[metrics] statsd_prefix``).
    :param tags: names of its tags; the values are few: names of services, connections, budgets and error classes.
    """

    name: str
    kind: Literal["counter", "timer", "gauge"]
    tags: tuple[str, ...] = ("service",)


SUBMITTED = Metric(name="imagetasks.submitted", kind="counter")
REFUSED = Metric(name="imagetasks.refused", kind="counter", tags=("service", "error"))
UNKNOWN_OUTCOME = Metric(name="imagetasks.unknown_outcome", kind="counter")
SUCCEEDED = Metric(name="imagetasks.succeeded", kind="counter")
FAILED = Metric(name="imagetasks.failed", kind="counter", tags=("service", "error"))
POLLS = Metric(name="imagetasks.polls", kind="counter")
PICTURES = Metric(name="imagetasks.pictures", kind="counter")
BYTES = Metric(name="imagetasks.bytes", kind="counter")
QUEUE_TIME = Metric(name="imagetasks.queue_time", kind="timer")
PLACE_TIME = Metric(name="imagetasks.place_time", kind="timer")
RUN_TIME = Metric(name="imagetasks.run_time", kind="timer")
CREDITS = Metric(name="imagetasks.usage.credits", kind="counter")
TOKENS = Metric(name="imagetasks.usage.tokens", kind="counter")
COST = Metric(name="imagetasks.cost", kind="counter")
PAUSED = Metric(name="imagetasks.paused", kind="counter", tags=("service", "requests"))
PLACES = Metric(name="imagetasks.places", kind="gauge", tags=("service", "connection"))
BUDGET_USED = Metric(name="imagetasks.budget_used", kind="gauge", tags=("service", "connection", "budget"))

METRICS = (
    *(SUBMITTED, REFUSED, UNKNOWN_OUTCOME, SUCCEEDED, FAILED, POLLS, PICTURES, BYTES),
    *(PLACE_TIME, QUEUE_TIME, RUN_TIME, CREDITS, TOKENS, COST, PAUSED, PLACES, BUDGET_USED),
)
"""All there are."""

_METHODS = {"counter": "incr", "timer": "timing", "gauge": "gauge"}
"""Of Airflow's metrics, by the kind of a metric."""
_USAGE = {CREDITS: "credits", TOKENS: "total_tokens"}


def submitted(service: str, image_tasks: int = 1) -> None:
    """Count image tasks that the service took. Call it once their ids are on record: a retry then does not come here.

    :param image_tasks: how many.
    """
    if image_tasks:
        _send(SUBMITTED, image_tasks, service=service)


def not_submitted(service: str, error: ImageTaskError) -> None:
    """Count a submission that was refused, or of which nobody knows what became."""
    if isinstance(error, UnknownOutcomeError):
        _send(UNKNOWN_OUTCOME, 1, service=service)
    else:
        _send(REFUSED, 1, service=service, error=public_class_name(type(error)))


def ended(task: ImageTask, error: ImageTaskError | None) -> None:
    """Count the end of the wait for one image task: why it fails, or its times and its usage where it succeeded."""
    if error is not None:
        failed(task.service, error)
        return
    if task.state is not TaskState.SUCCEEDED:
        return
    _send(SUCCEEDED, 1, service=task.service)
    if task.duration is not None:
        _send(RUN_TIME, task.duration, service=task.service)
        if task.created_at is not None and task.finished_at is not None:
            _send(QUEUE_TIME, task.finished_at - task.created_at - task.duration, service=task.service)
    for metric, field in _USAGE.items():
        amount = (task.usage or {}).get(field)
        if isinstance(amount, int | float) and not isinstance(amount, bool) and 0 < amount < float("inf"):
            _send(metric, amount, service=task.service)


def waited_for_place(service: str, seconds: float) -> None:
    """Note how long a submission waited until its account had a place and a turn for it."""
    _send(PLACE_TIME, seconds, service=service)


def paused(service: str, requests: str) -> None:
    """Count that a service asked all who use an account for a pause.

    :param requests: of which kind: ``submit`` or ``query``.
    """
    _send(PAUSED, 1, service=service, requests=requests)


def account(service: str, conn_id: str, *, places: int, used: Mapping[str, float]) -> None:
    """Note how an account stands after a submission was planned.

    :param places: image tasks that hold a place.
    :param used: shares of the budgets that are spent, by name.
    """
    _send(PLACES, places, service=service, connection=conn_id)
    for budget, share in used.items():
        _send(BUDGET_USED, share, service=service, connection=conn_id, budget=budget)


def polled(service: str, requests: int = 1) -> None:
    """Count status requests."""
    if requests:
        _send(POLLS, requests, service=service)


def failed(service: str, error: ImageTaskError) -> None:
    """Count an image task whose wait ended without pictures."""
    _send(FAILED, 1, service=service, error=public_class_name(type(error)))


def stored(service: str, size: int) -> None:
    """Count a picture of so many bytes that was fetched and put in place."""
    _send(PICTURES, 1, service=service)
    _send(BYTES, size, service=service)


def cost(service: str, amount: float) -> None:
    """Add to what pictures cost, in the currency of the table of prices."""
    if amount:
        _send(COST, amount, service=service)


def _send(metric: Metric, value: float, **tags: str) -> None:
    try:
        # Clocks of a service need not agree with each other.
        sent = timedelta(seconds=max(0.0, value)) if metric.kind == "timer" else value
        # The process of a triggerer is a component of Airflow's.
        stats = _stats_of("airflow.jobs.triggerer_job_runner" in sys.modules)
        getattr(stats, _METHODS[metric.kind])(metric.name, sent, tags=tags)
    except Exception as error:  # noqa: BLE001 - a picture that is paid for must not fail for a number
        _log.debug("A metric could not be sent", exc_info=error)


@cache
def _stats_of(is_component: bool) -> Any:
    """Return the metrics that this process has set up: since 3.2 Airflow has two, of its tasks and its components."""
    if is_component and find_spec("airflow.observability") is not None:
        return import_module("airflow.observability.stats").Stats
    return import_module("airflow.providers.common.compat.sdk").Stats
