"""An edit: make a picture, then have the stored file redrawn.

``images`` takes URLs, or files on any object storage that the service then gets as an upload (AceDataCloud, XHuoAPI).
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG, task_group

from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks").rstrip("/") + "/{{ run_id }}/"


@task_group
def original() -> None:
    submit = ImageTaskSubmitOperator(task_id="submit", prompt="a quiet village square in summer")
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, timeout=1800)
    ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path=OUTPUT)


@task_group
def winter() -> None:
    submit = ImageTaskSubmitOperator(
        task_id="submit",
        prompt="the same square in deep snow, at night",
        images=["{{ ti.xcom_pull(task_ids='original.save')['files'][0]['uri'] }}"],
    )
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, timeout=1800)
    ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path=OUTPUT)


with DAG(
    dag_id="example_image_task_edit",
    schedule=None,
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["imagetasks", "example"],
):
    original() >> winter()
