"""What a batch tells others: asset events, lineage and metrics."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias

from airflow_provider_imagetasks.batch import manifest
from airflow_provider_imagetasks.batch.batch_ledger import BatchLedger
from airflow_provider_imagetasks.observability import lineage
from tests.image_batch import ImageBatch
from tests.statsd_receiver import StatsdReceiver

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud", "kie"], indirect=True)


@pytest.fixture
def batch(batch: ImageBatch) -> ImageBatch:
    """A batch of two pictures."""
    batch.arguments = {"prompts": ["a red kite", "a lighthouse"], "poll_interval": 1, "options": {}}
    return batch


def test_its_pictures_are_asset_events(batch: ImageBatch) -> None:
    outcome = batch.start(outlets=[AssetAlias("pictures"), Asset("shots")])

    assert outcome.state == "success", outcome.error
    events = outcome.message.outlet_events
    announced = [event for event in events if "source_alias_name" in event]
    (summary,) = (event["extra"] for event in events if "source_alias_name" not in event)
    assert [event["extra"]["prompt"] for event in announced] == ["a red kite", "a lighthouse"]
    assert len({event["dest_asset_key"]["uri"] for event in announced}) == 2
    assert all(event["extra"]["model"] for event in announced)
    assert (summary["count"], summary["manifest"]) == (2, batch.pushed()["manifest"])
    assert summary["bytes"] == sum(event["extra"]["bytes"] for event in announced)


def test_its_lineage_names_files_or_their_folder(batch: ImageBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    first = batch.start(requests=[{"prompt": "a kite", "images": ["https://cdn.example/a.png"]}], prompts=None)
    monkeypatch.setattr(manifest, "MOST_DATASETS", 1)
    batch.runner.states.clear()
    second = batch.start(output_path=f"{batch.output_folder}/others")

    first, second = (outcome.task.get_openlineage_facets_on_complete(None) for outcome in (first, second))
    assert [(read.namespace, read.name) for read in first.inputs] == [("https://cdn.example", "a.png")]
    assert len(first.outputs) == 1
    assert first.outputs[0].name.endswith(".png")
    assert [made.name for made in second.outputs] == [f"{batch.output_folder}/others".removeprefix("file://")]
    assert second.outputs[0].outputFacets["outputStatistics"].fileCount == 2
    assert second.run_facets[lineage.FACET].imageTaskCount == 2


def test_each_row_is_counted(batch: ImageBatch, statsd: StatsdReceiver, of_service: Any) -> None:
    prompts = ["a red kite", "a lighthouse", "a boat [refuse]", "a tree [fail]"]

    assert batch.start(prompts=prompts, max_failed=2, row_attempts=1, model="m", prices={"m": 0.25}).state == "success"

    refusal = batch.rows[2]["error"]["class"]
    assert statsd.totals("submitted") == {of_service: 3}
    assert statsd.totals("succeeded") == statsd.totals("pictures") == {of_service: 2}
    assert statsd.totals("refused") == {(("error", refusal), *of_service): 1}
    assert statsd.totals("failed") == {(("error", "ImageTaskFailedError"), *of_service): 1}
    assert statsd.totals("cost") == {of_service: 0.5}
    assert sum(statsd.totals("polls").values()) >= 1


def test_a_start_that_is_taken_up_again_counts_no_row_twice(
    batch: ImageBatch, statsd: StatsdReceiver, of_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: BatchLedger, how: str) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(BatchLedger, "finished", killed)
        assert batch.start().state != "success"
    assert batch.start(try_number=2).state == "success"

    assert statsd.totals("submitted") == statsd.totals("succeeded") == statsd.totals("pictures") == {of_service: 2}


def test_a_batch_is_announced_once_a_try_so_that_it_keeps_its_place_in_the_gallery(batch: ImageBatch) -> None:
    announced = "batch", "image_batch"
    batch.arguments["prompts"] = ["a kite [latency=600]"]
    deferred = batch.start(deferrable=True)
    assert deferred.state == "deferred"
    assert batch.runner.xcoms.pop(announced)["total"] == 1

    batch.start(deferrable=True, resume=deferred)
    assert announced not in batch.runner.xcoms
    batch.start(deferrable=True)
    assert batch.runner.xcoms[announced]["total"] == 1
