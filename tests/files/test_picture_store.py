"""Pictures are stored by threads of their own."""

from __future__ import annotations

import asyncio
import base64
import gc
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_provider_imagetasks.exceptions import DownloadError
from airflow_provider_imagetasks.files import picture_store
from airflow_provider_imagetasks.files.object_storage import open_folder
from airflow_provider_imagetasks.files.picture_store import AT_THE_SAME_TIME, DownloadedFile, PictureStore
from airflow_provider_imagetasks.files.picture_structure import UnusablePictureError
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState
from tests.batch.batches import Easel, arguments, intents, opened
from tests.files import hostile_pictures
from tests.polled_accounts import account


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
