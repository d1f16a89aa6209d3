"""What all routes of one local service share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.local.admission import Admission
from airflow_provider_imagetasks.local.callbacks import Callbacks
from airflow_provider_imagetasks.local.pictures import Painter, PictureOrder
from airflow_provider_imagetasks.local.records import TaskRecord, TaskTable
from airflow_provider_imagetasks.local.statistics import Statistics

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.options import ServiceOptions


class ServiceState:
    """The image tasks, counts and tools of one local service; used from its event loop only."""

    def __init__(self, options: ServiceOptions, *, dialects: tuple[str, ...]) -> None:
        self._dialects = dialects
        self.options = options
        self.painter = Painter()
        self.statistics = Statistics(dialects)
        self.callbacks = Callbacks(self.statistics)
        self.reset()

    def reset(self) -> None:
        """Forget every image task and every count."""
        self.statistics.reset()
        self.tasks = TaskTable(maximum=self.options.keep_tasks, separate_keys=bool(self.options.api_keys))
        self.admission = Admission(self.options, self.tasks, self.statistics)

    def reset_counts(self) -> None:
        """Set every count to zero; the image tasks stay."""
        self.statistics.reset()
        self.tasks.peak_active = self.tasks.active()

    def stats(self) -> dict[str, Any]:
        """Return all counts as plain JSON types."""
        return self.statistics.as_dict(
            active=self.tasks.active(), peak_active=self.tasks.peak_active, remembered=len(self.tasks)
        )

    async def picture(self, record: TaskRecord, index: int, *, width: int | None = None) -> bytes:
        """Return a picture of an image task as a file's bytes.

        :param index: which picture, from 0.
        :param width: draw it so many pixels wide, as a PNG, instead of as it was ordered.
        """
        full_width, full_height = record.size
        media_format = record.media_format
        size = record.size
        if width is not None and width < full_width:
            size = (width, max(1, round(full_height * width / full_width)))
            media_format = "png"
        order = PictureOrder(
            text=record.behaviours.text,
            model=record.model,
            index=index,
            count=record.image_count,
            size=size,
            media_format=media_format,
        )
        return await self.painter.paint(order)
