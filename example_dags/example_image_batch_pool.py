"""One task a picture, and Airflow's own pool decides whose picture is made first, by priority_weight.

To keep within an account no pool is needed: `max_active_tasks` of the connection holds over all Dags. A pool is for the
order in which tasks come to it. A batch of one submits, waits and downloads in a single task, so that it can hold a
slot of a pool for as long as its image task runs: also while it is deferred, if the pool counts that. Make it once:

    airflow pools set --include-deferred image_account 2 "pictures that are made at the same time"
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks")
POOL = os.environ.get("IMAGETASKS_EXAMPLE_POOL", "image_account")

with DAG(
    dag_id="example_image_batch_pool",
    schedule=None,
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["imagetasks", "example"],
):
    ImageBatchOperator.partial(
        task_id="picture",
        output_path=OUTPUT.rstrip("/") + "/pool/{{ run_id }}/",
        options={"size": "512x512"},
        pool=POOL,
        deferrable=True,
        map_index_template="{{ task.prompts[:40] }}",
    ).expand(prompts=["a red kite over the sea", "a lighthouse in the fog", "a paper boat on a puddle"])
