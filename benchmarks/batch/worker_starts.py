"""How often a batch takes a worker while its pictures come in over ten minutes: on a real Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess

CHECKOUT = Path(__file__).resolve().parents[2]
PICTURES = 300

_DAG = """
from pathlib import Path
from airflow.sdk import DAG
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator

STARTS = Path({folder!r}) / "starts"

class Counted(ImageBatchOperator):
    def execute(self, context):
        with STARTS.open("a") as file:
            file.write("execute\\n")
        return super().execute(context)

    def execute_complete(self, context, event=None):
        with STARTS.open("a") as file:
            file.write(f"{{event['status']}}\\n")
        return super().execute_complete(context, event)

with DAG("waits", schedule=None):
    Counted(
        task_id="batch",
        # Their image tasks end one after another, evenly over the whole time: the hardest case for few starts.
        prompts=[f"kite {{row}} [latency={{(row + 1) * {seconds} / {pictures}:.1f}}]" for row in range({pictures})],
        output_path="file://{folder}/pictures",
        options={{"size": "256x256"}},
        deferrable=True,
    )
"""


@dataclass(frozen=True, kw_only=True)
class StartFigures:
    """What a long wait took.

    :param starts: of workers: the first, and each resumption.
    :param seconds: until the last image task ends.
    """

    pictures: int
    seconds: float
    starts: int


def measure_starts(folder: Path, *, seconds: float) -> StartFigures:
    """Run a batch whose image tasks end evenly over some time.

    :param folder: for the pictures.
    :param seconds: until the last one ends.
    """
    with LocalImageServiceProcess(folder=CHECKOUT) as service:
        environment = {"AIRFLOW_CONN_IMAGETASKS_DEFAULT": service.connection("acedatacloud")}
        with AirflowDeployment(environment=environment) as deployment:
            source = _DAG.format(folder=str(folder), seconds=seconds, pictures=PICTURES)
            deployment.write_dag("waits", source)
            deployment.api.run_dag("waits", timeout=seconds + 300)
    found = len(list((folder / "pictures").glob("*.png")))
    if found != PICTURES:
        raise RuntimeError(f"{found} pictures instead of {PICTURES}")
    return StartFigures(pictures=PICTURES, seconds=seconds, starts=len((folder / "starts").read_text().splitlines()))
