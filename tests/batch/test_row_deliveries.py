"""What becomes of a row whose image task has finished: its outcome with files and cost, or why there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from airflow_provider_imagetasks.batch.requests_file import FrozenRequests
from airflow_provider_imagetasks.batch.row_deliveries import Delivered, Delivery, Undelivered, deliver
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import DownloadError, ResultExpiredError, UnsafeResultError
from airflow_provider_imagetasks.files.picture_store import DownloadedFile, PictureStore
from airflow_provider_imagetasks.files.pictures import Picture
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState
from tests.batch.batches import LOG, Easel, arguments, opened
from tests.flow_driver import drive

TASK = ImageTask(
    id="an-id", service="easel", state=TaskState.SUCCEEDED, model="easel-1", usage={"credits": 3}, duration=4.5
)

FILENAME = "{row}-{id}-{index}.{ext}"


class Store:
    """Brings what it was told to bring, and remembers how it was asked."""

    def __init__(self, *results: DownloadedFile | DownloadError) -> None:
        self.results = results
        self.asked: list[tuple[str, bool]] = []

    async def store(self, task: ImageTask, filename: str, *, may_be_there: bool) -> Sequence[Any]:
        self.asked.append((filename, may_be_there))
        return list(self.results)


def stored(index: int) -> DownloadedFile:
    picture = Picture(
        extension="png", media_type="image/png", width=8, height=8, bytes=70, sha256="0" * 64, has_alpha=False
    )
    return DownloadedFile(uri=f"file:///{index}.png", image_task_id="an-id", index=index, picture=picture, fetched=True)


@pytest.fixture
def batch(tmp_path: Path) -> Iterator[OpenBatch]:
    row = {"prompt": "a kite", "id": "K1", "options": {"n": 2}}
    batch = opened(tmp_path, arguments(tmp_path, service=Easel(), filename=FILENAME), [row, "a boat"])
    yield batch
    batch.close()


async def delivered(
    path: Path, requests: FrozenRequests, store: Store, *, may_be_there: bool = True, record: ImageTask = TASK
) -> Delivery:
    # By a start of another filename: the names are those that were frozen.
    given = arguments(path, service=Easel(), prices={"easel-1": 0.5}, currency="EUR")
    pictures = cast(PictureStore, store)

    def read_one(_image_task_id: str) -> Flow[ImageTask]:
        yield from ()
        return record

    given.service.read_one = read_one  # type: ignore[method-assign]

    async def run(flow: Flow[Any]) -> Any:
        return drive(flow).result

    return await deliver(0, TASK, given, requests, pictures, run, may_be_there=may_be_there, log=LOG)


async def test_a_row_whose_pictures_are_in_place_has_files_usage_and_cost(tmp_path: Path, batch: OpenBatch) -> None:
    store = Store(stored(0), stored(1))

    delivery = await delivered(tmp_path, batch.requests, store, may_be_there=False)

    assert isinstance(delivery, Delivered)
    assert (delivery.outcome["id"], delivery.outcome["status"], delivery.outcome["cost"]) == ("K1", "succeeded", 1.0)
    assert [file["index"] for file in delivery.outcome["files"]] == [0, 1]
    assert delivery.outcome["usage"] == {"credits": 3}
    assert (delivery.outcome["duration"], delivery.outcome["currency"]) == (4.5, "EUR")
    assert store.asked == [("0-K1-{index}.{ext}", False)]


@pytest.mark.parametrize("froze", [{"options": {"webhook_url": "x"}}, {"images": ["http://["]}])
async def test_a_row_that_an_earlier_version_let_pass_is_delivered_at_a_cost_that_nobody_can_tell(
    tmp_path: Path, batch: OpenBatch, monkeypatch: pytest.MonkeyPatch, froze: dict[str, Any]
) -> None:
    line = {**batch.requests.line(0), **froze}
    monkeypatch.setattr(batch.requests, "line", lambda _index: line)

    delivery = await delivered(tmp_path, batch.requests, Store(stored(0), stored(1)))

    assert isinstance(delivery, Delivered)
    assert (len(delivery.outcome["files"]), delivery.outcome["cost"]) == (2, None)


async def test_fewer_pictures_than_asked_are_said_and_paid_for_as_many_as_there_are(
    tmp_path: Path, batch: OpenBatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    delivery = await delivered(tmp_path, batch.requests, Store(stored(0)))

    assert isinstance(delivery, Delivered)
    assert delivery.outcome["cost"] == 0.5
    assert "Row 0 has 1 of 2 pictures." in caplog.messages


async def test_one_picture_that_cannot_be_stored_leaves_the_row_undelivered(tmp_path: Path, batch: OpenBatch) -> None:
    error = UnsafeResultError("not a picture")

    delivery = await delivered(tmp_path, batch.requests, Store(stored(0), error))

    assert delivery == Undelivered(0, TASK, error)


MOVED = replace(TASK, images=(GeneratedImage(index=0, url="https://cdn.example/b.png"),))


@pytest.mark.parametrize(("record", "is_delivered"), [(MOVED, True), (TASK, False)], ids=["moved", "still there"])
async def test_a_row_whose_addresses_expired_is_read_once_more(
    tmp_path: Path, batch: OpenBatch, record: ImageTask, is_delivered: bool
) -> None:
    expired = ResultExpiredError("it answered HTTP 403", code="403")
    store = Store(expired)

    async def store_again(task: ImageTask, filename: str, *, may_be_there: bool) -> Sequence[Any]:
        store.asked.append((filename, may_be_there))
        return [stored(0)] if task.images == MOVED.images else [expired]

    store.store = store_again  # type: ignore[method-assign]
    delivery = await delivered(tmp_path, batch.requests, store, may_be_there=False, record=record)

    assert isinstance(delivery, Delivered if is_delivered else Undelivered)
    assert [asked for _, asked in store.asked] == ([False, True] if is_delivered else [False])
