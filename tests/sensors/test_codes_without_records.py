"""kie.ai says by a code alone that an image task is over: that is believed when it is said again, and ends the wait."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskFailedError
from tests.image_dag import ImageDag
from tests.scripted_server import Reply
from tests.status_route import StatusRoute

pytestmark = [
    pytest.mark.usefixtures("no_proxy", "skipped_pauses"),
    pytest.mark.parametrize("service_name", ["kie"], indirect=True),
]
TOO_LONG = Reply({"code": 408, "msg": "no result for over 10 minutes", "data": None})


@pytest.mark.parametrize("how", [{"deferrable": False}, {"deferrable": True}], ids=["in a worker", "deferrable"])
def test_a_sensor_asks_again(dag: ImageDag, route: StatusRoute, how: dict[str, Any]) -> None:
    image_task_id = dag.submitted()
    route.breaks(TOO_LONG, times=2)

    assert dag.wait(image_task_id, **how).state == "success"


def test_what_is_said_again_and_again_is_over_and_may_be_billed(dag: ImageDag, route: StatusRoute) -> None:
    image_task_id = dag.submitted()
    route.breaks(TOO_LONG)
    failed = dag.wait(image_task_id)

    assert isinstance(failed.error, ImageTaskFailedError)
    assert image_task_id in str(failed.error)
    assert "It may have been billed" in str(failed.error)
    assert "Clear asks for the same id again" in str(failed.error)
    route.mend()
    assert dag.wait(image_task_id).state == "success"


@pytest.mark.parametrize(("record", "state"), [({"state": "generating"}, "failed"), ({"state": "success"}, "success")])
def test_a_record_beside_the_code_says_how_it_stands(
    dag: ImageDag, route: StatusRoute, record: dict[str, Any], state: str
) -> None:
    image_task_id = dag.submitted()
    result = {"resultJson": {"resultUrls": ["https://cdn.example/a.png"]}}
    route.breaks(Reply({"code": 501, "msg": "?", "data": {"taskId": image_task_id, **record, **result}}))

    assert dag.wait(image_task_id, timeout=1).state == state
