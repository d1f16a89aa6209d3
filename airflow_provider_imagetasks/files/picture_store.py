"""Stores the pictures of image tasks: what is there intact stays, the rest is fetched, verified, put in place."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_imagetasks.exceptions import DownloadError, InvalidRequestError, UnsafeResultError
from airflow_provider_imagetasks.files.filenames import check_filename, file_name, holds, pattern_for_picture
from airflow_provider_imagetasks.files.object_storage import fetch_those_there, is_missing, put_in_place, uri_of
from airflow_provider_imagetasks.files.picture_structure import UnusablePictureError
from airflow_provider_imagetasks.files.pictures import EXTENSIONS, Picture, content_of, inspect_picture
from airflow_provider_imagetasks.files.shared_folder import fetch_shared
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.bounds import trace_of
from airflow_provider_imagetasks.tasks import MOST_IMAGES, GeneratedImage, ImageTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

_log = logging.getLogger(__name__)
Result = TypeVar("Result")
AT_THE_SAME_TIME = 16
"""Pictures that are fetched at the same time."""
AT_WORK = 2 * AT_THE_SAME_TIME
"""Pictures that are fetched, verified or stored at the same time: the most that lie on the worker's disk at once."""


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
        names = ("sha256", "bytes", "width", "height", "media_type")
        about_picture = {name: getattr(self.picture, name) for name in names}
        return {"uri": self.uri, **about_picture, "image_task_id": self.image_task_id, "index": self.index}


def download_images(
    tasks: Sequence[ImageTask], folder: ObjectStoragePath, *, filename: str, overwrite: bool, account: Account
) -> tuple[list[DownloadedFile], list[DownloadError]]:
    """Store all pictures of finished image tasks, several at a time. Free, and safe to repeat.

    :param filename: name pattern; where it holds the id, an intact file of that name is not fetched again.
    :param overwrite: fetch again what is there.
    :param account: the connection that the image tasks were read with.
    :returns: what is in place, in the order of the image tasks, and what could not be stored.
    :raises InvalidRequestError: the pattern cannot be used; nothing was fetched.
    """
    check_filename(filename)
    _require_distinct_names(tasks, filename)
    results = _run_apart(_download_all(tasks, folder, filename, overwrite, account))
    files = [result for result in results if isinstance(result, DownloadedFile)]
    return files, [result for result in results if isinstance(result, DownloadError)]


