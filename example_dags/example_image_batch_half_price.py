"""A nightly catalogue at half the price: all shots as the provider's own batches, which are made within 24 hours.

The file has a request a line, like `{"id": "SKU-1001", "prompt": "a red kettle on slate"}`. The task hands the rows
over in files and waits on the triggerer, without a worker; once results are there, a worker reads them as a stream, and
stores each picture as its line comes. What a batch does not finish in its day is made anew. The result says what the
same pictures would have cost one by one.
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
    """Say what came of it, and what was saved."""
    alone = result.get("cost_one_by_one")
    saved = f", {alone - result['cost']:.2f} {result['currency']} less than one by one" if alone else ""
    return f"{result['succeeded']} of {result['total']} shots are in place{saved}, see {result['manifest']}"


with DAG(
    dag_id="example_image_batch_half_price",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
    doc_md=__doc__,
    tags=["imagetasks", "example"],
):
    shots = ImageBatchOperator(
        task_id="shots",
        mode="provider_batch",
        conn_id="imagetasks_openai",
        requests_path=f"file://{REQUESTS}",
        output_path=OUTPUT.rstrip("/") + "/half-price/{{ run_id }}/",
        filename="{id}-{image_task_id}.{ext}",
        model="gpt-image-2",
        options={"size": "1024x1024", "quality": "low"},
        max_failed=0.02,
        deferrable=True,
    )
    report(shots.output)
