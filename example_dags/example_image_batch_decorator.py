"""A batch whose prompts a function makes: it runs once, and what it returned is kept for every retry and Clear."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG, task

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks")


@task.image_batch(
    output_path=OUTPUT.rstrip("/") + "/covers/{{ run_id }}/",
    filename="{id}-{image_task_id}.{ext}",
    options={"size": "512x512"},
    deferrable=True,
)
def covers(genres: list[str]) -> list[dict]:
    return [{"id": genre, "prompt": f"a book cover for a {genre} novel, without text"} for genre in genres]


with DAG(
    dag_id="example_image_batch_decorator",
    schedule=None,
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["imagetasks", "example"],
):
    covers(["crime", "fantasy", "history"])
