"""Limits of a batch: what is given as an argument comes before what the connection says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.arguments import BatchLimits, poll_interval_for, with_limits
from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services import get_service
from tests.batch.batches import ACCOUNT, Easel, arguments


@pytest.mark.parametrize(("most", "window", "expected"), [(None, 500, 500), (9999, 500, 500), (7, 500, 7), (7, 5, 5)])
def test_no_more_rows_run_than_a_trigger_can_carry(
    tmp_path: Path, most: int | None, window: int, expected: int
) -> None:
    account = replace(ACCOUNT, max_active_tasks=most)
    given = arguments(tmp_path, service=Easel(), account=account, limits=BatchLimits(window=window))

    assert given.most_active == expected


def test_an_argument_comes_before_the_connection() -> None:
    account = replace(ACCOUNT, max_active_tasks=3, poll_interval=20.0)

    assert with_limits(account, submit_rate=None, max_active_tasks=None) == account
    assert with_limits(account, submit_rate=None, max_active_tasks="8").max_active_tasks == 8
    assert str(with_limits(account, submit_rate="20/10s", max_active_tasks=None).submit_rate) == "20/10s"
    tiers = get_service("kie").named_tiers()
    named = with_limits(account, submit_rate="kie:default", max_active_tasks=None, tiers=tiers)
    assert (str(named.submit_rate), named.max_active_tasks) == ("20/10s", 100)
    assert (poll_interval_for(None, account, Easel()), poll_interval_for(5, account, Easel())) == (20, 5)
    assert poll_interval_for(None, ACCOUNT, Easel()) == Easel.poll_interval


@pytest.mark.parametrize("value", [0, True, "", "many", 1.5])
def test_a_number_of_active_tasks_that_makes_no_sense_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="max_active_tasks"):
        with_limits(ACCOUNT, submit_rate=None, max_active_tasks=value)
