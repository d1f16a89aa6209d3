"""The orders that were made: found again by who asked for them, and by nobody else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_imagetasks.ui import orders
from airflow_provider_imagetasks.ui.airflow_records import XCom
from airflow_provider_imagetasks.ui.orders import Item, Orders

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
ITEMS: list[Item] = [({"key": "1/wait/-1"}, None), ({"key": "2/wait/-1"}, None)]


def test_an_order_is_found_by_its_name_for_what_it_was_made_for() -> None:
    kept = Orders()

    order = kept.keep(("kites", "failed"), ITEMS)

    assert kept.find(order.name, ("kites", "failed")) == order
    assert kept.find(order.name, ("kites", "cost")) is None
    assert kept.find("another", ("kites", "failed")) is None


def test_the_same_order_has_the_same_name_and_another_has_another() -> None:
    kept = Orders()
    names = [kept.keep("asked", items).name for items in (ITEMS, ITEMS, ITEMS[::-1])]

    assert names[0] == names[1] != names[2]


def test_only_the_latest_are_kept_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, now = Orders(), 1_000.0
    monkeypatch.setattr(orders.time, "monotonic", lambda: now)
    made: list[Any] = [kept.keep(number, ITEMS) for number in range(9)]

    assert [kept.find(order.name, order.asked) is not None for order in made] == [False] + [True] * 8
    monkeypatch.setattr(orders.time, "monotonic", lambda: now + 3_600)
    assert kept.find(made[8].name, made[8].asked) is None


def test_an_order_with_large_xcoms_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Orders()
    monkeypatch.setattr(orders, "_LARGEST_KEPT", 1_000)
    orders_made = [
        kept.keep(most, [({}, XCom(1, "kites", "run", "submit", -1, "image_task", "x" * most, MOMENT))])
        for most in (900, 1_100)
    ]

    assert [kept.find(order.name, order.asked) is not None for order in orders_made] == [True, False]
    assert len(orders_made[1].items) == 1
