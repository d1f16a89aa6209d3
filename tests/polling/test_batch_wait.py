"""How far a batch is, as XCom is told."""

from __future__ import annotations

from airflow_provider_imagetasks.polling.batch_wait import Counts


def test_progress_in_xcom() -> None:
    value = Counts(total=10, submitted=6, succeeded=2, failed=1).as_xcom(0)

    assert value == {
        "total": 10,
        "submitted": 6,
        "succeeded": 2,
        "failed": 1,
        "running": 3,
        "updated_at": "1970-01-01T00:00:00+00:00",
    }
