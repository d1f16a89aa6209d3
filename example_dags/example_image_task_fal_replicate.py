"""The same picture from fal and from Replicate, each by its own connection.

At fal a deferred sensor waits, and marking it failed cancels the request (``cancel_on_kill``). Replicate deletes
pictures after an hour, so there a batch of one makes it, which stores it as it comes.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks").rstrip("/") + "/{{ run_id }}/"
PROMPT = "a red kite over the sea"

with DAG(
    dag_id="example_image_task_fal_replicate",
    schedule=None,
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["imagetasks", "example"],
):
    submit = ImageTaskSubmitOperator(
        task_id="submit",
        conn_id="imagetasks_fal",
        prompt=PROMPT,
        model="fal-ai/flux/dev",
        options={"image_size": "landscape_4_3", "X-Fal-Queue-Priority": "low"},
    )
    wait = ImageTaskSensor(
        task_id="wait", conn_id="imagetasks_fal", image_task_id=submit.output, deferrable=True, timeout=1800
    )
    ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path=OUTPUT)

    ImageBatchOperator(
        task_id="at_replicate",
        conn_id="imagetasks_replicate",
        prompts=PROMPT,
        model="black-forest-labs/flux-schnell",
        options={"aspect_ratio": "4:3"},
        output_path=OUTPUT,
        deferrable=True,
    )
