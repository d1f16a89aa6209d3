"""What the latest image tasks come to, by day, Dag, model and service, within bounds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_imagetasks.ui import totals
from airflow_provider_imagetasks.ui.airflow_records import Scope
from airflow_provider_imagetasks.ui.totals import totals_of
from tests.ui.conftest import NOW, MetadataDatabase

TOLD = {"service": "kie", "model": "m"}
DOLLARS = {"USD": 0.28}


@pytest.fixture
def filled(database: MetadataDatabase) -> None:
    """Two pictures and a failure on one day, and a batch on the next."""
    database.push("submit", {**TOLD, "id": "it-1"}, "image_task", map_index=1)
    database.push("save", {"files": [{"image_task_id": "it-1"}, {"image_task_id": "it-1"}]}, map_index=1)
    database.push("submit", {**TOLD, "id": "it-2"}, "image_task", map_index=2)
    database.push("wait", [{"id": "it-2", "class": "ImageTaskFailedError"}], "image_task_failures", map_index=2)
    later = {"dag_id": "boats", "dag_run_id": 2, "run_id": "other", "timestamp": NOW + timedelta(days=1)}
    database.push("make", {"service": "fal", "model": "flux", "total": 9}, "image_batch", **later)
    database.push(
        "make", {"manifest": "m", "total": 9, "succeeded": 7, "failed": 2, "cost": 0.28, "currency": "USD"}, **later
    )


def of(database: MetadataDatabase, *dag_ids: str) -> dict[str, Any]:
    return totals_of(database.session, Scope(dag_ids=dag_ids, since=NOW - timedelta(days=2)))


def group(name: str, pictures: int, failed: int, spent: dict[str, float] | None) -> dict[str, Any]:
    return {"name": name, "pictures": pictures, "failed": failed, "spent": spent}


def test_pictures_failures_and_cost_are_added_up(database: MetadataDatabase, filled: None) -> None:
    found = of(database, "kites", "boats")

    assert found["all"] == group("", 9, 3, DOLLARS)
    assert found["day"] == [group("2026-03-01", 2, 1, None), group("2026-03-02", 7, 2, DOLLARS)]
    assert found["dag_id"] == [group("boats", 7, 2, DOLLARS), group("kites", 2, 1, None)]
    assert found["model"] == [group("flux", 7, 2, DOLLARS), group("m", 2, 1, None)]
    assert [each["name"] for each in found["service"]] == ["fal", "kie"]
    assert (found["looked_at"], found["is_complete"]) == (3, True)


def test_costs_in_different_currencies_are_not_added_up(database: MetadataDatabase, filled: None) -> None:
    for index, (cost, currency) in enumerate([(1.5, "EUR"), (2, "USD"), (3, None), (4, 7)]):
        database.push("make", {"service": "kie", "model": "m", "total": 1}, "image_batch", map_index=index)
        result = {"manifest": "m", "total": 1, "succeeded": 1, "failed": 0, "cost": cost, "currency": currency}
        database.push("make", result, map_index=index)

    found = of(database, "kites", "boats")

    assert found["all"]["spent"] == {"USD": pytest.approx(2.28), "EUR": 1.5, "": 7}
    assert {each["name"]: each["spent"] for each in found["service"]} == {
        "fal": DOLLARS,
        "kie": {"EUR": 1.5, "USD": 2, "": 7},
    }


def test_only_what_may_be_read_is_counted(database: MetadataDatabase, filled: None) -> None:
    assert of(database, "kites")["all"] == group("", 2, 1, None)
    assert of(database)["all"] == group("", 0, 0, None)


def test_of_more_than_can_be_read_the_latest_are_counted_and_that_is_said(
    database: MetadataDatabase, filled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals, "MOST_READ", 1)

    found = of(database, "kites", "boats")

    assert (found["all"], found["looked_at"], found["is_complete"]) == (group("", 7, 2, DOLLARS), 1, False)
