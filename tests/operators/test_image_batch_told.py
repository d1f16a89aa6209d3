"""What a batch tells others: asset events, lineage and metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.sdk import Asset, AssetAlias

from airflow_provider_imagetasks.batch import manifest
from airflow_provider_imagetasks.batch.batch_ledger import BatchLedger
from airflow_provider_imagetasks.observability import lineage
from airflow_provider_imagetasks.observability.lineage import Lineage
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from tests.statsd_receiver import StatsdReceiver, initialize, set_up_airflow
from tests.task_runner import Outcome, TaskRunner

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud", "kie"], indirect=True)


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsdReceiver]:
    with StatsdReceiver() as receiver:
        with monkeypatch.context() as patch:
            set_up_airflow(patch, receiver)
            yield receiver
        initialize()


@pytest.fixture
def of_service(service_name: str) -> tuple[tuple[str, str], ...]:
    return (("service", service_name),)


def run(runner: TaskRunner, output_folder: str, *, try_number: int = 1, **arguments: Any) -> Outcome:
    given = {"prompts": ["a red kite", "a lighthouse"], "output_path": output_folder, "poll_interval": 1, **arguments}
    return runner.run(lambda: ImageBatchOperator(task_id="shots", **given), try_number=try_number)


def test_its_pictures_are_asset_events(runner: TaskRunner, output_folder: str) -> None:
    outcome = run(runner, output_folder, outlets=[AssetAlias("pictures"), Asset("shots")])

    assert outcome.state == "success", outcome.error
    result = runner.xcoms[("shots", "return_value")]
    events = outcome.message.outlet_events
    announced = [event for event in events if "source_alias_name" in event]
    (summary,) = (event["extra"] for event in events if "source_alias_name" not in event)
    assert [event["extra"]["prompt"] for event in announced] == ["a red kite", "a lighthouse"]
    assert len({event["dest_asset_key"]["uri"] for event in announced}) == 2
    assert all(event["extra"]["model"] for event in announced)
    assert (summary["count"], summary["manifest"]) == (2, result["manifest"])
    assert summary["bytes"] == sum(event["extra"]["bytes"] for event in announced)


def test_its_lineage_names_files_or_their_folder(
    runner: TaskRunner, output_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Lineage] = []
    real = ImageBatchOperator.execute

    def execute(self: Any, context: Any) -> Any:
        result = real(self, context)
        kept.append(self.lineage)
        return result

    monkeypatch.setattr(ImageBatchOperator, "execute", execute)
    run(runner, output_folder, requests=[{"prompt": "a kite", "images": ["https://cdn.example/a.png"]}], prompts=None)
    monkeypatch.setattr(manifest, "MOST_DATASETS", 1)
    runner.states.clear()
    run(runner, f"{output_folder}/others")

    first, second = (made.as_openlineage() for made in kept)
    assert [(read.namespace, read.name) for read in first.inputs] == [("https://cdn.example", "a.png")]
    assert len(first.outputs) == 1
    assert first.outputs[0].name.endswith(".png")
    assert [made.name for made in second.outputs] == [f"{output_folder}/others".removeprefix("file://")]
    assert second.outputs[0].outputFacets["outputStatistics"].fileCount == 2
    assert second.run_facets[lineage.FACET].imageTaskCount == 2


def test_each_row_is_counted(runner: TaskRunner, output_folder: str, statsd: StatsdReceiver, of_service: Any) -> None:
    prompts = ["a red kite", "a lighthouse", "a boat [refuse]", "a tree [fail]"]

    assert run(runner, output_folder, prompts=prompts, max_failed=2, row_attempts=1).state == "success"

    path = Path(urlsplit(runner.xcoms[("shots", "return_value")]["manifest"]).path)
    refusal = json.loads(path.read_text().splitlines()[2])["error"]["class"]
    assert statsd.totals("submitted") == {of_service: 3}
    assert statsd.totals("succeeded") == {of_service: 2}
    assert statsd.totals("pictures") == {of_service: 2}
    assert statsd.totals("refused") == {(("error", refusal), *of_service): 1}
    assert statsd.totals("failed") == {(("error", "ImageTaskFailedError"), *of_service): 1}
    assert sum(statsd.totals("polls").values()) >= 1


def test_cost_is_counted_with_the_pictures(
    runner: TaskRunner, output_folder: str, statsd: StatsdReceiver, of_service: Any
) -> None:
    run(runner, output_folder, model="m", prices={"m": 0.25})

    assert statsd.totals("cost") == {of_service: 0.5}


def test_a_start_that_is_taken_up_again_counts_no_row_twice(
    runner: TaskRunner, output_folder: str, statsd: StatsdReceiver, of_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: BatchLedger, how: str) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(BatchLedger, "finished", killed)
        assert run(runner, output_folder).state != "success"
    assert run(runner, output_folder, try_number=2).state == "success"

    assert statsd.totals("submitted") == {of_service: 2}
    assert statsd.totals("succeeded") == {of_service: 2}
    assert statsd.totals("pictures") == {of_service: 2}
