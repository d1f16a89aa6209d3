"""A nightly catalogue: thousands of shots from a JSONL file as one task, with a budget for failures.

The file has a request a line, like `{"id": "SKU-1001", "prompt": "a red kettle on slate"}`. Up to two percent of them
may fail without failing the task; its log and the manifest say which. A retry never pays for a picture a second time,
and Clear repeats only what failed.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, task

from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks")
REQUESTS = Path(__file__).with_name("catalogue.jsonl")


@task
def report(result: dict) -> str:
    """Say what came of it; a real Dag would hand the manifest to the shop."""
    return f"{result['succeeded']} of {result['total']} shots are in place, see {result['manifest']}"


with DAG(
    dag_id="example_image_batch_catalogue",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=2)},
    doc_md=__doc__,
    tags=["imagetasks", "example"],
):
    shots = ImageBatchOperator(
        task_id="shots",
        requests_path=f"file://{REQUESTS}",
        output_path=OUTPUT.rstrip("/") + "/catalogue/{{ run_id }}/",
        filename="{id}-{image_task_id}.{ext}",
        options={"size": "512x512"},
        max_failed=0.02,
        deferrable=True,
    )
    report(shots.output)
