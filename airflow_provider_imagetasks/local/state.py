"""What all routes of one local service share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_imagetasks.local.admission import Admission, Reason, RefusedError
from airflow_provider_imagetasks.local.callbacks import Callbacks
from airflow_provider_imagetasks.local.pictures import Painter, PictureOrder
from airflow_provider_imagetasks.local.records import TaskRecord, TaskTable
from airflow_provider_imagetasks.local.references import Backgrounds, References, digests, read_pictures, small_copy
from airflow_provider_imagetasks.local.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_imagetasks.local.options import ServiceOptions


_OWN_FILE = re.compile(r"/files/([0-9a-f-]{36})/(\d{1,3})\.[a-z]+")


class ServiceState:
    """The image tasks, counts and tools of one local service; used from its event loop only."""

    def __init__(self, options: ServiceOptions, *, dialects: tuple[str, ...]) -> None:
        self._dialects = dialects
        self._reset_with: list[Callable[[], None]] = []
        self.options = options
        self.painter = Painter()
        self.statistics = Statistics(dialects)
        self.callbacks = Callbacks(self.statistics)
        self.reset()

    def reset(self) -> None:
        """Forget every image task and every count."""
        self.callbacks.give_up()
        self.statistics.reset()
        self.backgrounds = Backgrounds()
        self.tasks = TaskTable(maximum=self.options.keep_tasks, separate_keys=bool(self.options.api_keys))
        self.admission = Admission(self.options, self.tasks, self.statistics)
        for forget in self._reset_with:
            forget()

    def on_reset(self, forget: Callable[[], None]) -> None:
        """Have something else forgotten too."""
        self._reset_with.append(forget)

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
            note=_note(record.references),
            background=self.backgrounds.get(record.references.background),
        )
        return await self.painter.paint(order)

    async def uploaded(self, files: list[bytes], mask: bytes | None) -> References:
        """Take over the uploaded files of an edit.

        :raises RefusedError: when one is not what the services take.
        """
        try:
            copy = await self.painter.run(read_pictures, files, mask)
        except ValueError as error:
            raise RefusedError(Reason.INVALID, str(error)) from error
        return References(
            names=await self.painter.run(digests, files),
            background=self.backgrounds.keep(copy.picture),
            size=copy.size,
            mask=mask is not None,
        )

    async def referenced(self, urls: list[str]) -> References:
        """Take over the URLs of an edit; nothing is fetched, so only pictures of this service are to be seen."""
        for url in urls:
            match = _OWN_FILE.fullmatch(urlsplit(url).path)
            record = None if match is None else self.tasks.get(match[1])
            if match is None or record is None or not record.finished or int(match[2]) >= record.image_count:
                continue
            copy = await self.painter.run(small_copy, await self.picture(record, int(match[2])))
            key = self.backgrounds.keep(copy.picture)
            return References(names=tuple(urls), background=key, size=copy.size)
        return References(names=tuple(urls))


def _note(references: References) -> str:
    """Return what is to be written on the picture about what it was made from."""
    names = references.names
    if not names:
        return ""
    first = names[0] if "/" in names[0] else f"file {names[0][:8]}"
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"edit of {first}{more}{', masked' if references.mask else ''}"
