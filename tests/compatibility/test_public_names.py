"""What users, third parties and Airflow's database name is importable from where it always was.

A name that moves breaks Dags, services of other packages, or waits that are stored: it stays importable from here.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import distribution
from typing import Any

import pytest

PACKAGE = "airflow_provider_imagetasks"
NAMES = {
    "operators.image_task": ("ImageTaskSubmitOperator", "ImageTaskDownloadOperator"),
    "operators.image_batch": ("ImageBatchOperator",),
    "sensors.image_task": ("ImageTaskSensor",),
    "hooks.image_task": ("ImageTaskHook",),
    "decorators.image_batch": ("image_batch_task",),
    "tasks": ("ImageRequest", "ImageTask", "ImageFile", "GeneratedImage", "TaskState"),
    "exceptions": (
        *("ImageTaskError", "AuthenticationError", "QuotaExceededError", "InvalidRequestError", "ContentPolicyError"),
        *("RateLimitError", "ServiceUnavailableError", "ProtocolError", "UnknownOutcomeError", "ImageTaskFailedError"),
        *(
            "ImageTaskNotFoundError",
            "ImageTaskTimeoutError",
            "DownloadError",
            "ResultExpiredError",
            "UnsafeResultError",
        ),
    ),
    "services": ("get_service", "known_services", "ENTRY_POINT_GROUP"),
    "services.base": ("Service",),
    "services.exchange": ("read", "submit", "patiently", "retry_after"),
    "services.wire": (
        *("Request", "Response", "Part", "ToolCall", "ToolListing", "ToolAnswer", "NoResponse", "Sleep", "Flow"),
        *("ask", "pause"),
    ),
    "services.refusals": ("unexplained", "CONTENT_POLICY_CODES", "STATUSES"),
    "services.tasks_api": ("TasksApiService",),
    "services.jobs_api": ("JobsApiService",),
    "services.acedatacloud": ("AceDataCloud",),
    "services.xhuoapi": ("XHuoApi",),
    "services.aigptimage": ("AiGptImage",),
    "services.kie": ("Kie",),
    "services.acedatacloud_mcp": ("AceDataCloudMcp",),
    "services.gpt_image_mcp": ("GptImageMcp",),
    "services.local_service": ("LocalService",),
    "local": ("LocalImageService",),
    "local.pytest_plugin": ("image_service",),
}
WAIT = {"conn_id": "c", "image_task_ids": ["a"], "deadline": 2.0, "poll_interval": 1.0, "asked_at": 1.0}
TRIGGERS = {
    "airflow_provider_imagetasks.triggers.image_task.ImageTaskTrigger": WAIT,
    "airflow_provider_imagetasks.triggers.image_batch.ImageBatchTrigger": {**WAIT, "wake_at": 1, "counts": {}},
}
ENTRY_POINTS = {
    ("apache_airflow_provider", "provider_info", "airflow_provider_imagetasks.provider_info:get_provider_info"),
    ("airflow.plugins", "imagetasks", "airflow_provider_imagetasks.ui.plugin:ImageTasksPlugin"),
    ("console_scripts", "imagetasks-local", "airflow_provider_imagetasks.local.__main__:main"),
    ("pytest11", "imagetasks", "airflow_provider_imagetasks.local.pytest_plugin"),
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in NAMES.items() for name in names])
def test_a_name_is_importable_from_where_it_always_was(module: str, name: str) -> None:
    assert hasattr(import_module(f"{PACKAGE}.{module}"), name)


@pytest.mark.parametrize(("path", "arguments"), TRIGGERS.items())
def test_a_trigger_is_stored_under_the_path_it_always_had(path: str, arguments: dict[str, Any]) -> None:
    module, _, name = path.rpartition(".")

    assert getattr(import_module(module), name)(**arguments).serialize()[0] == path


def test_the_retry_policy_is_where_airflow_has_such_policies() -> None:
    pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="Airflow 3.3 brings retry policies")

    assert import_module(f"{PACKAGE}.operators.retry_policy").ImageTaskRetryPolicy


def test_the_entry_points_are_those_that_airflow_pytest_and_users_call() -> None:
    installed = distribution("airflow-provider-imagetasks").entry_points

    assert {(entry.group, entry.name, entry.value) for entry in installed} == ENTRY_POINTS
    for entry in installed:
        assert entry.load()
