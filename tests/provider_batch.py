"""A batch that goes out as a provider's own batches, and what the local image service made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_imagetasks.batch.arguments import BatchLimits
from airflow_provider_imagetasks.local import LocalImageService
from tests.image_batch import ImageBatch

DAY = 86_400
LIMITS: dict[str, Any] = {"idle": 0.5, "not_found_grace": 0.2, "look": 0.0, "provider_interval": 0.05}
"""Shorter than for users: the local image service writes everything down at once."""
SMALL: dict[str, Any] = {"mode": "provider_batch", "options": {"size": "64x64"}}


class ProviderBatch(ImageBatch):
    """One task in the mode ``provider_batch``, started again and again."""

    def limited(self, **limits: Any) -> None:
        """Have other limits from the next start on."""
        self.limits = BatchLimits(**{**LIMITS, **limits})

    def another(self, folder: str) -> None:
        """Begin another batch with the next start, in a folder of its own."""
        self.runner.states.clear()
        self.output_folder, self.was_started = f"{self.output_folder}/{folder}", False

    @property
    def batches(self) -> int:
        """How many provider batches were asked for."""
        return int(self.asked["submissions"])

    @property
    def asked(self) -> dict[str, Any]:
        """What files and batches were asked for."""
        return dict(self.image_service.stats()["dialects"]["openai/batches"])

    @property
    def errors(self) -> list[tuple[str, str] | None]:
        """Class and bill of each row's error."""
        return [(row["error"]["class"], row["error"]["billed"]) if row["error"] else None for row in self.rows]

    @property
    def pictures(self) -> int:
        """How many pictures are in place."""
        return len(list(self.folder.parents[1].glob("*.png")))


def with_latency(service: LocalImageService, seconds: float) -> Callable[[], None]:
    """Have provider batches take so many seconds of the service's clock; return what undoes it."""
    before, service.batch_latency = service.batch_latency, seconds
    return lambda: setattr(service, "batch_latency", before)
