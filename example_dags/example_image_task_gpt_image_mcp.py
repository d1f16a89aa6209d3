"""Through one's own GPT-Image MCP server: a picture, read from the folder that the server writes to.

Needs ``pip install 'airflow-provider-imagetasks[mcp]'``, the server behind a bridge to streamable HTTP, and this
connection, whose ``output_dir`` is the server's ``OPENAI_IMAGE_OUTPUT_DIR`` (docs/mcp.md)::

    export AIRFLOW_CONN_IMAGETASKS_GPT_IMAGE_MCP='{"conn_type": "imagetasks", "host": "http://127.0.0.1:8096/mcp",
        "extra": {"service": "gpt_image_mcp", "output_dir": "/srv/images"}}'

The server's jobs end with its process: where it is restarted in the wait, the sensor ends at its timeout.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks").rstrip("/") + "/{{ run_id }}/"
CONNECTION = "imagetasks_gpt_image_mcp"

with DAG(
    dag_id="example_image_task_gpt_image_mcp",
    schedule=None,
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    catchup=False,
    default_args={"conn_id": CONNECTION, "retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["imagetasks", "example", "mcp"],
):
    submit = ImageTaskSubmitOperator(
        task_id="submit",
        prompt="a lighthouse in the fog",
        options={"size": "1024x1024", "quality": "low"},
    )
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, timeout=900)
    ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path=OUTPUT)
