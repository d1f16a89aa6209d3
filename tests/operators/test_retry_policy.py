from __future__ import annotations

import importlib
from datetime import timedelta
from typing import Any

import airflow
import pytest
from packaging.version import Version

from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    DownloadError,
    ImageTaskError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from tests.image_dag import ImageDag

HAS_POLICIES = Version(airflow.__version__) >= Version("3.3")
CAN_RESCHEDULE = Version(airflow.__version__) >= Version("3.4.0b1")
with_policies = pytest.mark.skipif(not HAS_POLICIES, reason="Airflow before 3.3 has no retry policies")


def policy(**settings: Any) -> Any:
    module = importlib.import_module("airflow_provider_imagetasks.operators.retry_policy")
    return module.ImageTaskRetryPolicy(**settings)


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
        (DownloadError("busy", retry_after=90), "retry", timedelta(seconds=90)),
        (DownloadError("cut off"), "default", None),
        (ServiceUnavailableError("down"), "default", None),
        (ContentPolicyError("no"), "fail", None),
        (ImageTaskError("odd", retryable=False), "fail", None),
        (ValueError("not ours"), "default", None),
    ],
)
@pytest.mark.skipif(CAN_RESCHEDULE, reason="this Airflow starts a task again without a retry")
def test_the_error_decides_whether_it_is_retried_and_after_how_long(
    error: BaseException, action: str, delay: timedelta | None
) -> None:
    decision = policy().evaluate(error, 1, 3)

    assert (decision.action.value, decision.retry_delay) == (action, delay)


@pytest.mark.skipif(not CAN_RESCHEDULE, reason="before Airflow 3.4 each start uses a retry")
@pytest.mark.parametrize(
    ("error", "action", "delay"),
    [
        (RateLimitError("slowly", retry_after=90), "reschedule", timedelta(seconds=90)),
        (RateLimitError("slowly", retry_after=86_400), "reschedule", timedelta(hours=1)),
        (RateLimitError("slowly"), "reschedule", None),
        (RateLimitError("slowly", billed="unknown", retry_after=9), "retry", timedelta(seconds=9)),
        (QuotaExceededError("empty"), "reschedule", None),
        (QuotaExceededError("empty", billed="unknown"), "fail", None),
        (ServiceUnavailableError("down", billed="no"), "reschedule", None),
        (ServiceUnavailableError("down"), "default", None),
        (UnknownOutcomeError("who knows"), "fail", None),
        (ContentPolicyError("no"), "fail", None),
        (ValueError("not ours"), "default", None),
    ],
)
def test_what_is_not_taken_now_and_not_billed_uses_no_retry(
    error: BaseException, action: str, delay: timedelta | None
) -> None:
    decision = policy(max_reschedules=20).evaluate(error, 1, 3)

    assert (decision.action.value, decision.retry_delay) == (action, delay)
    assert decision.max_reschedules == (20 if action == "reschedule" else None)


@pytest.mark.skipif(not CAN_RESCHEDULE, reason="before Airflow 3.4 each start uses a retry")
@pytest.mark.parametrize("word", ["429=99,retry-after=99", "no-credit"])
@pytest.mark.parametrize("service_name", ["acedatacloud", "kie"], indirect=True)
def test_refusals_cost_no_retry_and_then_the_picture_is_made_once(dag: ImageDag, word: str) -> None:
    dag.runner.try_id = "01a221ef-4744-786a-ac45-467df4603b22"
    refused = [dag.submit(f"a kite [{word}]", retry_policy=policy()).state for _ in range(3)]

    assert set(refused) == {"up_for_reschedule"}
    assert dag.created == []
    assert dag.submit("a kite", retry_policy=policy()).state == "success"
    assert dag.submit("a kite", retry_policy=policy()).state == "success"
    assert len(dag.created) == 1


@with_policies
def test_it_survives_the_serialisation_of_a_dag() -> None:
    ours = policy(max_reschedules=7, reschedule_timeout=timedelta(hours=2))
    again = type(ours).deserialize(ours.serialize())

    assert again is not ours
    assert (again.max_reschedules, again.reschedule_timeout) == (7, timedelta(hours=2))
    # As an earlier version wrote it.
    assert type(ours).deserialize({}).max_reschedules == policy().max_reschedules
