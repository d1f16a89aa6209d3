"""Each operator's metrics, sent by Airflow's own statsd logger to a UDP port; and the table that lists them."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ContentPolicyError, UnknownOutcomeError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.submissions.ledger import SubmissionLedger
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState
from tests.conftest import SERVICES
from tests.image_dag import ImageDag
from tests.statsd_receiver import StatsdReceiver

TABLE = Path(__file__).parents[2] / "docs" / "metrics.md"
OVER_HTTP = ("acedatacloud", "xhuoapi", "aigptimage", "kie")


@pytest.fixture
def hook(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> ImageTaskHook:
    monkeypatch.setenv("AIRFLOW_CONN_COUNTED", json.dumps({"conn_type": "imagetasks", **connection}))
    return ImageTaskHook("counted")


def test_one_run_of_each_operator(dag: ImageDag, statsd: StatsdReceiver, of_service: Any, service_name: str) -> None:
    dag.submit()
    assert dag.wait().state == "success"
    for _ in range(2):
        # The second finds the picture there, and counts nothing.
        assert dag.save(dag.record).state == "success"

    # These are asked for the status of a job, then for its result.
    polls = 2 if service_name in ("gpt_image_mcp", "fal") else 1
    counted = {"submitted": 1, "succeeded": 1, "pictures": 1, "bytes": dag.files[0]["bytes"], "polls": 3 * polls}
    assert {name: statsd.totals(name) for name in counted} == {name: {of_service: n} for name, n in counted.items()}
    # It does not tell, in any time zone that is known, when a job began.
    kinds = {received.kind for received in statsd.all() if received.name == "imagetasks.run_time"}
    assert kinds == (set() if service_name == "gpt_image_mcp" else {"ms"})
    assert {received.name for received in statsd.all()} <= {metric.name for metric in metrics.METRICS}


def test_every_metric_has_the_tags_that_it_is_documented_with(statsd: StatsdReceiver) -> None:
    times = {"created_at": 10.0, "finished_at": 17.5, "duration": 5.0}
    usage = {"credits": 6, "total_tokens": 900}
    done = ImageTask(id="1", service="kie", state=TaskState.SUCCEEDED, usage=usage, **times)
    metrics.submitted("kie")
    metrics.not_submitted("kie", ContentPolicyError("no"))
    metrics.not_submitted("kie", UnknownOutcomeError("?"))
    metrics.ended(done, None)
    metrics.ended(done, ContentPolicyError("no"))
    metrics.waited_for_place("kie", 4)
    metrics.polled("kie", 3)
    metrics.stored("kie", 70_000)
    metrics.cost("kie", 0.03)
    metrics.paused("kie", "submit")
    metrics.account("kie", "shop", places=4, used={"budget_per_day": 0.5})

    sent = {received.name: received for received in statsd.all()}
    kinds = {"counter": "c", "timer": "ms", "gauge": "g"}
    assert {name: ([tag for tag, _ in received.tags], received.kind) for name, received in sent.items()} == {
        metric.name: (sorted(metric.tags), kinds[metric.kind]) for metric in metrics.METRICS
    }
    values = {
        "place_time": 4000,
        "queue_time": 2500,
        "run_time": 5000,
        "usage.credits": 6,
        "usage.tokens": 900,
        "cost": 0.03,
        "places": 4,
        "budget_used": 0.5,
    }
    assert {name: sent[f"imagetasks.{name}"].value for name in values} == values


def test_the_table_lists_the_metrics_that_there_are() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \| ((?:`\w+`(?:, )?)+) \|", TABLE.read_text(), re.MULTILINE)

    listed = [(name, kind, tuple(re.findall(r"\w+", tags))) for name, kind, tags in rows]
    assert listed == [(metric.name, metric.kind, metric.tags) for metric in metrics.METRICS]


@pytest.mark.parametrize(
    ("service_name", "directive", "counter", "tags", "not_counted"),
    [
        *((name, "no-credit", "refused", {"error": "QuotaExceededError"}, "submitted") for name in OVER_HTTP),
        *((name, "fail", "failed", {"error": "ImageTaskFailedError"}, "succeeded") for name in SERVICES),
        ("kie", "cut-after", "unknown_outcome", {}, "submitted"),
        # It is found again by its trace id.
        *((name, "cut-after=1", "submitted", {}, "unknown_outcome") for name in ("acedatacloud", "xhuoapi")),
    ],
    indirect=["service_name"],
)
def test_what_became_of_an_image_task_is_counted_once_by_its_class_and_as_nothing_else(
    dag: ImageDag, statsd: StatsdReceiver, of_service: Any, directive: str, counter: str, tags: Any, not_counted: str
) -> None:
    if dag.submit(f"a red kite [{directive}]").state == "success":
        dag.wait()

    assert statsd.totals(counter) == {(*tags.items(), *of_service): 1}
    assert statsd.totals(not_counted) == {}


def test_a_retry_that_hands_on_what_was_submitted_before_counts_nothing(
    dag: ImageDag, statsd: StatsdReceiver, of_service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    with monkeypatch.context() as patch:
        patch.setattr(SubmissionLedger, "finish", broken)
        assert dag.submit(try_number=1).state != "success"
    assert dag.submit(try_number=2).state == "success"

    assert statsd.totals("submitted") == {of_service: 1}


def test_the_hook_counts_what_it_submits_and_waits_for(
    hook: ImageTaskHook, statsd: StatsdReceiver, of_service: Any
) -> None:
    found = hook.submit(ImageRequest(prompt="a red kite")).id
    hook.wait(found, poll_interval=1)
    assert [statsd.totals(name) for name in ("submitted", "succeeded")] == [{of_service: 1}] * 2

    before = statsd.totals("polls")[of_service]
    asyncio.run(hook.await_task(found, poll_interval=1))
    # At least one in the wait, and one for the record after it.
    assert statsd.totals("polls")[of_service] >= before + 2


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("broken")


def of_nobody(_is_component: bool) -> Any:
    return types.SimpleNamespace(incr=broken, timing=broken)


@pytest.mark.parametrize("stats", [broken, of_nobody])
def test_metrics_that_do_not_work_fail_nothing(dag: ImageDag, stats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_stats_of", stats)

    assert [dag.submit().state, dag.wait().state, dag.save().state] == ["success"] * 3


def test_a_triggerer_s_metrics_are_those_of_airflow_s_own_components(monkeypatch: pytest.MonkeyPatch) -> None:
    components = pytest.importorskip("airflow.observability.stats", reason="Airflow 3.1 has one set of metrics")
    tasks = pytest.importorskip("airflow.sdk.observability.stats")

    told: list[str] = []
    monkeypatch.setattr(tasks.Stats, "incr", lambda *_, **__: told.append("tasks"))
    monkeypatch.setattr(components.Stats, "incr", lambda *_, **__: told.append("components"))

    metrics.polled("local")
    monkeypatch.setitem(sys.modules, "airflow.jobs.triggerer_job_runner", types.ModuleType("it"))
    metrics.polled("local")

    assert told == ["tasks", "components"]
