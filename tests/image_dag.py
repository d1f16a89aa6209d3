"""A Dag of three tasks: submit an image task, wait for it, save its pictures; Airflow's own task runner runs each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from tests.task_runner import Outcome, TaskRunner


@dataclass
class ImageDag:
    """Runs one task at a time; each takes further arguments of its operator, by name.

    :param options: of each image task, unless a submission names others.
    """

    runner: TaskRunner
    output_folder: str
    options: dict[str, Any] = field(default_factory=dict)

    def submit(self, prompt: str = "a red kite", *, try_number: int = 1, **arguments: Any) -> Outcome:
        arguments = {"options": self.options, "retries": 2, **arguments}
        return self.runner.run(
            lambda: ImageTaskSubmitOperator(task_id="submit", prompt=prompt, **arguments), try_number=try_number
        )

    def sensor(self, image_task_id: Any = None, **arguments: Any) -> ImageTaskSensor:
        arguments = {"timeout": 20, "poll_interval": 1, **arguments}
        return ImageTaskSensor(task_id="wait", image_task_id=image_task_id or self.image_task_id, **arguments)

    def wait(self, image_task_id: Any = None, **arguments: Any) -> Outcome:
        """Wait for an image task, or several; without one for that which was submitted last. Likewise ``save``."""
        return self.runner.run(lambda: self.sensor(image_task_id, **arguments))

    def save(self, image_task_id: Any = None, **arguments: Any) -> Outcome:
        wanted = {"image_task_id": image_task_id or self.image_task_id, "output_path": self.output_folder}
        return self.runner.run(lambda: ImageTaskDownloadOperator(task_id="save", **wanted, **arguments))

    @property
    def image_task_id(self) -> str:
        """What was submitted last."""
        return str(self.runner.xcoms["submit", "return_value"])

    @property
    def record(self) -> Any:
        """What the sensor returned."""
        return self.runner.xcoms["wait", "return_value"]

    @property
    def files(self) -> Any:
        """What the download returned."""
        return self.runner.xcoms["save", "return_value"]["files"]
