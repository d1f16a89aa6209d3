"""Links on a task instance's page: its pictures in Airflow, and the service's own page."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_imagetasks.hooks.links import PicturesLink
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.provider_info import get_provider_info
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from tests.task_runner import HAS_LOOPS, LOOP, TaskRunner

TAB = "/dags/a_dag/runs/a_run/tasks/{}/plugin/image-tasks-task"


@pytest.mark.parametrize("service_name", ["kie", "xhuoapi"], indirect=True)
def test_submit_and_sensor_lead_to_the_pictures_and_to_the_service(
    runner: TaskRunner, service_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.org/airflow/")
    runner.run(lambda: ImageTaskSubmitOperator(task_id="submit", prompt="a red kite"))
    image_task_id = runner.xcoms[("submit", "return_value")]
    runner.run(lambda: ImageTaskSensor(task_id="wait", image_task_id=image_task_id))

    for task_id in ("submit", "wait"):
        pictures = runner.xcoms[(task_id, "_link_imagetasks_pictures")]
        assert pictures == "https://example.org/airflow" + TAB.format(task_id)
        console = {"kie": "https://kie.ai/logs", "xhuoapi": "https://platform.xhuoapi.ai"}[service_name]
        assert runner.xcoms[(task_id, "_link_imagetasks_console")] == console


@pytest.mark.parametrize("service_name", ["kie"], indirect=True)
def test_the_link_is_there_while_the_task_waits(runner: TaskRunner) -> None:
    outcome = runner.run(lambda: ImageTaskSensor(task_id="wait", image_task_id="not-there-yet", deferrable=True))

    assert outcome.state == "deferred"
    assert runner.xcoms[("wait", "_link_imagetasks_pictures")].endswith(TAB.format("wait"))


@pytest.mark.skipif(not HAS_LOOPS, reason="Airflow has no loops before 3.4")
@pytest.mark.parametrize("service_name", ["kie"], indirect=True)
def test_in_a_loop_the_link_leads_to_its_own_iteration(runner: TaskRunner) -> None:
    for iteration in range(2):
        runner.run(lambda: ImageTaskSubmitOperator(task_id="submit", prompt="a red kite"), iteration=iteration)

        link = runner.xcoms["submit", "_link_imagetasks_pictures"]
        assert link.endswith(TAB.format("submit") + f"?region_id={LOOP}&region_index={iteration}")


def test_airflow_is_told_of_each_link_since_it_drops_others_when_it_reads_a_dag() -> None:
    told = get_provider_info()["extra-links"]

    for operator in (ImageTaskSubmitOperator, ImageTaskDownloadOperator, ImageTaskSensor):
        for link in operator.operator_extra_links:
            assert f"{type(link).__module__}.{type(link).__qualname__}" in told


@pytest.mark.parametrize(
    ("run_id", "written"),
    [
        ("manual__2026-11-28T01:41:00+00:00", "manual__2026-11-28T01:41:00+00:00"),
        ("scheduled__2026-11-28T00:00:00+00:00", "scheduled__2026-11-28T00:00:00+00:00"),
        ("a run/with? all# of% it", "a%20run%2Fwith%3F%20all%23%20of%25%20it"),
    ],
)
def test_the_link_writes_a_run_id_as_airflow_does_which_knows_the_place_by_it(run_id: str, written: str) -> None:
    key = SimpleNamespace(dag_id="a_dag", run_id=run_id, task_id="group.wait", map_index=3)

    link = PicturesLink().get_link(
        ImageTaskDownloadOperator(task_id="x", image_task_id="i", output_path="file:///x"), ti_key=key
    )

    assert link.endswith(f"/dags/a_dag/runs/{written}/tasks/group.wait/mapped/3/plugin/image-tasks-task")
