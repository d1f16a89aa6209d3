"""Stores the pictures of one image task: what is there intact stays, the rest is fetched, verified, put in place."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.account import Account
from airflow_provider_imagetasks.downloads.fetching import Fetcher
from airflow_provider_imagetasks.downloads.filenames import check_filename, file_name, holds_id
from airflow_provider_imagetasks.downloads.pictures import EXTENSIONS, Picture, inspect_picture
from airflow_provider_imagetasks.downloads.storage import fetch_existing, put_in_place, uri_of
from airflow_provider_imagetasks.exceptions import DownloadError, InvalidRequestError, UnsafeResultError
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath


@dataclass(frozen=True, kw_only=True)
class DownloadedFile:
    """A picture in its place.

    :param uri: where it is.
    :param index: its position in the image task, from 0.
    :param fetched: False where it was already there.
    """

    uri: str
    image_task_id: str
    index: int
    picture: Picture
    fetched: bool

    def as_xcom(self) -> dict[str, Any]:
        """Return ``{uri, sha256, bytes, width, height, media_type, image_task_id, index}``."""
        return {
            "uri": self.uri,
            "sha256": self.picture.sha256,
            "bytes": self.picture.bytes,
            "width": self.picture.width,
            "height": self.picture.height,
            "media_type": self.picture.media_type,
            "image_task_id": self.image_task_id,
            "index": self.index,
        }


def download_images(
    task: ImageTask, folder: ObjectStoragePath, *, filename: str, overwrite: bool, account: Account
) -> list[DownloadedFile]:
    """Store all pictures of a finished image task. Free, and safe to repeat.

    :param filename: name pattern; where it holds the id, an intact file of that name is not fetched again.
    :param overwrite: fetch again what is there.
    :param account: the connection that the image task was read with.
    :raises DownloadError: one could not be fetched or written; nothing incomplete stays.
    :raises InvalidRequestError: the pattern cannot be used.
    """
    check_filename(filename)
    _require_distinct_names(task, filename)
    keep = holds_id(filename) and not overwrite
    files = []
    with Fetcher(account) as fetcher, tempfile.TemporaryDirectory(prefix="imagetasks-") as scratch:
        for image in task.images:
            local = Path(scratch) / str(image.index)
            file = _already_there(task, image, folder, filename, local) if keep else None
            files.append(file or _fetched(task, image, folder, filename, local, fetcher))
            local.unlink(missing_ok=True)
    return files


def _require_distinct_names(task: ImageTask, filename: str) -> None:
    names = {file_name(filename, image_task_id=task.id, index=image.index, extension="x") for image in task.images}
    if len(names) < len(task.images):
        raise InvalidRequestError(
            f"filename {filename!r} gives the {len(task.images)} pictures of the image task one name; add {{index}}",
            image_task_id=task.id,
        )


def _already_there(
    task: ImageTask, image: GeneratedImage, folder: ObjectStoragePath, filename: str, local: Path
) -> DownloadedFile | None:
    for extension in EXTENSIONS:
        path = folder / file_name(filename, image_task_id=task.id, index=image.index, extension=extension)
        if not fetch_existing(path, local):
            continue
        try:
            picture = inspect_picture(local)
        except DownloadError:
            continue
        if picture.extension == extension:
            return DownloadedFile(
                uri=uri_of(path), image_task_id=task.id, index=image.index, picture=picture, fetched=False
            )
    return None


def _fetched(
    task: ImageTask, image: GeneratedImage, folder: ObjectStoragePath, filename: str, local: Path, fetcher: Fetcher
) -> DownloadedFile:
    try:
        _bring(image, local, fetcher)
        picture = inspect_picture(local)
        name = file_name(filename, image_task_id=task.id, index=image.index, extension=picture.extension)
        path = folder / name
        put_in_place(local, path)
    except DownloadError as error:
        error.image_task_id, error.service = task.id, task.service
        raise
    except OSError as error:
        raise DownloadError(
            f"Picture {image.index} could not be stored for a while on the worker's disk: {error}",
            image_task_id=task.id,
            service=task.service,
        ) from error
    return DownloadedFile(uri=uri_of(path), image_task_id=task.id, index=image.index, picture=picture, fetched=True)


def _bring(image: GeneratedImage, local: Path, fetcher: Fetcher) -> None:
    """Bring a picture to the worker's disk, from wherever the record says it is."""
    if image.url:
        fetcher.fetch(image.url, local)
    elif image.data is not None:
        try:
            local.write_bytes(image.content())
        except ValueError as error:
            raise UnsafeResultError(f"Picture {image.index} of the record cannot be read: {error}") from error
    else:
        raise UnsafeResultError(f"Picture {image.index} is a file at the service ({image.path}), out of reach here")
