"""What the log and XCom are told of how far a batch is."""

from __future__ import annotations

import logging

from airflow_provider_imagetasks.batch.progress import ProgressReport
from airflow_provider_imagetasks.polling.batch_wait import Counts


def test_the_log_says_rate_and_time_left() -> None:
    report = ProgressReport(logging.getLogger("test"), None)
    report.line(Counts(total=1000, submitted=100), 0)

    text = report.line(Counts(total=1000, submitted=400, succeeded=290, failed=10), 60)

    assert text == "300 of 1,000 done, 10 failed, 100 running, 300 a minute, some 2 min left"


def test_xcom_is_told_now_and_then_and_in_the_end() -> None:
    pushed: list[int] = []
    report = ProgressReport(logging.getLogger("test"), lambda value: pushed.append(value["succeeded"]))
    for number in range(5):
        report(Counts(total=5, submitted=5, succeeded=number))
    report(Counts(total=5, submitted=5, succeeded=5), last=True)

    assert pushed == [0, 5]
