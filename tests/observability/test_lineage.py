"""What OpenLineage is told of a run of each operator, written by its own file transport."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.observability import lineage
from airflow_provider_imagetasks.observability.lineage import Lineage, Made, gathered
from airflow_provider_imagetasks.operators.image_task import ImageTaskSubmitOperator
from tests.image_dag import ImageDag


def written(facets: Any, folder: Path) -> dict[str, Any]:
    """Send it through the provider's extractor format and the client's own file transport, and read the line."""
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.transport.file import FileConfig, FileTransport

    target = folder / "lineage.json"
    client = OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=str(target), append=True)))
    run, job = Run(runId=str(uuid.uuid4()), facets=facets.run_facets), Job(namespace="default", name="dag.task")
    sent: dict[str, Any] = {"eventTime": datetime.now(tz=UTC).isoformat(), "producer": "https://example.com"}
    sent |= {"inputs": facets.inputs, "outputs": facets.outputs}
    client.emit(RunEvent(eventType=RunState.COMPLETE, run=run, job=job, **sent))
    client.close()
    event: dict[str, Any] = json.loads(target.read_text().splitlines()[-1])
    return event


def datasets(event: dict[str, Any], side: str) -> list[tuple[str, str]]:
    return [(dataset["namespace"], dataset["name"]) for dataset in event[side]]


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_files_lead_back_to_the_reference_pictures(dag: ImageDag, tmp_path: Path) -> None:
    outcomes = [dag.submit(images=["https://cdn.example/a.png?X-Amz-Signature=secret"]), dag.wait(), dag.save()]
    told = [outcome.task.get_openlineage_facets_on_complete(None) for outcome in outcomes]
    submit, wait, save = (written(facets, tmp_path) for facets in told)

    (file,) = dag.files
    reference, image_task = ("https://cdn.example", "a.png"), ("imagetasks://acedatacloud", dag.image_task_id)
    assert [(datasets(event, "inputs"), datasets(event, "outputs")) for event in (submit, wait, save)] == [
        ([reference], [image_task]),
        ([image_task], []),
        ([image_task], [("file", file["uri"].removeprefix("file://"))]),
    ]
    statistics = save["outputs"][0]["outputFacets"]["outputStatistics"]
    assert (statistics["size"], statistics["fileCount"]) == (file["bytes"], 1)
    for event in (submit, wait, save):
        facet = event["run"]["facets"]["imageTasks"]
        assert (facet["service"], facet["models"], facet["imageTaskCount"]) == ("acedatacloud", ["gpt-image-2"], 1)
    assert "secret" not in json.dumps([submit, wait, save])


def test_many_files_are_named_by_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "MOST_DATASETS", 2)
    files = [Made(uri=f"s3://conn@bucket/kites/{number}.png", size=10) for number in range(3)]
    made = Lineage(
        service="kie", models=["m"], image_task_ids=[*"abc"], files=gathered(files, "s3://conn@bucket/kites/")
    )

    event = written(made.as_openlineage(), tmp_path)

    assert datasets(event, "outputs") == [("s3://bucket", "kites/")]
    statistics = event["outputs"][0]["outputFacets"]["outputStatistics"]
    assert (statistics["size"], statistics["fileCount"]) == (30, 3)
    assert (len(event["inputs"]), event["run"]["facets"]["imageTasks"]["imageTaskCount"]) == (2, 3)


def test_an_id_that_is_a_whole_record_is_named_by_its_hash(tmp_path: Path) -> None:
    made = Lineage(service="xhuoapi", models=[], image_task_ids=["inline:" + "A" * 5_000])

    ((_, name),) = datasets(written(made.as_openlineage(), tmp_path), "inputs")

    assert name.startswith("inline:")
    assert len(name) < 50


def test_a_task_that_did_not_get_so_far_has_none() -> None:
    task = ImageTaskSubmitOperator(task_id="submit", prompt="a red kite")

    assert task.get_openlineage_facets_on_complete(None) is None
