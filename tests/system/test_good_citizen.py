"""What other parts of Airflow get from a run: assets start Dags, a person approves, lineage and metrics go out."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from dev.rest_api import AirflowRestApi, RestApiError, wait_until
from tests.statsd_receiver import StatsdReceiver
from tests.system.conftest import CHECKOUT
from tests.system.deployments import connections, manifest_rows, require_success, start_runs

pytestmark = pytest.mark.slow

EXAMPLES = CHECKOUT / "example_dags"
QUICK_START = CHECKOUT / "docs" / "quick-start.md"
PRODUCER = "example_image_task_assets"
CONSUMER = "example_image_task_new_pictures"
APPROVAL = "example_image_task_approval"
BATCH = """
with DAG("kite_batch", schedule=None):
    ImageBatchOperator(
        task_id="make",
        prompts=["a kite", "a boat", "a tree"],
        output_path={folder!r},
        deferrable=True,
        outlets=[AssetAlias("kite_batch_pictures")],
    )
"""
SERVICE = (("service", "acedatacloud"),)
LATENCY = "1-3"


@pytest.fixture(scope="module")
def statsd() -> Iterator[StatsdReceiver]:
    with StatsdReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def lineage_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lineage") / "events.json"


@pytest.fixture(scope="module")
def airflow(
    image_service: LocalImageServiceProcess,
    statsd: StatsdReceiver,
    lineage_file: Path,
    airflow_database_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AirflowDeployment]:
    """An Airflow that starts Dags on assets, and tells OpenLineage and a statsd server what it does."""
    folder = tmp_path_factory.mktemp("dags")
    for name in (PRODUCER, APPROVAL):
        shutil.copy(EXAMPLES / f"{name}.py", folder)
    environment = {
        **connections(image_service, default="acedatacloud"),
        "IMAGETASKS_EXAMPLE_OUTPUT": f"file://{tmp_path_factory.mktemp('pictures')}",
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
        "AIRFLOW__OPENLINEAGE__DISABLED": "False",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "file", "log_file_path": str(lineage_file), "append": True}
        ),
        **statsd.environment(),
    }
    with AirflowDeployment(
        dag_folders={"examples": folder}, environment=environment, database_template=airflow_database_template
    ) as deployment:
        for dag_id in (PRODUCER, CONSUMER, APPROVAL):
            deployment.wait_for_dag(dag_id)
        yield deployment


@pytest.fixture(scope="module")
def produced(airflow: AirflowDeployment) -> str:
    """The id of a run that announced its picture."""
    return airflow.api.run_dag(PRODUCER, timeout=180)


@pytest.fixture(scope="module")
def batch(airflow: AirflowDeployment, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a run of a batch."""
    source = BATCH.format(folder=f"file://{tmp_path_factory.mktemp('batch')}")
    run_id = start_runs(airflow, source, "kite_batch")["kite_batch"]
    require_success(airflow, "kite_batch", run_id, timeout=180)
    return run_id


def lineage(file: Path, *names: str) -> list[dict[str, Any]]:
    """Wait until tasks of these names have told OpenLineage that they are complete, and return what they told."""

    def completed() -> list[dict[str, Any]] | None:
        events = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        found = {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}
        return [found[name] for name in names] if found.keys() >= set(names) else None

    return wait_until(completed, timeout=60, what=f"the lineage of {', '.join(names)}")


def test_a_new_picture_starts_the_dag_that_waits_for_it(airflow: AirflowDeployment, produced: str) -> None:
    api = airflow.api
    (file,) = api.xcom(PRODUCER, produced, "save")["files"]

    def started() -> str | None:
        runs = list(api.pages(f"/dags/{CONSUMER}/dagRuns", "dag_runs"))
        return runs[0]["dag_run_id"] if runs else None

    run_id = wait_until(started, timeout=60, what="a run of the Dag that waits for pictures")
    require_success(airflow, CONSUMER, run_id, timeout=90)
    (picture,) = api.xcom(CONSUMER, run_id, "list_new_pictures")
    assert picture.items() >= file.items()
    assert picture["prompt"].startswith("an orchard in bloom")
    assert picture["model"] == "gpt-image-2"
    assert picture["usage"]["total_tokens"] > 0


def test_the_event_is_there_for_whoever_asks_airflow(airflow: AirflowDeployment, produced: str) -> None:
    (file,) = airflow.api.xcom(PRODUCER, produced, "save")["files"]

    (event,) = airflow.api.pages("/assets/events", "asset_events", source_run_id=produced)

    assert event["extra"]["sha256"] == file["sha256"]
    asset = airflow.api.request("GET", f"/assets/{event['asset_id']}")
    assert asset["uri"].startswith("file:///")
    assert asset["aliases"][0]["name"] == "imagetasks_example_pictures"


