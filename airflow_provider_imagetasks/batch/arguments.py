"""Arguments of a batch: what the operator is given, read and checked, and the limits of one start in a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, TypeAlias

from airflow_provider_imagetasks.batch.costs import cost_of
from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.polling.waiting import MOST_SECONDS
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.fields import whole_number
from airflow_provider_imagetasks.services.money import read_price_list
from airflow_provider_imagetasks.services.provider_batches import ProviderBatches
from airflow_provider_imagetasks.services.rates import NO_TIERS, Tier, active_limit, parse_rate
from airflow_provider_imagetasks.submissions.departure import LOOK_SECONDS
from airflow_provider_imagetasks.tasks import NOT_FOUND_GRACE, ImageRequest

Mode: TypeAlias = Literal["tasks", "provider_batch"]
"""How rows go out: as image tasks of their own, or in files as the provider's own batches."""
GIBIBYTE = 1024**3

MOST_ATTEMPTS = 1_000
"""The most submissions of a row within one try."""


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """Sizes and times that one start keeps. Times are in seconds.

    :param window: rows that are open or being downloaded at the same time, at most: what a trigger can carry.
    :param idle: after so long without a row that ended, the triggerer takes over the wait.
    :param gather: how long free places are collected for a group that is not full.
    :param report: between two reports of the progress.
    :param flush: between two writes of outcomes; after ``flush_rows`` of them they are written before that.
    :param look: how long before a submission leaves this start may have been found to be the latest, at most.
    :param not_found_grace: how long a service may take to write a submission down.
    :param provider_rows: rows of one provider batch, at most; None for what the service takes.
    :param provider_result_bytes: bytes of its results, as far as they can be foreseen, at most: what a start that is
        killed while it delivers may have to read again.
    :param provider_interval: between two questions for one provider batch; None for the service's.
    """

    window: int = 500
    idle: float = 30.0
    gather: float = 0.25
    report: float = 5.0
    flush: float = 5.0
    flush_rows: int = 50
    look: float = LOOK_SECONDS
    not_found_grace: float = NOT_FOUND_GRACE
    provider_rows: int | None = None
    provider_result_bytes: int = 4 * GIBIBYTE
    provider_interval: float | None = None


@dataclass(frozen=True, kw_only=True)
class BatchArguments:
    """What holds for every row of a batch: the arguments of ``ImageBatchOperator``, checked. Times are in seconds.

    :param account: the connection, with the limits that were given as arguments.
    :param max_failed: a number of rows, or a share where it is a float.
    :param resubmits_unknown: whether an unknown outcome is submitted again, at the risk of paying twice.
    :param currency: of costs; None where the prices name none.
    :param defers: whether the triggerer takes over while nothing happens.
    :param mode: how rows go out.
    """

    account: Account
    service: Service
    model: str | None
    options: Mapping[str, Any]
    filename: str
    prices: Mapping[str, float]
    output_path: str
    max_failed: float
    max_cost: float | None
    row_attempts: int
    timeout: float
    poll_interval: float
    resubmits_unknown: bool
    defers: bool
    currency: str | None = None
    limits: BatchLimits = BatchLimits()
    mode: Mode = "tasks"

    @property
    def provider_batches(self) -> ProviderBatches | None:
        """The service's own batches, if rows go out in them; else None."""
        return self.service.provider_batches if self.mode == "provider_batch" else None

    @property
    def price_share(self) -> float:
        """What a picture costs in this batch, as a share of its price alone."""
        batches = self.provider_batches
        return batches.price_share if batches is not None else 1.0

    def cost_of(self, request: ImageRequest, pictures: int | None = None) -> float | None:
        """Return what the pictures of a request cost in this batch, None where no price is known.

        :param request: its model filled in.
        :param pictures: how many came of it; None where it is only known how many it asks for.
        """
        cost = cost_of(self.service, request, self.prices, pictures=pictures, currency=self.currency)
        return None if cost is None else cost * self.price_share

    @property
    def most_active(self) -> int:
        """How many rows may run at the service at the same time."""
        return min(self.account.max_active_tasks or self.limits.window, self.limits.window)


def with_limits(
    account: Account,
    *,
    submit_rate: Any,
    max_active_tasks: Any,
    tiers: Mapping[str, Tier] = NO_TIERS,
    prices: Any = None,
) -> Account:
    """Return the account with limits and prices that were given as arguments; None leaves the connection's.

    :param tiers: those that ``submit_rate`` may name.
    :raises InvalidRequestError: a limit cannot be read, or is zero.
    """
    if submit_rate is not None:
        rate = parse_rate(str(submit_rate), field="submit_rate", kind="submit", tiers=tiers)
        active = active_limit(str(submit_rate), tiers) or account.max_active_tasks
        account = replace(account, submit_rate=rate, max_active_tasks=active)
    if prices is not None:
        account = replace(account, prices=read_price_list("prices", prices))
    if max_active_tasks is not None:
        number = whole_number(max_active_tasks)
        if number is None or number < 1:
            raise InvalidRequestError(
                f"max_active_tasks is {max_active_tasks!r:.80}; it must be a whole number, at least 1"
            )
        account = replace(account, max_active_tasks=number)
    return account


def poll_interval_for(
    argument: float | None, account: Account, service: Service, shortest: float | None = None
) -> float:
    """Return the seconds between two questions: argument, then connection, then service.

    :param shortest: that of a provider batch, which only the argument changes, and only to a longer one; None for rows.
    :raises InvalidRequestError: the argument is not a number of at least 1, or is too large.
    """
    is_number = isinstance(argument, int | float) and not isinstance(argument, bool)
    if argument is not None and not (is_number and 1 <= argument <= MOST_SECONDS):
        raise InvalidRequestError(f"poll_interval is {argument!r:.80}; it must be a number of seconds, at least 1")
    if shortest is not None:
        return max(argument or 0.0, shortest)
    return argument or account.poll_interval or service.poll_interval


def read_timeout(timeout: timedelta | float) -> float:
    """Return the seconds that a row may take.

    :raises ValueError: it is neither a number of seconds above zero nor a timedelta, or is too long.
    """
    seconds: Any = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not (is_number and 0 < seconds <= MOST_SECONDS):
        raise ValueError(
            f"timeout is {timeout!r:.80}; it must be a timedelta or a number of seconds, above 0 and at most "
            f"{MOST_SECONDS:,}"
        )
    return float(seconds)


def check_row_attempts(row_attempts: int) -> None:
    """Refuse a number of attempts that is out of range.

    :raises ValueError: it is not a whole number from 1 to 1,000.
    """
    if not isinstance(row_attempts, int) or isinstance(row_attempts, bool) or not 1 <= row_attempts <= MOST_ATTEMPTS:
        raise ValueError(
            f"row_attempts is {row_attempts!r:.80}; it must be a whole number, at least 1 and at most {MOST_ATTEMPTS:,}"
        )
