"""The account store in PostgreSQL, as several machines use it. Run by ``make test-accounts``; needs PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from airflow_provider_imagetasks.accounts.budgets import Budgets
from airflow_provider_imagetasks.accounts.grants import EndedImageTask
from airflow_provider_imagetasks.accounts.spending_report import spending_lines
from airflow_provider_imagetasks.accounts.store import AccountStore, StoreError
from airflow_provider_imagetasks.accounts.tables import metadata
from airflow_provider_imagetasks.accounts.turn_times import with_slack
from airflow_provider_imagetasks.services.money import Money
from airflow_provider_imagetasks.services.rates import Window
from dev.postgresql_server import PostgresqlServer
from tests.accounts.store_users import PRICE, User, account, in_processes, killed, rate

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as server:
        yield server


def test_eight_processes_make_the_tables_once_and_spend_a_budget_of_25_pictures(
    server: PostgresqlServer, tmp_path: Path
) -> None:
    service = tmp_path / "service"
    budgets = Budgets(per_day=Money(1_000_000, "USD"))

    def submit(number: int) -> None:
        user = User(server.url(), name=f"user {number}", budgets=budgets, rate=rate(10, 0.3))
        for each in range(100):
            key = f"{number} {each}"
            grant = user.take(key)
            if grant.excess is not None:
                return
            user.leave(grant.turns[0], key)
            with service.open("a") as file:
                file.write("a picture\n")
            if number < 2 and each == 1:
                killed()
            user.store.taken(user.account_id, {key: key}, life=60)

    codes = in_processes(submit, 8)

    assert codes[2:] == [0] * 6
    assert len(service.read_text().splitlines()) == 25


def test_a_server_that_is_away_for_a_moment_is_used_again_and_places_come_back(server: PostgresqlServer) -> None:
    user = User(server.url(), conn_id="other", key="other", most_active=1)
    user.take("1")
    user.store.taken(user.account_id, {"1": "task"}, life=60)

    server.stop()
    with pytest.raises(StoreError):
        user.take("2")
    server.start()

    assert not user.take("2").turns
    user.store.over(user.account_id, [EndedImageTask(image_task_id="task")])
    assert len(user.take("2").turns) == 1


def test_moments_are_the_server_s_whatever_the_clock_of_a_worker_says(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = User(server.url(), conn_id="clocks", key="clocks", rate=rate(1, 50))
    user.take("1")

    monkeypatch.setattr(time, "time", lambda: 0.0)

    seconds = User(server.url(), conn_id="clocks", key="clocks", rate=rate(1, 50)).take("2").turns[0].seconds
    assert 25 < seconds <= with_slack(Window(1, 50))
    AccountStore(server.url()).close()


def test_tables_that_are_made_anew_while_they_are_used_are_used_again(server: PostgresqlServer) -> None:
    user = User(server.url(), conn_id="anew", key="anew", budgets=Budgets(per_day=PRICE))
    user.take("1")
    engine = create_engine(server.url())
    metadata.drop_all(engine)
    engine.dispose()

    with pytest.raises(StoreError):
        user.take("2")
    user.account_id = user.store.account_id(account("anew", "anew"), {})

    assert len(user.take("2").turns) == 1
    assert user.take("3").excess is not None


def test_who_only_looks_waits_for_nobody_and_changes_nothing(server: PostgresqlServer) -> None:
    user = User(server.url(), conn_id="looked at", key="looked at")
    user.take("1", dag_id="looked at")
    reading = AccountStore(server.url(), only_reads=True)

    with user.store._account(user.account_id):
        lines = spending_lines(reading, "0000-01-01", "9999-12-31")
        assert [line.amount for line in lines if line.dag_id == "looked at"] == [PRICE.millionths]
    with pytest.raises(StoreError, match="read-only"):
        reading.account_id(account("written", "written"), {})
    reading.close()
