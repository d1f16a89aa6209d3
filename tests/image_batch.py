"""The task of a batch, run by Airflow's own task runner, and what it leaves behind."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_imagetasks.batch.arguments import BatchLimits
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from tests.task_runner import Outcome, TaskRunner

DONE = {"status": "done"}


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the package runs after it."""


@dataclass
class ImageBatch:
    """Starts one task again and again, and says what came of it.

    :param arguments: of each start, unless it names others.
    :param limits: shorter than for users, since no service here takes a minute to write anything down.
    """

    runner: TaskRunner
    image_service: LocalImageService
    output_folder: str
    arguments: dict[str, Any] = field(default_factory=dict)
    limits: BatchLimits = field(default_factory=lambda: BatchLimits(idle=0.5, not_found_grace=1))
    was_started: bool = False

    def start(self, *prompts: Any, resume: Outcome | None = None, event: Any = DONE, **arguments: Any) -> Outcome:
        """Start the batch of these prompts, or take it up where it was deferred."""
        # A second start is a retry, unless a test says otherwise.
        how: dict[str, Any] = {"try_number": 2 if self.was_started else 1}
        how |= {name: arguments.pop(name) for name in ("try_number", "max_tries", "iteration") if name in arguments}
        usual = {"output_path": self.output_folder, "retries": 2, "deferrable": False, "options": {"size": "256x256"}}
        given = {**usual, **self.arguments, **({"prompts": list(prompts)} if prompts else {}), **arguments}

        def make() -> ImageBatchOperator:
            operator = ImageBatchOperator(task_id="batch", **given)
            operator.limits = self.limits
            return operator

        if resume is not None:
            return self.runner.resume(make, resume, event)
        self.runner.xcoms.clear()
        self.was_started = True
        return self.runner.run(make, **how)

    def pushed(self, key: str = "return_value") -> dict[str, Any]:
        return dict(self.runner.xcoms["batch", key])

    @property
    def created(self) -> list[str]:
        """The prompts of all image tasks, sorted."""
        return sorted(entry["prompt"] for entry in self.image_service.stats()["created"])

    @property
    def counts(self) -> dict[str, Any]:
        """What AceDataCloud's dialect was asked."""
        return dict(self.image_service.stats()["dialects"]["acedatacloud"])

    @property
    def folder(self) -> Path:
        return Path(urlsplit(self.pushed("image_batch")["folder"]).path)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the manifest."""
        return [json.loads(line) for line in (self.folder / "manifest.jsonl").read_text().splitlines()]

    @property
    def intents(self) -> list[str | None]:
        """The image task of each submission on record."""
        lines = [line for path in self.folder.glob("intents-*") for line in path.read_text().splitlines()[1:]]
        return [json.loads(line).get("image_task_id") for line in lines]

    @property
    def statuses(self) -> str:
        return " ".join(row["status"] for row in self.rows)
