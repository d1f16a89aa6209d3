"""Cuts what was asked for into pages of cards: as the database orders it, or by what became of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.ui.cursors import place_in_order
from airflow_provider_imagetasks.ui.orders import Item, Orders

if TYPE_CHECKING:
    from airflow_provider_imagetasks.ui.airflow_records import XCom

PAGE = 60
_MOST_READ = 600
"""Image tasks that one request looks at, where a filter lets few of them through."""
Card = tuple["XCom", dict[str, Any], Mapping[str, Any] | None]
"""A submission, its card, and of a batch its result once there is one."""
CardsOf = Callable[..., Iterable[Card]]
"""Yields submissions with their cards; with ``is_brief`` without what leads to pictures."""
Wanted = Callable[["XCom", dict[str, Any], Mapping[str, Any] | None], bool]
"""Whether a card is to be shown."""


def page_as_stored(
    cards: CardsOf,
    is_wanted: Wanted,
    read: Callable[[Any, int], list[XCom]],
    position: tuple[Any, ...] | None,
    position_of: Callable[[XCom], tuple[Any, ...]],
) -> tuple[dict[str, Any], tuple[Any, ...] | None]:
    """Return a page of cards, and where it ends; None where nothing comes after it.

    :param read: reads so many submissions after a position.
    :param position: where the page before ended.
    """
    items: list[dict[str, Any]] = []
    looked_at, has_more = 0, True
    while has_more and len(items) < PAGE and looked_at < _MOST_READ:
        xcoms = read(position, PAGE + 1)
        has_more = len(xcoms) > PAGE
        for xcom, item, summary in cards(xcoms[:PAGE]):
            position = position_of(xcom)
            looked_at += 1
            if is_wanted(xcom, item, summary):
                items.append(item)
            if len(items) == PAGE:
                has_more = has_more or xcom is not xcoms[-1]
                break
    return {"items": items, "looked_at": looked_at}, position if has_more else None


def page_in_order(
    cards: CardsOf,
    is_wanted: Wanted,
    read: Callable[[], tuple[Sequence[XCom], Sequence[dict[str, Any]]]],
    rank: Callable[[Mapping[str, Any]], tuple[Any, ...]],
    cursor: str | None,
    *,
    asked: Hashable,
    orders: Orders,
) -> dict[str, Any]:
    """Return a page of cards in an order that goes by what became of the image tasks.

    :param read: reads the submissions, and makes cards of what nobody submitted, as far as they are wanted.
    :param rank: what cards are sorted by.
    :param cursor: where the page before ended.
    :param asked: what the order is of; no other request is answered with it.
    """
    name, start = place_in_order(cursor)
    order = orders.find(name, asked)
    looked_at = 0
    if order is None:
        xcoms, others = read()
        looked_at = 0 if start else len(xcoms)
        found: list[tuple[tuple[Any, ...], Item]] = [(rank(item), (item, None)) for item in others]
        for xcom, item, summary in cards(xcoms, is_brief=True):
            if is_wanted(xcom, item, summary):
                # The rest of the card is made anew for the page that it is on.
                counted = {"matching": item["matching"]} if "matching" in item else {}
                found.append((rank(item), (counted, xcom)))
        order = orders.keep(asked, [each for _, each in sorted(found, key=lambda ranked: ranked[0])])
    page = order.items[start : start + PAGE]
    whole = iter(cards([xcom for _, xcom in page if xcom is not None]))
    items = [item if xcom is None else {**next(whole)[1], **item} for item, xcom in page]
    following = f"{order.name}.{start + PAGE}" if start + PAGE < len(order.items) else None
    return {"items": items, "next": following, "looked_at": looked_at}
