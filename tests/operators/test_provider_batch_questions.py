"""How often a service is asked for provider batches, by its own count, where a worker comes back for one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.provider_batch import ProviderBatch
from tests.scripted_batches import Line, ScriptedBatches
from tests.task_runner import Outcome

pytestmark = pytest.mark.parametrize("service_name", ["openai"], indirect=True)
ROWS = [{"prompt": "a boat"}, {"prompt": "a kite", "model": "gpt-image-1.5"}]
"""Two provider batches, since a file has one model."""
GOES_ON = {"status": "in_progress", "output_file_id": None}


@pytest.fixture
def service(connection: dict[str, Any]) -> Iterator[ScriptedBatches]:
    """A service that is done with the boat at once, and never with the kite."""

    def record(lines: list[Line]) -> dict[str, Any]:
        return GOES_ON if lines[0]["body"]["prompt"] == "a kite" else {}

    service = ScriptedBatches(record=record)
    with service.server:
        connection["host"] = f"{service.server.url}/v1"
        yield service


def asked(service: ScriptedBatches) -> tuple[int, int]:
    """Return how often the service was asked for the batch of the boat, and for that of the kite."""
    paths = [request.path.rpartition("/")[2] for request in service.server.requests if request.method == "GET"]
    prompts = Counter(service.lines(each)[0]["body"]["prompt"] for each in paths if each in service.batches)
    return prompts["a boat"], prompts["a kite"]


@pytest.fixture
def deferred(provider_batch: ProviderBatch, service: ScriptedBatches) -> Outcome:
    """The task, deferred before anything was over."""
    usual, service.record = service.record, lambda _lines: GOES_ON
    provider_batch.limited(provider_interval=60.0)
    outcome = provider_batch.start(requests=ROWS, deferrable=True)
    service.record = usual
    assert (outcome.state, asked(service)) == ("deferred", (0, 0))
    return outcome


def test_a_worker_that_comes_back_for_one_does_not_ask_for_the_others_again(
    provider_batch: ProviderBatch, service: ScriptedBatches, deferred: Outcome
) -> None:
    event = {"status": "done", "over": ["batch_0"]}

    outcome = provider_batch.start(requests=ROWS, deferrable=True, resume=deferred, event=event)

    assert outcome.state == "deferred", outcome.error
    assert len(outcome.message.trigger_kwargs["image_task_ids"]) == 1
    assert asked(service) == (1, 0)


@pytest.mark.parametrize("over", [None, [], ["batch_of_another"], "batch_0", 7], ids=str)
def test_a_worker_that_is_not_told_what_is_over_asks_for_all(
    provider_batch: ProviderBatch, service: ScriptedBatches, deferred: Outcome, over: Any
) -> None:
    event = {"status": "done", **({} if over is None else {"over": over})}

    provider_batch.start(requests=ROWS, deferrable=True, resume=deferred, event=event)

    assert asked(service) == (1, 1)
