"""A batch whose storage is slow: pictures that records hold wait at the service, and not in the worker's memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_imagetasks.batch import run
from airflow_provider_imagetasks.batch.row_questions import AT_ONCE
from tests.image_batch import ImageBatch


@pytest.mark.parametrize("service_name", ["openai"], indirect=True)
def test_records_are_read_only_as_fast_as_their_pictures_are_stored(
    batch: ImageBatch, connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = most = 0
    deliver = run.deliver

    async def slowly(*arguments: Any, **named: Any) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            await asyncio.sleep(0.02)
            return await deliver(*arguments, **named)
        finally:
            under_way -= 1

    monkeypatch.setattr(run, "deliver", slowly)
    monkeypatch.setattr(run, "MOST_HELD", 1)
    connection["extra"]["query_rate"] = "1000/s"

    outcome = batch.start(*[f"kite {number}" for number in range(40)])

    assert outcome.state == "success", outcome.error
    # Those that are being read by the time that the first has come.
    assert most <= AT_ONCE