def test_openlineage_gets_what_each_task_read_and_made(
    airflow: AirflowDeployment, produced: str, lineage_file: Path
) -> None:
    (file,) = airflow.api.xcom(PRODUCER, produced, "save")["files"]

    events = lineage(lineage_file, f"{PRODUCER}.submit", f"{PRODUCER}.wait", f"{PRODUCER}.save")
    image_task = {"namespace": "imagetasks://acedatacloud", "name": file["image_task_id"]}
    submit, wait, save = events
    for dataset in (submit["outputs"][0], wait["inputs"][0], save["inputs"][0]):
        assert dataset.items() >= image_task.items()
    stored = save["outputs"][0]
    assert (stored["namespace"], stored["name"]) == ("file", urlsplit(file["uri"]).path)
    assert stored["outputFacets"]["outputStatistics"]["size"] == file["bytes"]
    for event in events:
        facet = event["run"]["facets"]["imageTasks"]
        assert (facet["service"], facet["models"]) == ("acedatacloud", ["gpt-image-2"])


def test_a_batch_announces_each_picture_and_tells_openlineage_its_files(
    airflow: AirflowDeployment, batch: str, lineage_file: Path
) -> None:
    rows = manifest_rows(airflow.api.xcom("kite_batch", batch, "make")["manifest"])
    files = {file["sha256"]: urlsplit(file["uri"]).path for row in rows for file in row["files"]}
    assert len(files) == 3

    events = list(airflow.api.pages("/assets/events", "asset_events", source_run_id=batch))
    assert {event["extra"]["sha256"] for event in events} == set(files)
    assert {event["extra"]["prompt"] for event in events} == {"a kite", "a boat", "a tree"}

    (event,) = lineage(lineage_file, "kite_batch.make")
    assert {output["name"] for output in event["outputs"]} == set(files.values())
    assert event["run"]["facets"]["imageTasks"]["service"] == "acedatacloud"


@pytest.mark.usefixtures("produced", "batch")
def test_statsd_gets_what_workers_and_the_triggerer_did(
    statsd: StatsdReceiver, image_service: LocalImageServiceProcess
) -> None:
    counts = image_service.stats()["dialects"]["acedatacloud"]

    assert statsd.totals("submitted") == {SERVICE: counts["created"]}
    assert statsd.totals("succeeded") == {SERVICE: counts["created"]}
    assert statsd.totals("pictures") == {SERVICE: counts["created"]}
    # All of them, those of the triggerer included.
    assert statsd.totals("polls") == {SERVICE: counts["status_queries"]}


def test_the_dag_of_the_quick_start_makes_its_picture(airflow: AirflowDeployment, tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", QUICK_START.read_text(), re.DOTALL)
    assert source.count("file:///tmp/kites/") == 1

    airflow.write_dag("first_picture", source.replace("file:///tmp/kites/", f"file://{tmp_path}/"))
    airflow.api.run_dag("first_picture", timeout=120)

    assert len(list(tmp_path.glob("*.png"))) == 1


def wait_until_parked(airflow: AirflowDeployment, run_id: str) -> None:
    """Wait until the scheduler knows that the approval's process has ended.

    Nobody answers faster than that; if somebody does, Airflow takes the end for that of the answered task and retries.
    """
    airflow.api.wait_for_task_state(APPROVAL, run_id, "approve", "awaiting_input", "deferred", timeout=120)
    ended = re.compile(rf"TaskInstance Finished: .*task_id=approve, run_id={re.escape(run_id)}")
    log = airflow.component("scheduler").log_tail
    wait_until(lambda: ended.search(log(lines=5_000)), timeout=60, what="the end of the approval's process")


def respond(
    api: AirflowRestApi,
    path: str,
    answer: str,
    wishes: Mapping[str, str] | None = None,
    region: Mapping[str, Any] | None = None,
) -> None:
    """Press the button, again where it had no effect: Airflow answers before a busy SQLite has taken the change."""
    chosen = {"chosen_options": [answer], "params_input": dict(wishes or {})}

    def is_pressed() -> bool:
        try:
            api.request("PATCH", path, json=chosen, params=region)
        except RestApiError as error:
            if error.status != requests.codes.conflict:
                raise
        return bool(api.request("GET", path, params=region)["response_received"])

    wait_until(is_pressed, timeout=60, what=f"the answer {answer}", interval=2)


@pytest.mark.parametrize(("answer", "published"), [("Approve", "success"), ("Reject", "skipped")])
def test_a_person_decides_what_is_published(airflow: AirflowDeployment, answer: str, published: str) -> None:
    api = airflow.api
    run_id = api.trigger_dag(APPROVAL)
    wait_until_parked(airflow, run_id)
    path = f"/dags/{APPROVAL}/dagRuns/{quote(run_id, safe='')}/taskInstances/approve/-1/hitlDetails"

    body = api.request("GET", path)["body"]
    url = body.partition("](")[2].partition(")")[0]
    with requests.Session() as session:
        session.trust_env = False
        shown = session.get(url, timeout=10)
    assert shown.headers["Content-Type"] == "image/png"
    respond(api, path, answer)

    require_success(airflow, APPROVAL, run_id, timeout=90)
    assert {task.task_id: task.state for task in api.task_instances(APPROVAL, run_id)}["publish"] == published
    if published == "success":
        target = Path(urlsplit(api.xcom(APPROVAL, run_id, "publish")).path)
        assert target.read_bytes() == shown.content
