"""The Dags that the browser looks at, without what all Dags of the tests import."""

from __future__ import annotations

RUN_ID = "manual__2026-03-01T00:00:00+00:00"
"""As Airflow writes them."""
ROWS, THOUSAND = 24, 1000
HOSTILE_PROMPT = "<img src=x onerror=\"document.title='owned'\"> a red kite"

CATALOGUE = """
# What ends for want of a machine's time is tried again; what is refused is not.
PATIENT = {{"retries": 3, "retry_delay": timedelta(seconds=1)}}
PROMPTS = [
    {hostile!r}, "a lighthouse in the fog", "a kite that is refused [refuse]", "a kite that fails [fail]",
    "a kite that takes its time [latency=1800]", "four balloons above a vineyard",
]

@task_group
def picture(prompt):
    submit = ImageTaskSubmitOperator(task_id="submit", prompt=prompt, options={{"n": 2}})
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, timeout=1800)
    ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path="file://{folder}/catalogue")

with DAG("catalogue", schedule=None, default_args=PATIENT):
    picture.expand(prompt=PROMPTS)

SIZES = ["1024x1536", "256x2048", "1536x1024", "1024x1024"]

with DAG("portraits", schedule=None, default_args=PATIENT):
    submit = ImageTaskSubmitOperator.partial(task_id="submit", prompt="a tower [latency=0]").expand(
        options=[{{"size": size, "quality": "high"}} for size in SIZES]
    )
    wait = ImageTaskSensor.partial(task_id="wait").expand(image_task_id=submit.output)
    ImageTaskDownloadOperator.partial(task_id="save", output_path="file://{folder}/portraits").expand(
        image_task_id=wait.output
    )

with DAG("broken_downloads", schedule=None, default_args=PATIENT):
    submit = ImageTaskSubmitOperator(task_id="submit", prompt="a kite [latency=0] [file-html]")
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output)
    ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path="file://{folder}/broken")

with DAG("kept_elsewhere", schedule=None, default_args=PATIENT):
    submit = ImageTaskSubmitOperator(task_id="submit", prompt="a kite that is kept elsewhere [latency=0]")
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output)
    ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path="file://{folder}-elsewhere")

for dag_id in ("no_pictures", "thousand"):
    with DAG(dag_id, schedule=None, default_args=PATIENT):
        @task
        def save():
            return None

        save()
"""

BATCH = """
# Ready one after the other, so that one can watch; the fourth is refused at once.
PROMPTS = [f"row {{number}} of a batch [latency={{20 + 3 * number}}]" for number in range({rows})]
PROMPTS[3] = "row 3 of a batch [refuse]"

with DAG("batch", schedule=None, default_args={{"retries": 3, "retry_delay": timedelta(seconds=1)}}):
    ImageBatchOperator(
        task_id="make",
        prompts=PROMPTS,
        output_path="file://{folder}/batch",
        max_failed=1,
        poll_interval=2,
        deferrable=True,
    )
"""
