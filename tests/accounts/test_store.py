"""The account store, used by several processes at once: what is counted, granted and given back."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from airflow_provider_imagetasks.accounts import place_rows, turn_rows
from airflow_provider_imagetasks.accounts.budgets import Budgets, exceeded
from airflow_provider_imagetasks.accounts.grants import EndedImageTask, PlannedSubmission, Turn
from airflow_provider_imagetasks.accounts.store import AccountStore, StoreError
from airflow_provider_imagetasks.accounts.tables import turns
from airflow_provider_imagetasks.services.money import Money
from tests.accounts.store_users import FORKS, PRICE, User, account, in_processes, killed, rate

PRICE_IN_EURO = Money(40_000, "EUR")
ONE_DOLLAR = Budgets(per_day=Money(1_000_000, "USD"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/accounts.sqlite"


def test_two_connections_with_one_key_are_one_account_and_only_a_hash_of_the_key_is_kept(
    url: str, tmp_path: Path
) -> None:
    store = AccountStore(url)

    first = store.account_id(account("a", "one-key-of-the-shop"), {})

    assert store.account_id(account("b", "one-key-of-the-shop"), {}) == first
    assert store.account_id(account("c", "another"), {}) != first
    assert store.account_id(account("d", None), {}) != first
    store.close()
    assert all(b"one-key-of-the-shop" not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_connection_whose_key_is_changed_goes_on_as_the_account_that_it_was(url: str) -> None:
    before = User(url, key="old", budgets=ONE_DOLLAR)
    before.take("1", cost=Money(900_000, "USD"))

    after = User(url, key="new", budgets=ONE_DOLLAR)

    assert after.account_id == before.account_id
    assert after.take("2", cost=Money(200_000, "USD")).excess is not None
    assert User(url, conn_id="other", key="new").account_id == before.account_id


def test_eight_processes_keep_to_one_rate_although_some_are_late(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def submit(number: int) -> None:
        user = User(url, name=f"user {number}", rate=rate(8, 0.4))
        for each in range(4):
            (turn,) = user.take(f"{number} {each}").turns
            # Some are late, as on a machine with much to do.
            time.sleep(0.1 if number == each else 0)
            user.leave(turn, f"{number} {each}")

    monkeypatch.setattr(turn_rows, "KEPT_WINDOWS", 1_000)
    assert in_processes(submit, 8) == [0] * 8

    with AccountStore(url).reading() as (connection, _):
        left = select(turns.c.at).where(turns.c.has_left == 1).order_by(turns.c.at)
        moments = list(connection.execute(left).scalars())
    assert len(moments) == 32
    assert all(later - first > 0.4 for first, later in zip(moments, moments[8:], strict=False))


def test_a_budget_of_25_pictures_is_spent_by_eight_processes_of_which_two_are_killed(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place_rows, "ANSWER_SECONDS", 0.7)
    service = tmp_path / "service"
    all_are_there, one_has_died = FORKS.Barrier(8), FORKS.Event()

    def submit(number: int) -> None:
        user = User(url, name=f"user {number}", budgets=ONE_DOLLAR, rate=rate(10, 0.3))
        all_are_there.wait(60)
        each = refused = 0
        while refused < 8:
            grant = user.take(f"{number} {each}")
            if grant.excess is not None:
                # What a killed one never sent comes back.
                refused += 1
                time.sleep(0.25)
                continue
            (turn,) = grant.turns
            if number == 0 and turn.seconds > 0:
                killed()
            if not user.leave(turn, f"{number} {each}"):
                continue
            with service.open("a") as file:
                file.write("a picture\n")
            if number == 1:
                one_has_died.set()
                killed()
            user.store.taken(user.account_id, {f"{number} {each}": f"task {number} {each}"}, life=60)
            each += 1
            # Or the others may spend all before it has begun.
            one_has_died.wait(60)

    codes = in_processes(submit, 8)

    assert codes[2:] == [0] * 6
    assert codes[1] == -9
    assert 24 <= len(service.read_text().splitlines()) <= 25


def test_a_retry_of_what_was_killed_takes_over_what_was_counted(url: str) -> None:
    user = User(url, budgets=ONE_DOLLAR, most_active=1)
    dear = Money(900_000, "USD")
    user.take("1", cost=dear)

    again = User(url, name="the next try", budgets=ONE_DOLLAR, most_active=1).take("1", cost=dear)

    assert len(again.turns) == 1


def test_what_was_not_billed_is_given_back_and_what_came_is_counted_for_what_it_was(url: str) -> None:
    user = User(url, budgets=Budgets(per_day=Money(100_000, "USD")))

    user.take("refused", cost=Money(100_000, "USD"))
    user.store.refused(user.account_id, ["refused"])
    user.take("failed", cost=Money(100_000, "USD"))
    user.store.taken(user.account_id, {"failed": "f"}, life=60)
    user.store.over(user.account_id, [EndedImageTask(image_task_id="f", is_free=True)])
    # Only the first word counts.
    user.store.over(user.account_id, [EndedImageTask(image_task_id="f", is_free=True)])
    user.take("more", cost=Money(50_000, "USD"))
    user.store.taken(user.account_id, {"more": "m"}, life=60)
    user.store.over(user.account_id, [EndedImageTask(image_task_id="m", pictures=2)])

    assert user.take("last", cost=Money(1, "USD")).excess is not None


def test_an_unknown_outcome_stays_spent_after_its_place_is_taken_back(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place_rows, "ANSWER_SECONDS", -1.0)
    user = User(url, budgets=Budgets(per_month=PRICE), most_active=1)

    user.take("nobody knows")

    excess = user.take("next").excess
    assert excess is not None
    assert (excess.name, excess.spent_by_dag) == ("budget_per_month", {"covers": 40_000})


def test_a_budget_that_is_lowered_below_what_was_spent_refuses_and_one_that_is_raised_goes_on(url: str) -> None:
    User(url, budgets=ONE_DOLLAR).take(*map(str, range(20)))

    assert User(url, budgets=Budgets(per_day=Money(100_000, "USD"))).take("a").excess is not None
    assert len(User(url, budgets=Budgets(per_day=Money(2_000_000, "USD"))).take("a").turns) == 1


def test_places_are_given_in_the_order_of_those_who_wait_and_a_batch_leaves_one_to_each(url: str) -> None:
    batch, single, other = (User(url, name=name, most_active=4) for name in ("batch", "single", "other"))
    many = [f"row {number}" for number in range(100)]

    assert len(batch.take(*many).turns) == 4
    assert not batch.take(*many[4:]).turns
    assert (single.take("s").ahead, other.take("o").ahead) == (1, 2)
    batch.store.taken(batch.account_id, {key: key for key in many[:4]}, life=60)
    batch.store.over(batch.account_id, [EndedImageTask(image_task_id=key) for key in many[:4]])

    assert len(batch.take(*many[4:]).turns) == 2
    assert len(single.take("s").turns) == len(other.take("o").turns) == 1


def test_who_waits_and_died_keeps_nobody_waiting(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holder, died, next_one = (User(url, name=name, most_active=1) for name in ("holder", "died", "next"))
    holder.take("1")
    died.take("2")
    assert next_one.take("3").ahead == 1

    later = time.time() + place_rows.ALIVE_SECONDS + 1
    monkeypatch.setattr("airflow_provider_imagetasks.accounts.store.time", SimpleNamespace(time=lambda: later))
    holder.store.refused(holder.account_id, ["1"])

    assert len(next_one.take("3").turns) == 1


def test_one_of_all_who_wait_is_told_what_runs_to_look_at_it(url: str) -> None:
    holder, first, second = (User(url, name=name, most_active=1, look_every=60) for name in "abc")
    holder.take("1")
    holder.store.taken(holder.account_id, {"1": "task-1"}, life=60)

    assert [list(each.take("2").running) for each in (first, second, first)] == [["task-1"], [], []]


def test_a_pause_that_the_service_asks_for_holds_for_turns_of_all_and_for_those_given_out_before(url: str) -> None:
    one, other = User(url, rate=rate(1, 0.2)), User(url, name="other", rate=rate(1, 0.2))
    one.take("1")
    other.take("2")

    one.store.pause(one.account_id, "submit", 600)
    one.store.pause(one.account_id, "submit", 10)

    assert other.store.leaves(other.account_id, "submit", None, 0, "2") == pytest.approx(600, abs=60)
    assert one.take("3").turns[0].seconds == pytest.approx(600, abs=60)
    assert one.store.turn(one.account_id, "query", None) == Turn()


def test_a_file_that_is_removed_while_it_is_used_is_a_new_one_for_all_of_its_users(url: str, tmp_path: Path) -> None:
    one = User(url, budgets=ONE_DOLLAR)
    one.take("1")
    for path in tmp_path.iterdir():
        path.unlink()

    id_of_one = one.store.account_id(account(), {})
    other = User(url, budgets=ONE_DOLLAR)
    one.store.take(id_of_one, "one", [PlannedSubmission(key="2", cost=Money(900_000, "USD"))], **one.limits)

    assert id_of_one == other.account_id
    assert other.take("3", cost=Money(200_000, "USD")).excess is not None


def test_what_is_spent_in_another_currency_is_said_and_nothing_is_spent_beside_it(url: str) -> None:
    User(url, budgets=ONE_DOLLAR).take("1")

    excess = User(url, budgets=Budgets(per_month=Money(1_000_000, "EUR"))).take("2", cost=Money(1, "EUR")).excess

    assert excess is not None
    assert list(excess.others) == [Money(40_000, "USD")]
    error = exceeded(excess, conn_id="shop")
    assert "is 1.00 EUR, but the same account has also spent 0.04 USD" in str(error)
    assert (error.code, error.billed, error.retryable) == ("budget", "no", False)


def test_what_refused_to_be_paid_for_or_has_no_known_price_does_not_stop_another_currency(url: str) -> None:
    one = User(url, budgets=ONE_DOLLAR)
    one.take("1")
    one.store.refused(one.account_id, ["1"])
    User(url).take("2", cost=None)

    assert User(url, budgets=Budgets(per_day=PRICE_IN_EURO)).take("3", cost=PRICE_IN_EURO).excess is None


def test_what_only_costs_money_holds_no_place_and_is_given_back_by_its_key(url: str) -> None:
    user = User(url, budgets=Budgets(per_day=Money(80_000, "USD")), most_active=1)
    rows = [PlannedSubmission(key=f"row {number}", cost=PRICE, model="m") for number in range(3)]

    first, again = (user.store.count(user.account_id, rows, budgets=user.limits["budgets"]) for _ in range(2))
    assert (len(first.turns), len(again.turns)) == (2, 2)
    assert first.excess is not None
    assert first.used == {"budget_per_day": 1.0}
    user.store.refused(user.account_id, ["row 0"])

    assert len(user.take("single").turns) == 1
    assert user.take("next").excess is None


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///accounts.sqlite", "four slashes"),
        ("mysql+pymysql://shop:secret@127.0.0.1:1/accounts", "use PostgreSQL"),
        ("sqlite:////nowhere/at/all.sqlite", "unable to open"),
        ("postgresql+psycopg2://shop:secret@127.0.0.1:1/accounts", "refused"),
        ("no-such-database://x/y", ""),
        ("not a url", "is not an SQLAlchemy URL"),
        ("postgresql+psycopg2://shop:pass@secret@127.0.0.1:1/accounts", "%40 for @"),
        ("postgresql+psycopg2://shop@127.0.0.1:secret/accounts", "%40 for @"),
        ("sqlite:////nowhere/\0/all.sqlite", "is not an SQLAlchemy URL"),
    ],
)
def test_a_store_that_cannot_be_reached_says_so_without_its_password(address: str, said: str) -> None:
    with pytest.raises(StoreError) as raised:
        AccountStore(address).account_id(account(), {})

    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_store_of_another_version_is_left_alone(url: str) -> None:
    from sqlalchemy import create_engine, text

    User(url).store.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE imagetasks_facts SET value = '7' WHERE name = 'version'"))
    engine.dispose()

    with pytest.raises(StoreError, match="version 7"):
        User(url)


def test_a_file_that_is_no_database_is_a_store_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "accounts.sqlite").write_text("notes of the shop, and nothing else " * 100)

    with pytest.raises(StoreError):
        User(f"sqlite:///{tmp_path}/accounts.sqlite")


def test_what_waited_so_long_that_its_place_and_money_went_to_others_does_not_leave(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = User(url, name="late", budgets=Budgets(per_day=PRICE), rate=rate(1, 60), at_once=False)
    monkeypatch.setattr(place_rows, "ANSWER_SECONDS", -1.0)
    (turn,) = late.take("1").turns
    other = User(url, name="other", budgets=Budgets(per_day=PRICE))

    assert len(other.take("2").turns) == 1
    assert late.store.leaves(late.account_id, "submit", late.limits["rate"], turn.id or 0, "1") is None


def test_one_that_leaves_after_its_turn_is_forgotten_counts_all_the_same(url: str) -> None:
    user = User(url, rate=rate(1, 5))
    user.take("1")

    assert user.store.leaves(user.account_id, "submit", rate(1, 0.01), 77, "1") == 0

    with user.store.reading() as (connection, _):
        assert list(connection.execute(select(turns.c.has_left).where(turns.c.id == 77)).scalars()) == [1]


def test_a_refusal_gives_nothing_back_of_what_another_try_came_to_under_the_same_key(url: str) -> None:
    user = User(url, budgets=Budgets(per_day=PRICE))
    user.take("1")
    user.store.taken(user.account_id, {"1": "task"}, life=60)

    user.store.refused(user.account_id, ["1"])

    assert user.take("2").excess is not None


def test_what_is_over_as_it_is_answered_counts_what_came_of_it(url: str) -> None:
    user = User(url, budgets=Budgets(per_day=Money(100_000, "USD")))
    user.take("free", cost=Money(100_000, "USD"))
    user.store.over(user.account_id, [EndedImageTask(image_task_id="f", is_free=True)], keys={"free": "f"})
    user.take("more", cost=Money(50_000, "USD"))
    user.store.over(user.account_id, [EndedImageTask(image_task_id="m", pictures=2)], keys={"more": "m"})

    assert user.take("last", cost=Money(1, "USD")).excess is not None
