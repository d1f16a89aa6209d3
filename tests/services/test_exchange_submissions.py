"""What a submission is answered with decides whether it is known; a surprise leaves that open."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ProtocolError, UnknownOutcomeError
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.wire import Request, Response
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from tests.flow_driver import DrivenFlow, drive, response


def submitted(interpret: Any, *answers: Response, repeatable: bool = False) -> DrivenFlow:
    """Submit with this reading of the answers."""
    flow = exchange.submit(
        Request(method="POST", path="/jobs"),
        interpret,
        service="easel",
        repeatable=repeatable,
        how_to_look="Look there.",
    )
    return drive(flow, *answers)


def task(image_task_id: str, state: TaskState = TaskState.RUNNING) -> ImageTask:
    return ImageTask(id=image_task_id, service="easel", state=state)


@pytest.mark.parametrize(
    "named", [task(""), task("", TaskState.NOT_FOUND), task("7", TaskState.NOT_FOUND)], ids=["no id", "404", "lost"]
)
def test_an_answer_that_names_no_image_task_leaves_the_outcome_unknown(named: ImageTask) -> None:
    error = submitted(lambda _answer: named, response({"status": "odd"})).error

    assert type(error) is UnknownOutcomeError
    assert (error.billed, error.retryable) == ("unknown", False)
    assert "names no image task" in error.message
    assert '{"status": "odd"}' in error.message


def test_a_surprise_in_the_answer_leaves_the_outcome_unknown_and_is_its_cause() -> None:
    error = submitted(lambda answer: answer.json()["id"], response({"status": "odd"})).error

    assert type(error) is UnknownOutcomeError
    assert isinstance(error.__cause__, KeyError)
    assert "KeyError: 'id'" in error.message


def test_a_submission_that_may_be_repeated_is_made_again_after_a_surprise() -> None:
    driven = submitted(lambda answer: task(answer.json()["id"]), response({}), response({"id": "7"}), repeatable=True)

    assert driven.result.id == "7"
    assert len(driven.requests) == 2


def test_a_definite_refusal_stays_one() -> None:
    def refuse(_answer: Response) -> ImageTask:
        raise ProtocolError("no", billed="no", retryable=False)

    error = submitted(refuse, response({})).error

    assert type(error) is ProtocolError
    assert error.billed == "no"
