"""One picture from OpenAI itself, as a background response.

The sensor is deferred while OpenAI works, and marking it failed cancels the response (``cancel_on_kill``). The picture
stays in the response, from which the download reads it: XCom has only the id. With ``quality`` and ``size`` its price
is known, so that a budget of the connection can count it.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks").rstrip("/") + "/{{ run_id }}/"

with DAG(
    dag_id="example_image_task_openai",
    schedule=None,
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["imagetasks", "example"],
):
    submit = ImageTaskSubmitOperator(
        task_id="submit",
        conn_id="imagetasks_openai",
        prompt="a red kite over the sea",
        model="gpt-image-2",
        options={
            "size": "1536x1024",
            "quality": "low",
            "output_format": "webp",
            "response": {"instructions": "Hand the text on to the tool word for word."},
        },
    )
    wait = ImageTaskSensor(
        task_id="wait", conn_id="imagetasks_openai", image_task_id=submit.output, deferrable=True, timeout=1800
    )
    ImageTaskDownloadOperator(
        task_id="save", conn_id="imagetasks_openai", image_task_id=wait.output, output_path=OUTPUT
    )
