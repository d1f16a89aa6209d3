"""The pictures of ``docs/images``: the gallery in a real Airflow with the local image service. ``make screenshots``."""

from __future__ import annotations

import io
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from dev.airflow_deployment import AirflowDeployment
from dev.browser import NoBrowserError, chromium, log_in
from dev.local_image_service import LocalImageServiceProcess

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
SIZE, TALL = {"width": 1280, "height": 800}, {"width": 1280, "height": 1060}
MOST_BYTES = 200_000
QUALITY = 84
DAG_ID, BATCH_ID = "postcards", "spring_catalogue"
SOURCE = """
from datetime import datetime

from airflow.sdk import DAG, task_group

from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

PROMPTS = [
    "a lighthouse on the cliff, first light", "two red kites over the dunes", "four balloons above a vineyard",
    "three sailing boats in the bay at sunset", "a postcard with the name of a living person [refuse]",
    "a lone kite in the evening wind", "a harbour with sailing boats, morning mist", "a lighthouse in a winter night",
    "five balloons over the sea", "a postcard that the service gives up on [fail]",
]
SUBJECTS = ["a lighthouse", "a red kite", "three balloons", "a sailing boat"]
LIGHTS = ["at dawn", "in the fog", "at noon", "at sunset", "at night", "after the rain", "in the snow"]
ROWS = [
    {"id": f"SKU-{1001 + number}", "prompt": f"{SUBJECTS[number % 4]} {LIGHTS[number % 7]}, wide angle, soft light"}
    for number in range(28)
]
for number, behaviour in ((4, "[refuse]"), (11, "[fail]"), (18, "[refuse]")):
    ROWS[number]["prompt"] += f" {behaviour}"

@task_group
def postcard(prompt):
    options = {"size": "1024x1024", "quality": "high"}
    submit = ImageTaskSubmitOperator(task_id="submit", prompt=prompt, options=options)
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, poke_interval=1)
    ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path="FOLDER/postcards")

with DAG("postcards", schedule=None):
    postcard.expand(prompt=PROMPTS)

with DAG("spring_catalogue", schedule=None):
    ImageBatchOperator(
        task_id="shots", requests=ROWS, output_path="FOLDER/catalogue", max_failed=0.2, row_attempts=1,
        prices={"gpt-image-2": "0.04 USD"}, deferrable=False, poll_interval=1,
    )
"""


def gallery_page(page: Page, _run_id: str) -> None:
    """The page of all Dags."""
    page.goto("/plugin/image-tasks")


def gallery_large_view(page: Page, _run_id: str) -> None:
    """One picture with all that is known of it."""
    page.goto(f"/plugin/image-tasks?pictures_dag_id={DAG_ID}&pictures_search=four balloons")
    page.locator("button.it-picture").first.click()
    page.wait_for_function("document.querySelector('.it-stage img')?.naturalWidth > 0")
    page.get_by_text("quality").wait_for()


def gallery_batch(page: Page, run_id: str) -> None:
    """A batch with its failures, on the tab of its task."""
    page.set_viewport_size(TALL)
    page.goto(f"/dags/{BATCH_ID}/runs/{run_id}/tasks/shots/plugin/image-tasks-task")


SHOTS = (gallery_page, gallery_large_view, gallery_batch)


def take(page: Page, name: str) -> int:
    """Wait until all pictures in sight are there, and keep what is to be seen; return the size of the file in bytes."""
    page.wait_for_function(
        """() => {
            const images = [...document.querySelectorAll('.it img')];
            const seen = images.filter(each => each.getBoundingClientRect().top < innerHeight);
            return seen.length && seen.every(each => each.complete && each.naturalWidth);
        }"""
    )
    path = IMAGES / f"{name}.webp"
    Image.open(io.BytesIO(page.screenshot(animations="disabled"))).save(path, quality=QUALITY, method=6)
    return path.stat().st_size


def main() -> int:
    """Make the pictures and return the exit code."""
    IMAGES.mkdir(exist_ok=True)
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="imagetasks-"))).resolve()
        service = running.enter_context(LocalImageServiceProcess(latency="2-6"))
        environment = {
            "AIRFLOW_CONN_IMAGETASKS_DEFAULT": service.connection("local"),
            "AIRFLOW__IMAGETASKS__GALLERY_ROOTS": f"file://{folder}",
        }
        airflow = running.enter_context(AirflowDeployment(environment=environment))
        airflow.write_dag(DAG_ID, SOURCE.replace("FOLDER", f"file://{folder}"))
        airflow.wait_for_dag(BATCH_ID)
        runs = {dag_id: airflow.api.trigger_dag(dag_id) for dag_id in (BATCH_ID, DAG_ID)}
        for dag_id, run_id in runs.items():
            airflow.api.wait_for_run(dag_id, run_id, timeout=600)
        try:
            browser = running.enter_context(chromium())
        except NoBrowserError as error:
            print(error)
            return 1
        context = browser.new_context(base_url=airflow.url, storage_state=log_in(browser, airflow), viewport=SIZE)
        too_large = False
        for shot in SHOTS:
            page = context.new_page()
            page.set_default_timeout(60_000)
            shot(page, runs[BATCH_ID])
            name = shot.__name__.replace("_", "-")
            size = take(page, name)
            too_large |= size > MOST_BYTES
            print(f"docs/images/{name}.webp: {size / 1000:.0f} kB{' is too large' if size > MOST_BYTES else ''}")
    return int(too_large)


if __name__ == "__main__":
    sys.exit(main())
