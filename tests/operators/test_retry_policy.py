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
with_policies = pytest.mark.skipif(not HAS_POLICIES, reason="Airflow before 3.3 has no retry policies")


def policy() -> Any:
    return importlib.import_module("airflow_provider_imagetasks.operators.retry_policy").ImageTaskRetryPolicy()


@pytest.mark.skipif(HAS_POLICIES, reason="this Airflow has retry policies")
def test_an_airflow_without_policies_says_so_when_ours_is_imported() -> None:
    with pytest.raises(ImportError):
        policy()


@with_policies
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
    decision = policy().evaluate(error, 1, 3)

    assert (decision.action.value, decision.retry_delay) == (action, delay)


@with_policies
def test_it_survives_the_serialisation_of_a_dag() -> None:
    ours = policy()

    assert type(ours).deserialize(ours.serialize()) is not ours
