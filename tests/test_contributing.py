"""The service that the documentation shows to whoever adds one is held against the contract as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ContentPolicyError, InvalidRequestError, UnknownOutcomeError
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.flow_driver import drive, response
from tests.services.wire_examples import A, account

PAGE = Path(__file__).parent.parent / "docs" / "adding-a-service.md"
AT = "https://api.bfl.ai/v1/get_result?id=7"


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """What the page defines."""
    service, test = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert service.count("\n") < 80
    namespace: dict[str, Any] = {}
    for block in (service, test):
        exec(compile(block, str(PAGE), "exec"), namespace)
    return namespace


@pytest.fixture
def service(shown: dict[str, Any]) -> Service:
    found: Service = shown["BlackForestLabs"]()
    return found


def test_the_service_shown_keeps_the_contract(shown: dict[str, Any]) -> None:
    shown["test_the_contract"]()


def test_an_image_task_is_asked_for_where_it_was_taken(service: Service) -> None:
    request = service.complete(ImageRequest(prompt="a kite", images=[A]), account())
    taken = response({"id": "7", "polling_url": AT.replace("api.", "api.eu1.")})

    submitted = drive(service.submit(request), taken)
    (asked,) = drive(service.read_one(submitted.result.id), response({"status": "Pending"})).requests
    (main,) = drive(service.read_one("7"), response({"status": "Pending"})).requests

    assert submitted.requests[0].body == {"prompt": "a kite", "input_image": A}
    assert submitted.result.id == "eu1.7"
    assert (asked.host, asked.parameters) == ("https://api.eu1.bfl.ai", {"id": "7"})
    assert main.host is None


def test_the_service_shown_does_not_take_a_strange_answer_for_a_submission(service: Service) -> None:
    request = service.complete(ImageRequest(prompt="a kite"), account())

    for answer in ({}, {"id": "7"}, {"id": "", "polling_url": AT}, {"id": "7", "polling_url": 5}, []):
        assert type(drive(service.submit(request), response(answer)).error) is UnknownOutcomeError


def test_the_service_shown_knows_a_refusal_by_content_and_takes_one_picture(service: Service) -> None:
    task = drive(service.read_one("7"), response({"status": "Content Moderated"})).result

    assert (type(task.error), task.error.code) == (ContentPolicyError, "Content Moderated")
    with pytest.raises(InvalidRequestError, match="at most 1"):
        service.complete(ImageRequest(prompt="a kite", images=[A, A]), account())
