"""A Dag of three tasks: submit an image task, wait for it, save its pictures; Airflow's own task runner runs each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from tests.task_runner import Outcome, TaskRunner

PREFIXES = {"fal": "fal-ai.flux."}
"""What stands before a service's own id, where that alone does not say where to ask."""


@dataclass
class ImageDag:
    """Runs one task at a time; each takes further arguments of its operator, by name.

    :param options: of each image task, unless a submission names others.
    """

    runner: TaskRunner
    image_service: LocalImageService
    output_folder: str
    options: dict[str, Any] = field(default_factory=dict)

    def submit(
        self,
        prompt: str = "a red kite",
        *,
        try_number: int = 1,
        max_tries: int = 2,
        iteration: int | None = None,
        **arguments: Any,
    ) -> Outcome:
        given = {"task_id": "submit", "prompt": prompt, "options": self.options, "retries": 2, **arguments}
        return self.runner.run(
            lambda: ImageTaskSubmitOperator(**given), try_number=try_number, max_tries=max_tries, iteration=iteration
        )

    def submitted(
        self, prompt: str = "a red kite", *, options: Mapping[str, Any] | None = None, **arguments: Any
    ) -> str:
        """Submit an image task from an Airflow task of its own, and return its id."""
        task_id = f"submit-{len(self.runner.xcoms)}"
        outcome = self.submit(prompt, task_id=task_id, options={**self.options, **(options or {})}, **arguments)
        assert outcome.state == "success", outcome.error
        self.runner.xcoms["submit", "return_value"] = self.runner.xcoms[task_id, "return_value"]
        return self.image_task_id

    def sensor(self, image_task_id: Any = None, **arguments: Any) -> ImageTaskSensor:
        if "trace_id" not in arguments:
            arguments["image_task_id"] = image_task_id or self.image_task_id
        return ImageTaskSensor(**{"task_id": "wait", "timeout": 20, "poll_interval": 1, "retries": 2, **arguments})

    def wait(
        self, image_task_id: Any = None, *, resume: Outcome | None = None, event: Any = None, **arguments: Any
    ) -> Outcome:
        """Wait for an image task, or several; without one for that which was submitted last. Likewise ``save``.

        :param resume: the deferral after which it goes on with the ``event`` of its trigger.
        """

        def make() -> ImageTaskSensor:
            return self.sensor(image_task_id, **arguments)

        return self.runner.run(make) if resume is None else self.runner.resume(make, resume, event)

    def save(self, image_task_id: Any = None, **arguments: Any) -> Outcome:
        wanted = {"image_task_id": image_task_id or self.image_task_id, "output_path": self.output_folder}
        return self.runner.run(lambda: ImageTaskDownloadOperator(task_id="save", **wanted, **arguments))

    @property
    def created(self) -> list[dict[str, Any]]:
        """What the service says of each image task that was submitted, by the id that is known here."""
        created = self.image_service.stats()["created"]
        return [{**entry, "id": f"{PREFIXES.get(entry['dialect'], '')}{entry['id']}"} for entry in created]

    @property
    def stored(self) -> list[Path]:
        """The files in the output folder."""
        folder = Path(self.output_folder.removeprefix("file://"))
        return sorted(folder.iterdir()) if folder.exists() else []

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
