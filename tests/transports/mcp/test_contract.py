"""What operators and sensor make of MCP servers, where that is not what they make of every other service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskFailedError,
    InvalidRequestError,
    QuotaExceededError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.local import LocalImageService
from tests.image_dag import ImageDag
from tests.task_runner import Outcome

SERVICES = ("acedatacloud_mcp", "gpt_image_mcp")
OF_SERVICE = pytest.mark.parametrize("service_name", SERVICES, indirect=True)
SMALL = {"size": "64x64"}


def created(service: LocalImageService, prompt: str) -> list[dict[str, Any]]:
    """Return the image tasks that the server made of a prompt."""
    return [entry for entry in service.stats()["created"] if entry["prompt"] == prompt]


def check_failed(outcome: Outcome, error: type[Exception], said: str = "") -> None:
    assert (outcome.state, isinstance(outcome.error, error)) == ("failed", True), outcome
    assert said in str(outcome.error)


@pytest.mark.parametrize(
    ("service_name", "directive", "error", "said"),
    [
        *((name, "refuse-late=content_policy_violation", ContentPolicyError, "") for name in SERVICES),
        ("gpt_image_mcp", "refuse", ContentPolicyError, "It was not billed"),
        ("gpt_image_mcp", "no-credit", QuotaExceededError, "It was not billed"),
        ("gpt_image_mcp", "expired-key", AuthenticationError, "OPENAI_API_KEY"),
        ("gpt_image_mcp", "429=9", ImageTaskFailedError, "It was not billed"),
        ("gpt_image_mcp", "no-images", ImageTaskFailedError, "It was billed"),
    ],
    indirect=["service_name"],
)
def test_an_image_task_that_was_refused_late_fails_the_sensor_without_retries(
    dag: ImageDag, directive: str, error: type[Exception], said: str
) -> None:
    assert dag.submit(f"a kite [{directive}]", options=SMALL).state == "success"
    check_failed(dag.wait(), error, said)
    assert dag.runner.xcoms["wait", "image_task_error"]["class"] == error.__name__


@pytest.mark.parametrize("service_name", SERVICES[1:], indirect=True)
def test_a_size_that_the_server_has_not_fails_the_sensor_and_was_not_billed(dag: ImageDag) -> None:
    assert dag.submit("a kite", options={"size": "12x12"}).state == "success"
    check_failed(dag.wait(), InvalidRequestError, "Invalid size for gpt-image-2: 12x12")
    assert dag.runner.xcoms["wait", "image_task_error"]["billed"] == "no"


@pytest.mark.parametrize("service_name", SERVICES[:1], indirect=True)
@pytest.mark.parametrize(
    ("directive", "error"),
    [
        ("refuse", ContentPolicyError),
        ("no-credit", QuotaExceededError),
        ("expired-key", AuthenticationError),
        ("error-in-200=insufficient_quota", QuotaExceededError),
    ],
)
def test_what_the_api_refuses_behind_the_server_fails_the_submission_at_once(
    dag: ImageDag, directive: str, error: type[Exception]
) -> None:
    check_failed(dag.submit(f"a kite [{directive}]"), error, "It was not billed")


@pytest.mark.parametrize("service_name", SERVICES[:1], indirect=True)
def test_a_rate_limit_behind_the_server_is_waited_for(dag: ImageDag) -> None:
    assert dag.submit("a kite [429=1]", options=SMALL).state == "success"


@OF_SERVICE
@pytest.mark.parametrize("directive", ["cut-after=1", "hang-after=1", "garbage=1", "500-after=1"])
def test_an_answer_that_is_lost_is_an_unknown_outcome_without_a_retry_and_one_picture(
    dag: ImageDag, image_service: LocalImageService, directive: str
) -> None:
    dag.runner.connections["imagetasks_default"]["extra"]["request_timeout"] = 6

    check_failed(dag.submit(f"a kite [{directive}]", options=SMALL), UnknownOutcomeError)
    assert len(created(image_service, f"a kite [{directive}]")) == 1


@pytest.mark.parametrize("service_name", SERVICES[1:], indirect=True)
@pytest.mark.parametrize("tool_name", ["edit_image", "transform_image"])
def test_files_are_edited_and_transformed(
    dag: ImageDag, image_service: LocalImageService, tmp_path: Path, tool_name: str
) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    prompt, options = f"an edit with {tool_name}", {"tool_name": tool_name}

    assert dag.submit(prompt, images=[str(tmp_path / "a.png")], options=options).state == "success"
    assert dag.wait().state == "success"
    (entry,) = created(image_service, prompt)
    assert len(entry["references"]) == 1
