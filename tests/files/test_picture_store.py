"""Pictures are stored by threads of their own."""

from __future__ import annotations

import asyncio
import base64
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from airflow_provider_imagetasks.exceptions import DownloadError
from airflow_provider_imagetasks.files import picture_store
from airflow_provider_imagetasks.files.object_storage import open_folder
from airflow_provider_imagetasks.files.picture_store import (
    AT_THE_SAME_TIME,
    DownloadedFile,
    PictureStore,
    download_images,
)
from airflow_provider_imagetasks.files.picture_structure import UnusablePictureError
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState
from tests.batch.batches import Easel, arguments, intents, opened
from tests.files import hostile_pictures
from tests.polled_accounts import account
from tests.scripted_server import Reply, ScriptedServer


async def test_an_error_does_not_keep_the_picture_that_it_is_about(tmp_path: Path) -> None:
    damaged = hostile_pictures.whole("jpeg")[:-2] + bytes(1_000_000)
    image = GeneratedImage(index=0, data=base64.b64encode(damaged).decode())
    task = ImageTask(id="an-id", service="easel", state=TaskState.SUCCEEDED, images=(image,))
    async with PictureStore(open_folder(f"file://{tmp_path}/pictures"), account("https://api.example")) as store:
        errors = await store.store(task, "{image_task_id}.{ext}")
        gc.collect()

    held = [each for each in gc.get_objects() if issubclass(type(each), UnusablePictureError)]
    assert [(type(error), error.__traceback__, error.__cause__) for error in errors] == [(DownloadError, None, None)]
    assert held == []


class Struck(BaseException):
    """Stands for a time limit of Airflow's."""


def test_a_time_limit_that_strikes_before_the_first_request_leaves_none_to_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_proxy: None
) -> None:
    struck = threading.Event()

    class Slow(ThreadPoolExecutor):
        """Begins its work once the limit has struck, and whoever waits for it was told so."""

        def submit(self, work: Any, *arguments: Any) -> Any:  # type: ignore[override]
            if struck.is_set():
                return super().submit(work, *arguments)
            super().submit(lambda: struck.wait(60) and work(*arguments))
            return SimpleNamespace(result=strike)

        def __exit__(self, *exception: Any) -> None:
            struck.set()
            super().__exit__(*exception)

    def strike() -> None:
        raise Struck

    monkeypatch.setattr(picture_store, "ThreadPoolExecutor", Slow)
    with ScriptedServer(otherwise=lambda _request: Reply(b"", status=404)) as server:
        images = (GeneratedImage(index=0, url=f"{server.url}/a.png"),)
        task = ImageTask(id="a", service="easel", state=TaskState.SUCCEEDED, images=images)
        how = {"filename": "{image_task_id}.{ext}", "overwrite": False, "account": account(server.url)}
        with pytest.raises(Struck):
            download_images([task], open_folder(f"file://{tmp_path}/pictures"), **how)

    assert server.requests == []


async def test_ids_of_paid_submissions_never_wait_for_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    data = base64.b64encode((tmp_path / "picture.png").read_bytes()).decode()
    go_on, busy, put_in_place = threading.Event(), threading.Semaphore(0), picture_store.put_in_place

    def blocked(*places: Any) -> None:
        busy.release()
        go_on.wait(30)
        put_in_place(*places)

    monkeypatch.setattr(picture_store, "put_in_place", blocked)
    batch = opened(tmp_path, arguments(tmp_path, service=Easel()), ["a kite"])
    async with PictureStore(open_folder(f"file://{tmp_path}/pictures"), account("https://api.example")) as store:
        tasks = [
            ImageTask(
                id=f"id-{number}",
                service="easel",
                state=TaskState.SUCCEEDED,
                images=(GeneratedImage(index=0, data=data),),
            )
            for number in range(2 * AT_THE_SAME_TIME)
        ]
        storing = asyncio.gather(*(store.store(task, "{image_task_id}.{ext}") for task in tasks))
        for _ in range(AT_THE_SAME_TIME):
            await asyncio.to_thread(busy.acquire)

        name = await asyncio.wait_for(asyncio.to_thread(batch.ledger.intend, intents(batch)), 10)
        await asyncio.wait_for(asyncio.to_thread(batch.ledger.settle, name, []), 10)

        go_on.set()
        stored = [result for results in await storing for result in results]
    batch.close()
    assert all(isinstance(result, DownloadedFile) for result in stored)