def _run_apart(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end in a thread of its own, since the caller's may be running an event loop.

    What ends the caller meanwhile, as a time limit of Airflow's does, ends it too.
    """
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[Result]]] = []
    is_ended = threading.Event()

    async def run() -> Result:
        task = asyncio.ensure_future(work)
        running.append((asyncio.get_running_loop(), task))
        if is_ended.is_set():
            # Before it could be told so.
            task.cancel()
        return await task

    with ThreadPoolExecutor(max_workers=1) as thread:
        future = thread.submit(asyncio.run, run())
        try:
            return future.result()
        except BaseException:
            is_ended.set()
            with suppress(RuntimeError):
                for loop, task in running:
                    loop.call_soon_threadsafe(task.cancel)
            raise


async def _download_all(
    tasks: Sequence[ImageTask], folder: ObjectStoragePath, filename: str, overwrite: bool, account: Account
) -> list[DownloadedFile | DownloadError]:
    async with PictureStore(folder, account, overwrite=overwrite) as store:
        stored = await asyncio.gather(*(store.store(task, filename) for task in tasks))
    return [result for results in stored for result in results]


def _require_distinct_names(tasks: Sequence[ImageTask], filename: str) -> None:
    """Refuse names that several pictures share, also where a store ignores case; say which are more than asked for."""
    names: set[str] = set()
    for task in tasks:
        asked = task.image_count_requested or 1
        if len(task.images) > asked:
            text = "Image task %s has %s pictures, and %s was asked for; those to spare are kept too."
            _log.warning(text, task.id[:80], len(task.images), asked)
        wanted = [name.lower() for one in _wanted(task, filename) if (name := one.name_if_any())]
        misses_index = len(wanted) > 1 < asked and not holds(filename, "index")
        if misses_index or names.intersection(wanted):
            missing = "{index}" if misses_index else "{image_task_id}, or save the image tasks in folders of their own"
            raise InvalidRequestError(
                f"filename {filename!r} gives several pictures one name; add {missing}", image_task_id=task.id
            )
        names.update(wanted)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One picture, the pattern of its name, and whether a file of that name may be it."""

    task: ImageTask
    image: GeneratedImage
    filename: str
    may_be_there: bool

    def name(self, extension: str) -> str:
        return file_name(self.filename, image_task_id=self.task.id, index=self.image.index, extension=extension)

    def name_if_any(self) -> str | None:
        """Return a name of it for comparisons; None where none can be made, of which storing it tells."""
        try:
            return self.name("x")
        except InvalidRequestError:
            return None

    def file(self, uri: str, picture: Picture, *, fetched: bool) -> DownloadedFile:
        return DownloadedFile(
            uri=uri, image_task_id=self.task.id, index=self.image.index, picture=picture, fetched=fetched
        )


def _wanted(task: ImageTask, filename: str, may_be_there: bool = False) -> list[_Wanted]:
    """Return the pictures of an image task that are kept, each of which has a name of its own."""
    images = task.images[:MOST_IMAGES]
    if len({image.index for image in images}) < len(images):
        images = tuple(replace(image, index=position) for position, image in enumerate(images))
    return [
        _Wanted(task, image, pattern_for_picture(filename, is_first=image is images[0]), may_be_there)
        for image in images
    ]


class PictureStore:
    """Brings pictures into one folder. Network on the event loop; decoding and storage in threads.

    An asynchronous context manager. Its threads are its own, so that nobody else on the loop waits for pictures.

    :param account: the connection that the image tasks are read with.
    :param overwrite: fetch again what is there intact, also where the name holds the id.
    """

    def __init__(self, folder: ObjectStoragePath, account: Account, *, overwrite: bool = False) -> None:
        self._folder = folder
        self._uri = uri_of(folder).rstrip("/")
        self._overwrite = overwrite
        self._account = account
        # Where pictures are fetched, and not wherever a Dag is read: the HTTP client takes 0.1 s to import.
        from airflow_provider_imagetasks.files.fetching import Fetcher

        self._fetcher = Fetcher(account)
        self._slots = asyncio.Semaphore(AT_WORK)
        self._fetches = asyncio.Semaphore(AT_THE_SAME_TIME)
        self._decoders = threading.Semaphore(os.cpu_count() or 1)
        self._scratch = tempfile.TemporaryDirectory(prefix="imagetasks-")
        self._numbers = count()
        self._is_new = False
        # How many threads Python starts goes by the processors; these mostly wait for storage.
        self._threads = ThreadPoolExecutor(AT_THE_SAME_TIME)

    async def __aenter__(self) -> PictureStore:
        # One question instead of several for each picture; a run's folder is often a new one.
        self._is_new = await self._in_thread(is_missing, self._folder)
        await self._fetcher.__aenter__()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        try:
            await self._fetcher.__aexit__()
        finally:
            self._threads.shutdown()
            self._scratch.cleanup()

    async def store(
        self, task: ImageTask, filename: str, *, may_be_there: bool = True
    ) -> list[DownloadedFile | DownloadError]:
        """Store all pictures of a finished image task. Free, and safe to repeat.

        :param filename: name pattern, checked; where it holds the id, an intact file of that name is not fetched again.
        :param may_be_there: False spares the look for such files.
        """
        # Names that hold the id tell image tasks apart, so that an existing file is the same picture.
        look = may_be_there and holds(filename, "image_task_id") and not (self._overwrite or self._is_new)
        wanted = _wanted(task, filename, look)
        # Nearly all have one, which needs no asyncio task of its own.
        stored = [await self._one(wanted[0])] if len(wanted) == 1 else await asyncio.gather(*map(self._one, wanted))
        if len(task.images) <= MOST_IMAGES:
            return stored
        error = UnsafeResultError(
            f"The image task has {len(task.images)} pictures; only the first {MOST_IMAGES} are stored, which is the "
            "most for one image task",
            image_task_id=task.id,
            service=task.service,
        )
        return [*stored, error]

    async def _one(self, wanted: _Wanted) -> DownloadedFile | DownloadError:
        task, image = wanted.task, wanted.image
        local = Path(self._scratch.name, str(next(self._numbers)))
        async with self._slots:
            content: bytes | Path = local
            try:
                if wanted.may_be_there:
                    kept = await self._in_thread(self._already_there, wanted, local)
                    if kept is not None:
                        return kept
                content = await self._fetched(image, local)
                return await self._in_thread(self._store, wanted, content)
            except Exception as error:  # noqa: BLE001 - whatever one picture does, the others are stored
                return undelivered(error, task, f"Picture {image.index}")
            finally:
                if content is local:
                    with suppress(OSError):
                        await self._in_thread(local.unlink, True)

    async def _fetched(self, image: GeneratedImage, local: Path) -> bytes | Path:
        if image.path:
            await self._in_thread(fetch_shared, image.path, local, self._account)
            return local
        if not image.url:
            return await self._in_thread(content_of, image)
        async with self._fetches:
            return await self._fetcher.fetch(image.url, local)

    async def _in_thread(self, call: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    def _already_there(self, wanted: _Wanted, local: Path) -> DownloadedFile | None:
        names = dict.fromkeys(map(wanted.name, EXTENSIONS))
        for name in fetch_those_there(self._folder, names, local):
            try:
                picture = inspect_picture(local, decode=False)
            except UnusablePictureError:
                continue
            if name == wanted.name(picture.extension):
                return wanted.file(f"{self._uri}/{name}", picture, fetched=False)
        return None

    def _store(self, wanted: _Wanted, content: bytes | Path) -> DownloadedFile:
        try:
            with self._decoders:
                picture = inspect_picture(content, decode=False)
        except UnusablePictureError as error:
            error_class = DownloadError if error.damaged else UnsafeResultError
            raise error_class(f"Picture {wanted.image.index} cannot be stored: {error}") from error
        name = wanted.name(picture.extension)
        put_in_place(content, self._folder, name)
        metrics.stored(wanted.task.service, picture.bytes)
        return wanted.file(f"{self._uri}/{name}", picture, fetched=True)


def undelivered(error: Exception, task: ImageTask, what: str) -> DownloadError:
    """Return the error of a finished image task, of which something could not be stored, whatever was raised.

    :param what: could not be stored, for the message.
    """
    facts: dict[str, Any] = {"image_task_id": task.id, "service": task.service}
    if isinstance(error, DownloadError):
        error.image_task_id, error.service = task.id, task.service
        # Its frames would hold the picture, and there may be thousands of errors until the others are stored.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return error
    if isinstance(error, InvalidRequestError):
        return DownloadError(f"{what} has no name: {error.message}", **facts)
    if isinstance(error, OSError):
        return DownloadError(f"{what} could not be stored for a while on the worker's disk: {error}", **facts)
    # What was raised may hold a signed address, so that it is no cause of the error, which Airflow would print.
    told = "%s of image task %s could not be stored, because of an unexpected error:\n%s"
    _log.error(told, what, task.id[:80], trace_of(error))
    return DownloadError(f"{what} could not be stored ({type(error).__name__}; the log has the whole error)", **facts)
