"""Orders that go by what became of image tasks: made for the first page, and kept for those that follow it.

To make one, thousands of image tasks are read. Kept, it also leaves nothing out and shows nothing twice where something
comes to its end between two pages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_imagetasks.ui.airflow_records import XCom

Item = tuple[dict[str, Any], "XCom | None"]
"""A card, or what is to be added to it, and the submission that the card is made of anew for each page."""
_MOST_KEPT = 8
_LARGEST_KEPT = 8_000_000
"""Characters of the XComs of one order, of which it has a few thousand: somebody may have pushed large ones."""
_KEPT_FOR = 600.0
"""Seconds."""


@dataclass(frozen=True)
class Order:
    """An order that was made.

    :param name: the same for the same order, so that a browser sees that nothing has changed.
    :param asked: what it is of.
    :param made_at: seconds of the process's clock.
    """

    name: str
    asked: Hashable
    items: Sequence[Item]
    made_at: float


class Orders:
    """The latest orders, which the requests to one api-server process share. One that is gone is made again."""

    def __init__(self) -> None:
        self._kept: dict[str, Order] = {}
        self._lock = threading.Lock()

    def keep(self, asked: Hashable, items: Sequence[Item]) -> Order:
        """Return an order, after keeping it unless it is too large for that."""
        places = [xcom.place if xcom is not None else item["key"] for item, xcom in items]
        order = Order(
            sha256(repr((asked, places)).encode("utf-8", "replace")).hexdigest()[:16], asked, items, time.monotonic()
        )
        if sum(len(repr(xcom.value)) for _, xcom in items if xcom is not None) > _LARGEST_KEPT:
            return order
        with self._lock:
            self._kept.pop(order.name, None)
            self._kept[order.name] = order
            while len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return order

    def find(self, name: str, asked: Hashable) -> Order | None:
        """Return an order by its name; None where it is kept no more, or is of something else than is asked for."""
        with self._lock:
            order = self._kept.get(name)
        # Of Dags that somebody else may read, say.
        is_good = order is not None and order.asked == asked and time.monotonic() - order.made_at < _KEPT_FOR
        return order if is_good else None
