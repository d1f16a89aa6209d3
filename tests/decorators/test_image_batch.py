"""``@task.image_batch``: what the function returns is made as a batch."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.decorators.image_batch import image_batch_task
from airflow_provider_imagetasks.local import LocalImageService
from tests.task_runner import TaskRunner

CALLS: list[int] = []


@pytest.fixture
def service_name() -> str:
    """The dialect of one service; what is tested here does not depend on it."""
    return "acedatacloud"


def run(runner: TaskRunner, output_folder: str, function: Any, **how: Any) -> Any:
    def make() -> Any:
        decorated = image_batch_task(
            function, output_path=output_folder, options={"size": "256x256"}, deferrable=False, task_id="batch"
        )
        return decorated("kite").operator

    return runner.run(make, **how)


def prompts(subject: str) -> list[str]:
    CALLS.append(1)
    return [f"a {subject}", f"two {subject}s"]


def requests(subject: str) -> list[dict[str, str]]:
    CALLS.append(1)
    return [{"prompt": f"a {subject}", "id": "one"}, {"prompt": "a boat [refuse]"}]


@pytest.mark.parametrize(("function", "expected"), [(prompts, ["a kite", "two kites"]), (requests, ["a kite"])])
def test_what_the_function_returns_is_submitted_and_it_runs_only_until_its_rows_are_frozen(
    runner: TaskRunner, output_folder: str, image_service: LocalImageService, function: Any, expected: list[str]
) -> None:
    CALLS.clear()
    run(runner, output_folder, function)
    assert runner.xcoms[("batch", "image_batch")]["total"] == 2
    run(runner, output_folder, function, try_number=2)

    assert sorted(entry["prompt"] for entry in image_service.stats()["created"]) == expected
    assert len(CALLS) == 1


def test_rows_cannot_be_given_twice(output_folder: str) -> None:
    with pytest.raises(ValueError, match="return the rows"):
        image_batch_task(prompts, output_path=output_folder, prompts=["a"])("kite")
