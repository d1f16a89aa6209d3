"""What a submission is answered: an id is proof that it was taken, and a paid id is never out of sight."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Context

from airflow_provider_imagetasks.batch.folder import BatchFolder
from airflow_provider_imagetasks.exceptions import ImageTaskError, UnknownOutcomeError
from airflow_provider_imagetasks.operators import image_task as operators
from airflow_provider_imagetasks.operators.image_task import ImageTaskSubmitOperator
from airflow_provider_imagetasks.submissions import stores
from airflow_provider_imagetasks.submissions.stores import store_for
from tests.image_batch import ImageBatch
from tests.image_dag import ImageDag
from tests.scripted_server import CutAfterReading, Reply
from tests.status_route import StatusRoute

pytestmark = pytest.mark.usefixtures("skipped_pauses")
REST = pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi", "aigptimage", "kie"], indirect=True)
FINDS = pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi"], indirect=True)
KEEPS_STATE = pytest.mark.skipif(
    "task_state_store" not in Context.__annotations__, reason="Airflow keeps no state of tasks before 3.3"
)
BLIND = pytest.mark.parametrize("service_name", ["kie"], indirect=True)


def refused(body: dict[str, Any], status: int) -> Reply:
    """Return a refusal in the words of either family, with what the service had answered beside it."""
    return Reply(
        {**body, "code": status, "msg": "no", "error": {"code": "bad_request", "message": "no"}}, status=status
    )


@REST
@pytest.mark.parametrize("status", [400, 402, 409, 422, 429, 500])
def test_a_refusal_that_names_an_image_task_was_taken(dag: ImageDag, route: StatusRoute, status: int) -> None:
    route.answered = lambda body: refused(body, status)

    outcome = dag.submit()

    assert outcome.state == "success", outcome.error
    assert [entry["id"] for entry in dag.created] == [dag.image_task_id]
    assert dag.wait().state == "success"


@REST
def test_a_refusal_that_names_an_image_task_is_a_submitted_row(batch: ImageBatch, route: StatusRoute) -> None:
    route.answered = lambda body: refused(body, 422)

    assert batch.start("a kite", "a boat", options={}, poll_interval=1).state == "success"
    assert batch.created == ["a boat", "a kite"]


@BLIND
@pytest.mark.parametrize("field", ["task_id", "recordId"])
def test_a_refusal_that_names_one_in_an_odd_place_may_be_taken_and_is_not_sent_again(
    dag: ImageDag, route: StatusRoute, field: str
) -> None:
    route.answered = lambda body: Reply({"code": 429, "msg": "slowly", "data": {field: body["data"]["taskId"]}})

    outcome = dag.submit()

    (made,) = dag.created
    assert isinstance(outcome.error, UnknownOutcomeError)
    assert made["id"] in str(outcome.error)
    assert "It may have been billed" in str(outcome.error)


@BLIND
@pytest.mark.parametrize("field", ["image_task_id", "finished"])
def test_an_id_that_cannot_be_written_down_is_named_in_the_error(
    dag: ImageDag, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, field: str
) -> None:
    put_in_place = stores.put_in_place

    def full(content: bytes, *arguments: Any, **named: Any) -> None:
        if content.startswith(b"{") and json.loads(content)[field]:
            raise OSError("no space left on device")
        put_in_place(content, *arguments, **named)

    monkeypatch.setattr(stores, "put_in_place", full)
    monkeypatch.setattr(operators, "store_for", lambda _context, slot: store_for({}, slot))
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__LEDGER_PATH", f"file://{tmp_path}/ledger")

    outcome = dag.submit()

    (made,) = dag.created
    assert isinstance(outcome.error, ImageTaskError)
    assert f"Image task {made['id']} was submitted" in str(outcome.error)
    assert "It may have been billed" in str(outcome.error)
    pushed = dag.runner.xcoms["submit", "image_task" if field == "finished" else "image_task_refused"]
    assert made["id"] in str(pushed)


@BLIND
def test_ids_of_a_batch_that_cannot_be_written_down_are_named_in_the_log(
    batch: ImageBatch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = BatchFolder.write

    def full(folder: BatchFolder, name: str, source: Any) -> None:
        if name.startswith("intents") and b"image_task_id" in source:
            raise folder._unusable("written", name, OSError("no space left on device"))
        write(folder, name, source)

    monkeypatch.setattr(BatchFolder, "write", full)
    outcome = batch.start("a kite", options={})

    (made,) = batch.image_service.tasks
    assert "cannot be written" in str(outcome.error)
    assert f"{made.id} (row 0)" in caplog.text


@pytest.mark.parametrize("service_name", ["acedatacloud", "aigptimage", "kie"], indirect=True)
def test_an_answer_from_a_cache_is_not_taken_for_one_s_own(
    dag: ImageDag, route: StatusRoute, service_name: str
) -> None:
    first = dag.submitted()
    told: dict[str, Any] = {"task_id": first} if service_name == "acedatacloud" else {"data": {"taskId": first}}
    route.answered = lambda _body: Reply({"code": 200, **told}, headers={"Age": "30"})

    outcome = dag.submit(task_id="another")

    assert first not in dag.runner.xcoms.get(("another", "return_value"), "")
    # AceDataCloud is asked for it by its trace id.
    assert (outcome.state, isinstance(outcome.error, UnknownOutcomeError)) == (
        ("success", False) if service_name == "acedatacloud" else ("failed", True)
    )
    assert {request.headers["Cache-Control"] for request in route.server.requests} == {"no-store"}


CLEAR = {"try_number": 2, "max_tries": 3}


@KEEPS_STATE
@REST
def test_an_answer_that_repeats_that_of_before_a_clear_is_not_believed(
    dag: ImageDag, route: StatusRoute, service_name: str
) -> None:
    answers: list[dict[str, Any]] = []
    route.answered = lambda body: Reply(answers.append(body) or answers[0])  # type: ignore[func-returns-value]
    assert dag.submit().state == "success"
    first = dag.image_task_id
    cleared = dag.submit("a blue boat", **CLEAR)

    if service_name in ("acedatacloud", "xhuoapi"):
        # There it is found by its trace id.
        assert dag.image_task_id == dag.created[1]["id"] != first
    else:
        assert isinstance(cleared.error, UnknownOutcomeError)
        assert f"names image task {first}" in str(cleared.error)
    assert len(dag.created) == 2


@KEEPS_STATE
@FINDS
def test_under_a_trace_id_of_the_users_own_the_picture_of_before_a_clear_is_not_handed_on_again(
    dag: ImageDag, route: StatusRoute
) -> None:
    assert dag.submit(trace_id="order-17").state == "success"
    reaches = route.server.otherwise
    route.server.otherwise = lambda request: reaches(request) if "action" in (request.body or {}) else CutAfterReading()
    cleared = dag.submit(trace_id="order-17", **CLEAR)

    assert isinstance(cleared.error, UnknownOutcomeError)
    assert len(dag.created) == 1


@KEEPS_STATE
@BLIND
def test_an_answer_that_repeats_one_of_long_before_is_not_believed_either(dag: ImageDag, route: StatusRoute) -> None:
    answers: list[dict[str, Any]] = []
    route.answered = lambda body: Reply(answers.append(body) or body)  # type: ignore[func-returns-value]
    for number in range(3):
        assert dag.submit(try_number=1 + number, max_tries=2 + number).state == "success"
    route.answered = lambda _body: Reply(answers[0])
    cleared = dag.submit(try_number=4, max_tries=5)

    assert isinstance(cleared.error, UnknownOutcomeError)


PRICED: dict[str, Any] = {"options": {}, "prices": {"gpt-image-2-text-to-image": 1}, "poll_interval": 1}


def repeats_the_first(route: StatusRoute) -> None:
    """Have something on the way repeat the first answer to a submission for ever."""
    answers: list[dict[str, Any]] = []
    route.answered = lambda body: Reply(answers.append(body) or answers[0])  # type: ignore[func-returns-value]


@BLIND
class TestAnswersOfBeforeInABatch:
    """An image task that is on record already is not that of another submission."""

    def test_of_an_earlier_start(self, batch: ImageBatch, route: StatusRoute) -> None:
        repeats_the_first(route)
        assert batch.start("a kite", "a boat", max_cost=1, **PRICED).state == "failed"
        cleared = batch.start("a kite", "a boat", max_cost=5, **PRICED, **CLEAR)

        assert isinstance(cleared.error, UnknownOutcomeError)
        assert "an earlier submission of this batch" in str(cleared.error)
        assert (batch.statuses, batch.created) == ("succeeded failed", ["a boat", "a kite"])
        assert batch.rows[1]["error"]["billed"] == "unknown"

    def test_of_the_pictures_of_before_a_clear(self, batch: ImageBatch, route: StatusRoute) -> None:
        repeats_the_first(route)
        assert batch.start("a kite", **PRICED).state == "success"
        cleared = batch.start("a kite", **PRICED, **CLEAR)

        assert isinstance(cleared.error, UnknownOutcomeError)
        assert batch.created == ["a kite", "a kite"]

    def test_of_an_earlier_attempt_of_the_same_row(self, batch: ImageBatch, route: StatusRoute) -> None:
        repeats_the_first(route)
        assert batch.start("a kite [fail=500]", **PRICED).state == "failed"
        cleared = batch.start("a kite [fail=500]", **PRICED, **CLEAR)

        assert isinstance(cleared.error, UnknownOutcomeError)
        assert len(batch.created) == 2


@FINDS
class TestTraceIdsOfTheUsersOwn:
    def test_the_picture_of_another_task_under_the_same_one_is_not_handed_on(
        self, dag: ImageDag, route: StatusRoute
    ) -> None:
        assert dag.submit(trace_id="order-17").state == "success"
        reaches = route.server.otherwise
        route.server.otherwise = lambda asked: reaches(asked) if "action" in (asked.body or {}) else CutAfterReading()
        another = dag.submit(trace_id="order-17", task_id="another")

        assert isinstance(another.error, UnknownOutcomeError)
        assert ("another", "return_value") not in dag.runner.xcoms
        assert len(dag.created) == 1

    @pytest.mark.parametrize(
        ("others", "state"), [("order-17", "failed"), ("order-{{ 16 + 1 }}", "failed"), ("b", "success")]
    )
    def test_what_may_be_that_of_a_task_at_the_same_time_is_not_handed_on(
        self, dag: ImageDag, route: StatusRoute, others: str, state: str
    ) -> None:
        route.answered = lambda _body: Reply(b"down", status=500)

        def make() -> ImageTaskSubmitOperator:
            ImageTaskSubmitOperator(task_id="other", prompt="a red kite", trace_id=others)
            return ImageTaskSubmitOperator(task_id="submit", prompt="a red kite", trace_id="order-17")

        outcome = dag.runner.run(make)

        assert outcome.state == state
        assert isinstance(outcome.error, UnknownOutcomeError) is (state == "failed")
