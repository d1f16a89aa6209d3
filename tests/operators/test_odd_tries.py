"""Tries whose ids or numbers are odd: a clock that was set back, and ``retries`` that were lowered before a Clear."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from airflow.sdk import Context

from airflow_provider_imagetasks.exceptions import ImageTaskError, UnknownOutcomeError
from airflow_provider_imagetasks.files import fetching
from tests.image_batch import ImageBatch
from tests.image_dag import ImageDag

KEEPS_STATE = pytest.mark.skipif(
    "task_state_store" not in Context.__annotations__, reason="Airflow keeps no state of tasks before 3.3"
)
BLIND = pytest.mark.parametrize("service_name", ["kie"], indirect=True)
BY_ACEDATACLOUD = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
pytestmark = pytest.mark.usefixtures("skipped_pauses")
ONCE_MORE = "Clear once more"


def try_id(seconds_ago: float) -> str:
    """Return the id that Airflow gives a try by a clock."""
    milliseconds = int((time.time() - seconds_ago) * 1000)
    return str(uuid.UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62) | uuid.uuid4().int >> 68))


@KEEPS_STATE
@BY_ACEDATACLOUD
class TestAClockThatWasSetBack:
    def test_a_later_try_of_a_submission_has_an_earlier_id(self, dag: ImageDag) -> None:
        dag.runner.try_id = try_id(0)
        assert dag.submit("a kite [429=9,retry-after=0]").state == "up_for_retry"
        dag.runner.try_id = try_id(600)

        assert dag.submit("a kite [429=9,retry-after=0]", try_number=2).state == "success"
        dag.runner.try_id = try_id(500)
        assert dag.submit(try_number=3, max_tries=4).state == "success"

    def test_a_try_that_was_replaced_stays_so(self, dag: ImageDag) -> None:
        dag.runner.try_id = try_id(0)
        assert dag.submit(try_number=2).state == "success"
        dag.runner.try_id = try_id(600)
        older = dag.submit(try_number=1)

        assert isinstance(older.error, ImageTaskError)
        assert older.error.code == "replaced"

    def test_a_later_try_of_a_batch_has_an_earlier_id(self, batch: ImageBatch) -> None:
        prompt = f"a kite [file-500={fetching.ATTEMPTS}]"
        batch.runner.try_id = try_id(0)
        assert batch.start(prompt, try_number=1).state == "up_for_retry"
        batch.runner.try_id = try_id(600)

        assert batch.start(prompt, try_number=2).state == "success"
        batch.runner.try_id = try_id(700)
        older: Any = batch.start(prompt, try_number=1).error
        assert older.code == "replaced"
        assert batch.created == [prompt]


@BLIND
class TestAClearThatLooksLikeARetry:
    """A Clear makes ``max_tries`` of the tries before it and of ``retries``, which may be what it was."""

    def test_of_a_batch(self, batch: ImageBatch) -> None:
        prompts = ["a kite [cut-after=1]", "a boat"]
        first = batch.start(*prompts, options={}, retries=1, max_tries=1)
        assert isinstance(first.error, UnknownOutcomeError)
        assert ONCE_MORE not in str(first.error)
        cleared = batch.start(*prompts, options={}, retries=0, try_number=2, max_tries=1)

        assert ONCE_MORE in str(cleared.error)
        assert len(batch.created) == 2
        again = batch.start(*prompts, options={}, retries=0, try_number=3, max_tries=2)
        assert again.state == "success"
        assert len(batch.created) == 3

    @KEEPS_STATE
    def test_of_a_submission(self, dag: ImageDag) -> None:
        first = dag.submit("a kite [cut-after=1]", retries=1, max_tries=1)
        assert isinstance(first.error, UnknownOutcomeError)
        cleared = dag.submit("a kite [cut-after=1]", retries=0, try_number=2, max_tries=1)

        assert ONCE_MORE in str(cleared.error)
        assert ONCE_MORE not in str(first.error)
        again = dag.submit("a kite [cut-after=1]", retries=0, try_number=3, max_tries=2)
        assert again.state == "success"
