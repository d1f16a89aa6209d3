"""A picture is made again until it is good enough, at most five times: a function looks at it, or a person does.

Task loops need Airflow 3.4; before it this file has no Dags. Each iteration asks for a picture of its own and pays for
it, and a retry or a Clear of one iteration is about that iteration's picture only. ``max_iterations`` bounds the cost.

``example_image_task_loop`` asks for more light each time, and stops where the picture became no brighter.
``example_image_task_loop_person`` asks a person, in the Airflow UI under "Required Actions", and what the person wishes
stands in the next prompt. Nobody's answer within two days keeps the picture: it must not pay unasked.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG, ObjectStoragePath, task, task_group
from PIL import Image, ImageStat

from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

OUTPUT = os.environ.get("IMAGETASKS_EXAMPLE_OUTPUT", "file:///tmp/imagetasks").rstrip("/")
HAS_LOOPS = hasattr(task_group(lambda: None), "loop")
BODY = """\
![the picture]({{ ti.xcom_pull(task_ids='make.wait')['images'][0]['url'] }})

> {{ ti.xcom_pull(task_ids='make.wait')['prompt'] }}
"""
WISH = "{% if loop.index %}, {{ loop.previous['params_input']['wish'] }}{% endif %}"
ARGUMENTS: dict[str, Any] = {
    "schedule": None,
    "start_date": datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the Dag's own timezone
    "catchup": False,
    "default_args": {"retries": 2, "retry_delay": timedelta(seconds=30)},
    "doc_md": __doc__,
    "tags": ["imagetasks", "example"],
}


def picture(prompt: str) -> ImageTaskDownloadOperator:
    """Make the three tasks of one picture, and return the one that stores it."""
    submit = ImageTaskSubmitOperator(task_id="submit", prompt=prompt)
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, timeout=1800)
    return ImageTaskDownloadOperator(
        task_id="save", image_task_id=wait.output, output_path=OUTPUT + "/loops/{{ dag.dag_id }}/{{ run_id }}/"
    )


@task
def look(saved: dict[str, Any]) -> dict[str, Any]:
    """Return where the picture of this iteration is, and how bright, from 0 to 255."""
    (file,) = saved["files"]
    with ObjectStoragePath(file["uri"]).open("rb") as stream, Image.open(stream) as image:
        brightness = ImageStat.Stat(image.convert("L")).mean[0]
    return {"uri": file["uri"], "image_task_id": file["image_task_id"], "brightness": round(brightness, 1)}


def no_brighter(*, loop: Any) -> Any:
    """Stop where the picture is no brighter than the one before, or is the last that may be made."""
    from airflow.sdk import LoopDecision

    now, before = loop.result["brightness"], loop.previous["brightness"] if loop.index else None
    is_last = loop.index + 1 == loop.max_iterations
    compared = ", the first picture" if before is None else f" after {before}"
    return LoopDecision(
        stop=is_last or (before is not None and now <= before),
        reason=f"brightness {now}{compared}{', and no further picture is made' if is_last else ''}",
    )


@task
def choose(*, ti: Any) -> dict[str, Any]:
    """Return the brightest picture of all iterations, each of which is read from outside of the loop."""
    brightest: dict[str, Any] = max(ti.xcom_pull(task_ids="make.look"), key=lambda each: each["brightness"])
    return brightest


def is_kept(*, loop: Any) -> Any:
    """Stop where the person keeps the picture, or where it is the last that may be made."""
    from airflow.sdk import LoopDecision

    (answer,) = loop.result["chosen_options"]
    is_last = loop.index + 1 == loop.max_iterations
    return LoopDecision(
        stop=is_last or answer == "Keep it",
        reason=f"the answer is {answer!r}{', and no further picture is made' if is_last else ''}",
    )


if HAS_LOOPS:
    with DAG(dag_id="example_image_task_loop", **ARGUMENTS):

        @task_group(group_id="make")
        def brighter() -> None:
            """Make a picture and measure it."""
            look(picture("a lighthouse in the fog{{ ', with more light' * loop.index }}").output)

        brighter.loop(max_iterations=5, until=no_brighter) >> choose()

    with DAG(dag_id="example_image_task_loop_person", **ARGUMENTS):

        @task_group(group_id="make")
        def wished() -> None:
            """Make a picture and ask for an opinion."""
            ask = HITLOperator(
                task_id="ask",
                subject="Keep this picture?",
                body=BODY,
                options=["Keep it", "Once more"],
                params={"wish": "with more light"},
                response_timeout=timedelta(days=2),
                defaults="Keep it",
            )
            picture(f"a lighthouse in the fog{WISH}") >> ask

        wished.loop(max_iterations=5, until=is_kept)
