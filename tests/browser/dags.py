"""The Dags that the browser looks at."""

from __future__ import annotations

HOSTILE_PROMPT = "<img src=x onerror=\"document.title='owned'\"> a red kite"

CATALOGUE = """
from airflow.sdk import DAG, task, task_group
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

PROMPTS = [
    {hostile!r}, "a lighthouse in the fog", "a kite that is refused [refuse]", "a kite that fails [fail]",
    "a kite that takes its time [latency=1800]", "four balloons above a vineyard",
]

@task_group
def picture(prompt):
    submit = ImageTaskSubmitOperator(task_id="submit", prompt=prompt, options={{"n": 2}})
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, timeout=1800)
    ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path="file://{folder}/catalogue")

with DAG("catalogue", schedule=None):
    picture.expand(prompt=PROMPTS)

with DAG("kept_elsewhere", schedule=None):
    submit = ImageTaskSubmitOperator(task_id="submit", prompt="a kite that is kept elsewhere [latency=0]")
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output)
    ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path="file://{folder}-elsewhere")

for dag_id in ("no_pictures", "thousand"):
    with DAG(dag_id, schedule=None):
        @task
        def save():
            return None

        save()
"""

BATCH = """
import json
import time
from pathlib import Path

from airflow.sdk import DAG, BaseOperator
from batch_double import ProgressTrigger

FOLDER = Path({folder!r}) / "batch/.imagetasks/0123"
STEPS = [[4, 0], [9, 1], [15, 1], [22, 2], [30, 2]]
REFUSED = {{"class": "ContentPolicyError", "code": "moderation", "message": "The prompt was refused.", "billed": "no"}}


class Batch(BaseOperator):
    def execute(self, context):
        FOLDER.mkdir(parents=True, exist_ok=True)
        pictures = sorted(Path({folder!r}).glob("samples/*.png"))
        rows = [self.row(number, picture) for number, picture in enumerate(pictures[:5])]
        (FOLDER / "outcomes-0-000001.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows))
        ti = context["ti"]
        batch = {{"folder": f"file://{{FOLDER}}", "conn_id": "imagetasks_default", "service": "local"}}
        ti.xcom_push(key="image_batch", value={{**batch, "model": "gpt-image-2", "total": 40, "generation": 0}})
        place = {{"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": -1}}
        self.defer(trigger=ProgressTrigger(place=place, total=40, steps=STEPS, pause=6), method_name="resumed")

    def row(self, number, picture):
        file = {{"uri": f"file://{{picture}}", "sha256": picture.stem, "width": 1024, "height": 1024, "index": 0}}
        row = {{"id": f"row-{{number}}", "index": number, "image_task_id": "it"}}
        row["prompt"] = f"row {{number}} of a batch"
        if number == 3:
            return {{**row, "status": "failed", "files": [], "error": REFUSED}}
        return {{**row, "status": "succeeded", "files": [file], "error": None}}

    def resumed(self, context, event):
        pictures = sorted(Path({folder!r}).glob("samples/*.png"))
        rows = [self.row(number, pictures[number % len(pictures)]) for number in range(40)]
        manifest = FOLDER.parent.parent / "manifest.jsonl"
        manifest.write_text("".join(json.dumps(row) + "\\n" for row in rows))
        counts = {{"total": 40, "succeeded": 39, "failed": 1}}
        return {{"manifest": f"file://{{manifest}}", **counts, "cost": 1.6, "usage": None}}


with DAG("batch", schedule=None):
    Batch(task_id="make")
"""
