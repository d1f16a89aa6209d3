"""What holds for a whole batch while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot

WINDOW = 500
"""Rows that are open or being downloaded at the same time, at most: what a trigger can carry."""


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """What holds for a whole batch.

    :param slot: the task instance; its rows are its items.
    :param filename: pattern of the pictures' names, checked.
    :param prices: the user's own, per picture by model.
    :param row_attempts: how often a row is submitted within one start, where a failure cost nothing.
    :param timeout: seconds that a row may take from its submission.
    :param poll_interval: seconds between two questions for an image task that has been running for long.
    :param resubmits_unknown: whether an unknown outcome is submitted again, at the risk of paying twice.
    :param defers: whether the triggerer takes over where nothing happens.
    """

    account: Account
    service: Service
    slot: SubmissionSlot
    filename: str
    prices: dict[str, float]
    row_attempts: int
    timeout: float
    poll_interval: float
    resubmits_unknown: bool
    defers: bool

    @property
    def window(self) -> int:
        """How many rows may run at the service at the same time."""
        return min(self.account.max_active_tasks or WINDOW, WINDOW)
