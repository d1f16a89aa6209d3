"""Addresses of a batch's pictures that expired are read anew within the try, as the download operator does it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ResultExpiredError
from airflow_provider_imagetasks.files import fetching
from tests.files.result_server import PNG, TASK_ID, ResultServer
from tests.image_batch import ImageBatch
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer, Step

pytestmark = [
    pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True),
    pytest.mark.usefixtures("no_proxy"),
]


class Studio(ResultServer):
    """Takes submissions too, and counts them."""

    submitted = 0

    def __call__(self, request: ReceivedRequest) -> Step:
        if request.path.endswith("/generations"):
            self.submitted += 1
            return Reply({"task_id": TASK_ID})
        return super().__call__(request)


@pytest.fixture
def studio(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0)
    studio = Studio()
    with ScriptedServer(otherwise=studio) as server:
        studio.url = connection["host"] = server.url
        yield studio


def expired(request: ReceivedRequest) -> Reply | None:
    return Reply(b"<Error/>", status=403) if "old" in request.target else None


def test_a_row_whose_address_expired_is_delivered_in_the_same_start(batch: ImageBatch, studio: Studio) -> None:
    studio.records = [["{url}/a?sig=old"], ["{url}/a?sig=new"]]
    studio.answer = expired

    outcome = batch.start("a kite", row_attempts=1)

    assert outcome.state == "success", outcome.error
    assert (studio.submitted, studio.asked) == (1, 2)
    (file,) = batch.rows[0]["files"]
    assert Path(file["uri"].removeprefix("file://")).read_bytes() == PNG


def test_where_its_record_still_names_it_the_row_says_so_and_is_never_paid_for_again(
    batch: ImageBatch, studio: Studio
) -> None:
    studio.results = ["{url}/a?sig=old"]
    studio.answer = expired

    outcome = batch.start("a kite", row_attempts=1)
    asked = studio.asked
    assert batch.rows[0]["error"]["class"] == "ResultExpiredError"
    assert batch.rows[0]["error"]["billed"] == "yes"
    assert isinstance(outcome.error, ResultExpiredError)
    assert "old" not in str(outcome.error)

    studio.results = ["{url}/a?sig=new"]
    assert batch.start("a kite", row_attempts=1).state == "success"
    assert (studio.submitted, studio.asked > asked >= 2) == (1, True)
