"""A person looks at the picture before it is published.

The picture is made and stored as a draft. The approval then waits for somebody, in the Airflow UI under "Required
Actions", without a worker; its text shows the picture. "Approve" publishes it, "Reject" skips that.

The picture in the text is loaded by the reviewer's browser from the service's own address, which expires after some
hours or days, by the service. The draft does not.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, ObjectStoragePath, task

from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks").rstrip("/")
BODY = """\
![the picture]({{ ti.xcom_pull(task_ids='wait')['images'][0]['url'] }})

> {{ ti.xcom_pull(task_ids='wait')['prompt'] }}

Draft: `{{ ti.xcom_pull(task_ids='save')['files'][0]['uri'] }}`
"""


@task
def publish(draft: str, folder: str) -> str:
    """Copy the approved draft to where it is published from, and return its place."""
    source = ObjectStoragePath(draft)
    target = ObjectStoragePath(folder) / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    source.copy(target)
    return str(target)


with DAG(
    dag_id="example_image_task_approval",
    schedule=None,
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["imagetasks", "example"],
):
    submit = ImageTaskSubmitOperator(task_id="submit", prompt="a lighthouse in the fog, for the front page")
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, timeout=1800)
    save = ImageTaskDownloadOperator(
        task_id="save", image_task_id=wait.output, output_path=OUTPUT + "/drafts/{{ run_id }}/"
    )
    approve = ApprovalOperator(
        task_id="approve",
        subject="Publish this picture?",
        body=BODY,
        # Nobody is there for two days: not published.
        response_timeout=timedelta(days=2),
        defaults="Reject",
    )
    (
        save
        >> approve
        >> publish("{{ ti.xcom_pull(task_ids='save')['files'][0]['uri'] }}", OUTPUT + "/published/{{ run_id }}")
    )
