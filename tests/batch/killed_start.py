"""One start of a batch in a process of its own, for tests that kill it; its argument is the operator's, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import tests.conftest  # noqa: F401 - Airflow's settings for tests
from airflow_provider_imagetasks.batch.arguments import BatchLimits
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator


class Instance:
    """Stands for the task instance: a retry each time."""

    dag_id, task_id, run_id, map_index = "killed", "batch", "run", -1
    id, max_tries, try_number = "a-try", 9, 2

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep nothing."""


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    operator = ImageBatchOperator(task_id="batch", deferrable=False, **arguments)
    # What is absent at the service now will be absent in a minute: it writes an image task down at once.
    operator.limits = BatchLimits(look=1.0, not_found_grace=2.0)
    result = operator.execute({"ti": Instance()})  # type: ignore[typeddict-item]
    sys.stdout.write(json.dumps(result) + "\n")
