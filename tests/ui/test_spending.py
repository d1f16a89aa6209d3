"""What was spent, on the page of totals: only of Dags that may be read, by day, Dag and model, and never in the way."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.accounts.store import AccountStore
from airflow_provider_imagetasks.services.money import Money
from airflow_provider_imagetasks.ui.airflow_records import Scope
from airflow_provider_imagetasks.ui.spending import AccountSpending
from tests.accounts.store_users import User

NOW = datetime.now(UTC)
EVER = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)


def scope(**wanted: Any) -> Scope:
    return Scope(**{"dag_ids": [], "since": NOW - timedelta(days=30), **wanted})


def totals(*readable: str, **wanted: Any) -> dict[str, Any] | None:
    def may_read(dag_ids: Collection[str]) -> set[str]:
        return set(dag_ids) & set(readable)

    return AccountSpending().totals(scope(**wanted), may_read)


@pytest.fixture
def spent(account_store: str) -> str:
    """Four pictures of two Dags and of none, one of them in another currency."""
    user = User(account_store)
    user.take("1", "2", dag_id="covers")
    user.take("3", dag_id="secret", cost=Money(5, "EUR"))
    user.take("4", dag_id="")
    user.store.close()
    return account_store


def test_what_dags_spent_that_may_be_read_is_added_up_by_currency(spent: str) -> None:
    found = totals("covers", "secret")

    assert found is not None
    assert found["all"] == {"name": "", "spent": {"USD": 0.08, "EUR": 0.000005}, "submissions": 3}
    assert [(each["name"], each["spent"]) for each in found["dag_id"]] == [
        ("covers", {"USD": 0.08}),
        ("secret", {"EUR": 0.000005}),
    ]
    assert [each["name"] for each in found["day"]] == [f"{NOW:%Y-%m-%d}"]
    assert (found["zone"], found["is_complete"]) == ("UTC", True)


def test_nothing_is_told_of_dags_that_may_not_be_read_or_of_what_no_dag_spent(spent: str) -> None:
    found = totals("covers")

    assert found is not None
    assert "secret" not in str(found)
    assert found["all"]["spent"] == {"USD": 0.08}
    nothing = totals()
    assert nothing is not None
    assert (nothing["all"]["submissions"], nothing["day"], nothing["model"]) == (0, [], [])


def test_only_the_days_that_are_asked_for_count(spent: str) -> None:
    before = totals("covers", until=NOW - timedelta(days=3))

    assert before is not None
    assert before["day"] == []
    for odd in ({"since": EVER}, {"until": EVER}, {"until": datetime(1, 1, 1, tzinfo=UTC)}):
        assert totals("covers", **odd) is not None
    assert totals("covers", run_id="a_run") is None


@pytest.mark.parametrize("address", ["none", "sqlite:////nowhere/accounts.sqlite", "not a url"])
def test_without_a_store_that_can_be_read_nothing_is_said_of_it(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__ACCOUNT_STORE", address)

    assert totals("covers") is None


def test_one_that_is_away_is_not_asked_again_at_once_and_none_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = f"sqlite:///{tmp_path}/accounts.sqlite"
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__ACCOUNT_STORE", address)
    spending = AccountSpending()
    assert spending.totals(scope(), set) is None
    assert list(tmp_path.iterdir()) == []
    AccountStore(address).account_id(_an_account(), {})

    assert spending.totals(scope(), set) is None
    assert AccountSpending().totals(scope(), set) is not None


def _an_account() -> Any:
    from tests.accounts.store_users import account

    return account()
