"""The wait of a deferred batch: what cannot be read is paid for, and holds up nobody."""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    QuotaExceededError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.polling.batch_wait import BatchProgress, longest_ready, wake_at
from airflow_provider_imagetasks.polling.waiting import WaitLog, Watch
from airflow_provider_imagetasks.tasks import ImageTask, TaskState


@pytest.mark.parametrize(
    ("count", "rows_wait", "over"),
    [(500, True, 250), (500, False, 250), (3, True, 2), (3, False, 3), (80, False, 50), (1, True, 1)],
)
def test_a_worker_is_called_when_half_is_over_and_for_the_last_of_a_few(count: int, rows_wait: bool, over: int) -> None:
    assert wake_at(count, rows_wait=rows_wait) == over


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (ServiceUnavailableError("down"), None),
        (InvalidRequestError("a proxy's page"), None),
        (AuthenticationError("no key"), "error"),
        (QuotaExceededError("no balance"), "error"),
    ],
)
def test_only_a_refused_account_ends_the_wait_before_its_time(error: ImageTaskError, end: str | None) -> None:
    watch = Watch(image_task_ids=("a", "b"), trace_id=None, asked_at=0.0, deadline=99.0, poll_interval=10.0)

    assert BatchProgress(watch, WaitLog(), wake_at=2).gave_up(error) == end


@pytest.mark.parametrize(("life", "seconds"), [(None, None), (86_400, None), (3_600, 15.0), (600, 10.0), (60, 10.0)])
def test_what_a_service_deletes_soon_is_fetched_soon(life: float | None, seconds: float | None) -> None:
    assert longest_ready(life) == seconds

    watch = Watch(image_task_ids=("a", "b"), trace_id=None, asked_at=0.0, deadline=999.0, poll_interval=10.0)
    waiting = BatchProgress(watch, WaitLog(), wake_at=2, longest_ready=longest_ready(life))
    waiting.saw({"a": ImageTask(id="a", service="any", state=TaskState.SUCCEEDED)}, 100.0)
    last = 100.0 + (seconds or 300.0)

    assert [waiting.has_old_result(now) for now in (last - 1, last)] == [False, True]
