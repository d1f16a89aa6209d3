"""The look at the account store that needs no Airflow: what it makes of a store that is not there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_provider_imagetasks.accounts.__main__ import main
from airflow_provider_imagetasks.accounts.budgets import Budgets
from airflow_provider_imagetasks.accounts.report import in_lines, reports
from airflow_provider_imagetasks.accounts.store import AccountStore
from airflow_provider_imagetasks.services.money import Money
from tests.accounts.store_users import User, account, rate


def test_a_look_at_a_store_that_is_not_there_makes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", f"sqlite:///{tmp_path}/new.sqlite"]) == 1

    assert "there is no file" in capsys.readouterr().err
    assert not (tmp_path / "new.sqlite").exists()


@pytest.mark.parametrize("days", ["0", "-1", "x", "1000000000000"])
def test_days_that_make_no_sense_are_refused(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--days", days])
    assert "--days" in capsys.readouterr().err


def test_who_is_on_call_sees_who_holds_the_places_who_waits_and_what_a_budget_leaves(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/accounts.sqlite"
    limits = {"rate": rate(50, 1), "most_active": 3, "budgets": Budgets(per_day=Money(1_000_000, "USD"))}
    said = {"max_active_tasks": "3", "budget_per_day": "1.00 USD", "budget_per_month": "10.00 USD"}
    covers, thumbnails = (User(url, name=name, **limits) for name in ("covers", "thumbnails"))
    AccountStore(url).account_id(account("other"), said)
    covers.take("1", "2", dag_id="covers")
    thumbnails.take("3", dag_id="thumbnails\x1b[2J")
    thumbnails.take("4")

    (report,) = reports(AccountStore(url, only_reads=True))

    assert (report.running_by_dag, report.waiting, report.submitted) == ({"covers": 2, "thumbnails\x1b[2J": 1}, 1, 3)
    assert [(each["name"], each["spent"], each["budget"]) for each in report.budgets] == [
        ("budget_per_day", 120_000, 1_000_000),
        ("budget_per_month", 120_000, 10_000_000),
    ]
    lines = "\n".join(in_lines(report))
    assert "running: 3 of 3 (covers 2, thumbnails" in lines
    assert "waiting for a place: 1, the first for 0 s" in lines
    assert "budget_per_day: 0.12 of 1.00 USD (12%), until 2" in lines
    assert "\x1b" not in lines


def test_requests_of_the_last_minute_are_counted_however_short_the_window_of_their_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, now = f"sqlite:///{tmp_path}/accounts.sqlite", [1_790_000_000.0]
    monkeypatch.setattr("airflow_provider_imagetasks.accounts.store.time", SimpleNamespace(time=lambda: now[0]))
    user = User(url, rate=rate(1, 1))
    for number in range(5):
        user.leave(user.take(str(number)).turns[0], str(number))
        now[0] += 10

    (report,) = reports(AccountStore(url, only_reads=True))

    assert report.submitted == 5
