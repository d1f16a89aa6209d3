from __future__ import annotations

import importlib
from datetime import timedelta
from typing import Any

import airflow
import pytest
from packaging.version import Version

from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    ImageTaskError,
    RateLimitError,
    ServiceUnavailableError,
)

HAS_POLICIES = Version(airflow.__version__) >= Version("3.3")


def decide(error: BaseException) -> Any:
    module = importlib.import_module("airflow_provider_imagetasks.operators.retry_policy")
    return module.ImageTaskRetryPolicy().evaluate(error, 1, 3)


@pytest.mark.parametrize(
    ("error", "action", "delay"),
    [
        (RateLimitError("slowly", retry_after=90), "retry", timedelta(seconds=90)),
        (RateLimitError("slowly", retry_after=86_400), "retry", timedelta(hours=1)),
        (RateLimitError("slowly"), "default", None),
        (ServiceUnavailableError("down"), "default", None),
        (ContentPolicyError("no"), "fail", None),
        (ImageTaskError("odd", retryable=False), "fail", None),
        (ValueError("not ours"), "default", None),
    ],
)
def test_the_error_decides(error: BaseException, action: str, delay: timedelta | None) -> None:
    if not HAS_POLICIES:
        # Airflow before 3.3 has no retry policies, and says so when ours is imported.
        with pytest.raises(ImportError):
            decide(error)
        return

    decision = decide(error)

    assert (decision.action.value, decision.retry_delay) == (action, delay)


def test_it_survives_the_serialisation_of_a_dag() -> None:
    if not HAS_POLICIES:
        with pytest.raises(ImportError):
            importlib.import_module("airflow_provider_imagetasks.operators.retry_policy")
        return

    policy = importlib.import_module("airflow_provider_imagetasks.operators.retry_policy").ImageTaskRetryPolicy()

    assert type(policy).deserialize(policy.serialize()) is not policy
