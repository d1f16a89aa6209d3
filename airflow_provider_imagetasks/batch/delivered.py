"""What a batch delivered, as assets and lineage tell of it: read from its manifest, and no more than they can use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.batch.requests_file import FrozenRequests
from airflow_provider_imagetasks.batch.segments import read_json_lines
from airflow_provider_imagetasks.observability.assets import MOST_EVENTS, Announcement, picture_extra
from airflow_provider_imagetasks.observability.lineage import MOST_DATASETS, Lineage, Made

MOST_MODELS = 20


class Delivered:
    """Adds up the rows of a manifest. Memory does not grow with the batch.

    :param service: name of the service.
    :param requests: what was asked for.
    """

    def __init__(self, service: str, requests: FrozenRequests) -> None:
        self._service = service
        self._requests = requests
        self._pictures: list[dict[str, Any]] = []
        self._files: list[Made] = []
        self._references: dict[str, None] = {}
        self._models: dict[str, None] = {}
        self._rows = self._count = self._bytes = 0

    def read(self, manifest: Path) -> None:
        """Take in a whole manifest, from a local file."""
        with manifest.open("rb") as file:
            for line in file:
                for row in read_json_lines(line):
                    self._add(row)

    def announcement(self, manifest: str) -> Announcement:
        """Return what asset events say.

        :param manifest: its URI.
        """
        return Announcement(pictures=self._pictures, count=self._count, bytes=self._bytes, manifest=manifest)

    def lineage(self, folder: str) -> Lineage:
        """Return what was read and made; the image tasks between them are the batch's own affair.

        :param folder: where the pictures are.
        """
        files = self._files
        if self._count > MOST_DATASETS:
            files = [Made(uri=folder, size=self._bytes, count=self._count)]
        return Lineage(
            service=self._service,
            models=list(self._models),
            image_task_ids=[],
            references=list(self._references),
            files=files,
            image_task_count=self._rows,
        )

    def _add(self, row: Mapping[str, Any]) -> None:
        files = row.get("files") or []
        if not files:
            return
        asked = self._requests.line(row["index"])
        model = asked.get("model")
        self._rows += 1
        if model and len(self._models) < MOST_MODELS:
            self._models.setdefault(model)
        for reference in (*(asked.get("images") or ()), asked.get("mask")):
            if reference and len(self._references) < MOST_DATASETS:
                self._references.setdefault(reference)
        for file in files:
            self._count += 1
            self._bytes += file["bytes"]
            if len(self._files) < MOST_DATASETS:
                self._files.append(Made(uri=file["uri"], size=file["bytes"]))
            if len(self._pictures) < MOST_EVENTS:
                extra = picture_extra(
                    file, service=self._service, model=model, prompt=row.get("prompt"), usage=row.get("usage")
                )
                self._pictures.append(extra)
