"""What the service took of a batch is looked for before it is paid for again, whatever was said of it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskFailedError, QuotaExceededError
from tests.image_batch import ImageBatch
from tests.scripted_server import Reply
from tests.status_route import StatusRoute

CLEAR = {"try_number": 3, "max_tries": 5}


@pytest.mark.parametrize("service_name", ["kie"], indirect=True)
@pytest.mark.parametrize("code", [408, 501, 531, 550])
class TestCodesWithoutRecords:
    """A code alone says neither that an image task is over for good, nor what it cost."""

    def test_it_is_not_believed_at_once(self, batch: ImageBatch, route: StatusRoute, code: int) -> None:
        route.breaks(Reply({"code": code, "msg": "Generation Failed", "data": None}), times=2)

        assert batch.start("a kite", poll_interval=1).state == "success"

    def test_where_it_stays_so_a_clear_looks_for_the_picture_before_it_pays(
        self, batch: ImageBatch, route: StatusRoute, code: int
    ) -> None:
        route.breaks(Reply({"code": code, "msg": "Generation Failed", "data": None}))
        given = {"max_cost": 1, "prices": {"gpt-image-2-text-to-image": 1}}
        failed = batch.start("a kite", poll_interval=1, **given)

        assert isinstance(failed.error, ImageTaskFailedError)
        assert "It may have been billed" in str(failed.error)
        assert "Clear looks for what was submitted" in str(failed.error)
        route.mend()
        assert batch.start("a kite", **given, **CLEAR).state == "success"
        assert batch.created == ["a kite"]
        assert batch.pushed()["cost"] == 1


FAILURES: dict[str, dict[str, Any]] = {
    "acedatacloud": {"finished_at": 1790000000, "response": {"success": False, "error": {"code": "api_error"}}},
    "aigptimage": {"state": "fail", "failCode": "500", "failMsg": "no luck"},
}


@pytest.mark.parametrize("service_name", FAILURES, indirect=True)
def test_a_clear_looks_for_what_has_an_id_whatever_its_record_said_before(
    batch: ImageBatch, route: StatusRoute, service_name: str
) -> None:
    def failure(ids: list[str]) -> Reply:
        if service_name == "aigptimage":
            return Reply({"code": 200, "msg": "success", "data": {"taskId": ids[0], **FAILURES[service_name]}})
        return Reply({"id": ids[0], **FAILURES[service_name]})

    route.broken = failure
    assert isinstance(batch.start("a kite", row_attempts=1).error, ImageTaskFailedError)
    route.mend()

    assert batch.start("a kite", **CLEAR).state == "success"
    assert batch.created == ["a kite"]


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_a_clear_of_what_did_fail_asks_for_a_new_picture_once(batch: ImageBatch) -> None:
    assert isinstance(batch.start("a kite [fail]", row_attempts=1).error, ImageTaskFailedError)
    assert isinstance(batch.start("a kite [fail]", row_attempts=1, **CLEAR).error, ImageTaskFailedError)

    assert batch.created == ["a kite [fail]"] * 2


@pytest.mark.parametrize("service_name", ["gpt_image_mcp"], indirect=True)
def test_an_empty_balance_on_the_record_of_an_earlier_try_does_not_keep_a_clear_from_submitting(
    batch: ImageBatch,
) -> None:
    prompt, small = "a kite [no-credit]", {"options": {"size": "64x64"}, "poll_interval": 1}
    for how in ({}, CLEAR):
        assert isinstance(batch.start(prompt, **small, **how).error, QuotaExceededError)

    assert batch.image_service.stats()["dialects"]["gpt_image_mcp"]["submissions"] == 2


WITH_PICTURES: dict[str, dict[str, Any]] = {
    "acedatacloud": {
        "finished_at": 1790000000,
        "response": {"error": {"code": "api_error"}, "data": [{"url": "https://cdn.example/a.png"}]},
    },
    "aigptimage": {
        "state": "fail",
        "failCode": "content_policy_violation",
        "resultJson": '{"resultUrls": ["https://cdn.example/a.png"]}',
    },
}


@pytest.mark.parametrize("service_name", WITH_PICTURES, indirect=True)
def test_what_failed_and_has_pictures_all_the_same_is_not_submitted_again_as_unbilled(
    batch: ImageBatch, route: StatusRoute, service_name: str
) -> None:
    def failure(ids: list[str]) -> Reply:
        record = WITH_PICTURES[service_name]
        if service_name == "aigptimage":
            return Reply({"code": 200, "msg": "success", "data": {"taskId": ids[0], **record}})
        return Reply({"id": ids[0], **record})

    route.broken = failure

    failed = batch.start("a kite")

    assert "its record names pictures" in str(failed.error)
    assert batch.rows[0]["error"]["billed"] == "unknown"
    assert batch.created == ["a kite"]
