"""Iterations of a task loop as people see them on Airflow 3.4: side by side, each on a tab of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.airflow_deployment import AirflowDeployment
from tests.browser.test_gallery_in_browser import wait_for_pictures
from tests.system.deployments import require_success, start_runs
from tests.task_runner import HAS_LOOPS

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Shoot

pytestmark = [
    pytest.mark.system,
    pytest.mark.long,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not HAS_LOOPS, reason="Airflow has no loops before 3.4"),
]
LOOP = """
with DAG("loop", schedule=None):

    @task_group
    def make():
        submit = ImageTaskSubmitOperator(task_id="submit", prompt="tower {{{{ loop.index }}}} [latency=0]")
        wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output)
        ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path="file://{folder}/loop")

    make.loop(max_iterations=3)
"""


@pytest.fixture(scope="module")
def run(airflow: AirflowDeployment, pictures: Path) -> str:
    """The address of a run of a loop that is over."""
    run_id = start_runs(airflow, LOOP.format(folder=pictures), "loop")["loop"]
    require_success(airflow, "loop", run_id, timeout=180)
    return f"/dags/loop/runs/{run_id}"


def test_the_iterations_of_a_run_stand_side_by_side_and_lead_to_their_own_tabs(
    page: Page, shoot: Shoot, run: str
) -> None:
    page.goto(f"{run}/plugin/image-tasks-run")
    wait_for_pictures(page, 3)
    names = [f"make.submit, iteration {index}" for index in range(3)]
    assert page.locator(".it-card .it-origin").all_inner_texts() == names
    shoot(page, "loop-run")

    page.get_by_role("link", name=names[1]).click()
    page.wait_for_url("**/tasks/make.submit/plugin/image-tasks-task?region_id=*&region_index=1")
    # The cards of the run stay in sight until those of the iteration are there.
    page.wait_for_function("document.querySelectorAll('.it-card').length === 1")
    wait_for_pictures(page, 1)
    assert page.locator(".it-card .it-prompt").all_inner_texts() == ["tower 1 [latency=0]"]
    shoot(page, "loop-iteration")


def test_the_log_of_an_iteration_is_reached_from_its_picture(page: Page, run: str) -> None:
    page.goto(f"{run}/plugin/image-tasks-run")
    wait_for_pictures(page, 3)

    page.locator(".it-card .it-picture").nth(2).click()
    page.locator("dialog").get_by_role("link", name="make.submit, iteration 2").click()

    page.wait_for_url("**/tasks/make.submit?region_id=*&region_index=2")
    page.get_by_text("tower 2").first.wait_for()
