"""Through AceDataCloud's MCP server: make a picture, then have it redrawn from its URL.

Needs ``pip install 'airflow-provider-imagetasks[mcp]'`` and this connection::

    export AIRFLOW_CONN_IMAGETASKS_ACEDATACLOUD_MCP='{"conn_type": "imagetasks", "password": "YOUR_KEY",
        "extra": {"service": "acedatacloud_mcp"}}'

The server drops trace ids and takes no files; the service ``acedatacloud`` speaks to the same account without it.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks").rstrip("/") + "/{{ run_id }}/"
CONNECTION = "imagetasks_acedatacloud_mcp"

with DAG(
    dag_id="example_image_task_acedatacloud_mcp",
    schedule=None,
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    catchup=False,
    default_args={"conn_id": CONNECTION, "retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["imagetasks", "example", "mcp"],
):
    submit = ImageTaskSubmitOperator(task_id="submit", prompt="a quiet harbour at dawn")
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, timeout=1800)
    edit = ImageTaskSubmitOperator(
        task_id="edit",
        prompt="the same harbour in a storm",
        images=["{{ ti.xcom_pull(task_ids='wait')['images'][0]['url'] }}"],
    )
    wait_for_edit = ImageTaskSensor(task_id="wait_for_edit", image_task_id=edit.output, deferrable=True, timeout=1800)
    wait >> edit
    ImageTaskDownloadOperator(task_id="save", image_task_id=wait_for_edit.output, output_path=OUTPUT)
