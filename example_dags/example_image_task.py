"""One picture: submit it, wait for it without holding a worker, and store it.

The connection may be an environment variable of every Airflow process. One for each service::

    export AIRFLOW_CONN_IMAGETASKS_DEFAULT='{"conn_type": "imagetasks", "password": "YOUR_KEY",
        "extra": {"service": "acedatacloud"}}'
    export AIRFLOW_CONN_IMAGETASKS_DEFAULT='{"conn_type": "imagetasks", "password": "sk-YOUR_KEY",
        "extra": {"service": "aigptimage"}}'
    export AIRFLOW_CONN_IMAGETASKS_DEFAULT='{"conn_type": "imagetasks", "extra": {"service": "local"}}'

The last one needs no key: start the service with ``python -m airflow_provider_imagetasks.local``.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks")

with DAG(
    dag_id="example_image_task",
    schedule=None,
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["imagetasks", "example"],
):
    submit = ImageTaskSubmitOperator(task_id="submit", prompt="a red kite over the sea, {{ run_id }}")
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, timeout=1800)
    save = ImageTaskDownloadOperator(
        task_id="save", image_task_id=wait.output, output_path=OUTPUT.rstrip("/") + "/{{ run_id }}/"
    )
