"""Pictures on a schedule: submit, wait and download for each prompt.

The three tasks are mapped together as a group, so that a prompt that is refused does not keep the other prompts from
their pictures.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG, task_group

from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks")
PROMPTS = [
    "a red kite over the sea",
    "a lighthouse in the fog",
    "seven hot-air balloons above a vineyard",
    "a snowed-in mountain hut with a lit window",
    "a paper boat on a city puddle",
    "an orchard in bloom, seen from above",
]


@task_group
def picture(prompt: str) -> None:
    submit = ImageTaskSubmitOperator(task_id="submit", prompt=prompt, map_index_template="{{ task.prompt[:40] }}")
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, timeout=1800)
    ImageTaskDownloadOperator(
        task_id="save", image_task_id=wait.output, output_path=OUTPUT.rstrip("/") + "/{{ run_id }}/"
    )


with DAG(
    dag_id="example_image_task_mapped",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["imagetasks", "example"],
):
    picture.expand(prompt=PROMPTS)
