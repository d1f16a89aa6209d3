"""Three models of one vendor side by side: the same prompt, one connection.

A model written ``api/model`` goes to that API of the service. The id that the submit task hands on says which it was:
sensor and download need nothing else.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG, task_group

from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks")
MODELS = ["gpt-image-2", "flux/flux-2-pro", "seedream/doubao-seedream-4-5-251128"]


@task_group
def picture(model: str) -> None:
    submit = ImageTaskSubmitOperator(
        task_id="submit", prompt="a red kite over the sea", model=model, map_index_template="{{ task.model }}"
    )
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, timeout=1800)
    ImageTaskDownloadOperator(
        task_id="save", image_task_id=wait.output, output_path=OUTPUT.rstrip("/") + "/{{ run_id }}/"
    )


with DAG(
    dag_id="example_image_task_models",
    schedule=None,
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["imagetasks", "example"],
):
    picture.expand(model=MODELS)
