"""New pictures start another Dag: each stored picture is an asset event of its own.

The download names an ``AssetAlias`` in its ``outlets``. The second Dag is scheduled on that alias: Airflow starts it
when pictures have come, and hands it their events, each with the picture's place, checksum, prompt and model.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, AssetAlias, task

from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks")
NEW_PICTURES = AssetAlias("imagetasks_example_pictures")
SETTINGS: dict[str, Any] = {
    "start_date": datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    "catchup": False,
    "default_args": {"retries": 2, "retry_delay": timedelta(seconds=30)},
    "doc_md": __doc__,
    "tags": ["imagetasks", "example"],
}

with DAG(dag_id="example_image_task_assets", schedule=None, **SETTINGS):
    submit = ImageTaskSubmitOperator(task_id="submit", prompt="an orchard in bloom, {{ run_id }}")
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, timeout=1800)
    save = ImageTaskDownloadOperator(
        task_id="save",
        image_task_id=wait.output,
        output_path=OUTPUT.rstrip("/") + "/{{ run_id }}/",
        outlets=[NEW_PICTURES],
    )


@task
def list_new_pictures(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
    """Return what the events say of each picture that this run was started for."""
    # Airflow lists each event twice: here, and under the picture's own asset.
    pictures = [event.extra for event in triggering_asset_events[NEW_PICTURES]]
    for picture in pictures:
        print(f"{picture['uri']} ({picture['width']} x {picture['height']}): {picture['prompt']}")  # noqa: T201
    return pictures


with DAG(dag_id="example_image_task_new_pictures", schedule=[NEW_PICTURES], **SETTINGS):
    list_new_pictures()
