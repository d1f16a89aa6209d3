"""What the tests of the status poller have in common: accounts to read, and a server that knows image tasks."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_imagetasks.polling.poller import StatusPoller
from airflow_provider_imagetasks.polling.waiting import Progress, WaitLog, Watch
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.rates import Rate, Window
from tests.scripted_server import ReceivedRequest, Reply, Step

KEY = "sk-of-the-tests"
FREELY = Rate((Window(1_000, 1),))
DEFAULT_INTERVAL = 0.05


def account(url: str, *, service: str = "acedatacloud", key: str = KEY, **fields: Any) -> Account:
    """Return an account whose rate is no hindrance unless ``query_rate`` says otherwise."""
    return Account(
        **{"conn_id": "mine", "service": service, "base_url": url, "key": key, "query_rate": FREELY, **fields}
    )


def watch(
    *ids: str, seconds: float = 60, interval: float = DEFAULT_INTERVAL, asked: float = 0, trace_id: str | None = None
) -> Watch:
    """Return what waits for these ids, for so many seconds."""
    now = time.time()
    return Watch(
        image_task_ids=ids, trace_id=trace_id, asked_at=now + asked, deadline=now + seconds, poll_interval=interval
    )


def names(count: int, prefix: str = "id") -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


async def until(condition: Callable[[], object]) -> None:
    """Wait until something has happened that nobody announces; the test's own time limit is the limit."""
    while not condition():  # noqa: ASYNC110 - there is nothing else to wait for
        await asyncio.sleep(0.005)


@dataclass
class AccountReader:
    """Reads a connection as the poller asks for it, and remembers how it was asked.

    :param found: what each reading finds, the last one for ever: an account, an error to raise, or something to await.
    """

    found: Sequence[Account | Exception | Callable[[], Awaitable[Account]]]
    asked: list[bool] = field(default_factory=list)

    async def __call__(self, fresh: bool) -> Account:
        self.asked.append(fresh)
        found = self.found[min(len(self.asked), len(self.found)) - 1]
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Account) else await found()


def reader(*found: Any) -> AccountReader:
    return AccountReader(found)


def poller_for(reading: AccountReader) -> StatusPoller:
    """Return a poller that asks at once, without gathering those who begin in the same moment."""
    return StatusPoller(reading, gathering_seconds=0)


def poller_of(url: str, **fields: Any) -> StatusPoller:
    """Return such a poller of an account with these fields."""
    return poller_for(reader(account(url, **fields)))


async def ends_of(poller: StatusPoller, *watches: Watch) -> list[str]:
    """Wait for each of them alone, all at once, and return how the waits ended."""
    return await asyncio.wait_for(asyncio.gather(*(poller.wait(Progress(each), first_pause=0) for each in watches)), 60)


def watches(count: int, **fields: float) -> list[Watch]:
    """Return a wait for each of so many ids."""
    return [watch(name, **fields) for name in names(count)]


class SpokenLog(WaitLog):
    """Remembers what a wait says, instead of logging it."""

    __slots__ = ("said",)

    def __init__(self) -> None:
        super().__init__(self)
        self.said: list[str] = []

    def info(self, text: str, *values: Any) -> None:
        self.said.append(text % values)

    warning = info


@dataclass
class Records:
    """Answers status requests of the Tasks API and of kie, as the ``otherwise`` of a scripted server.

    :param finished_after: how many questions find an image task running.
    :param unknown: ids that it does not know.
    :param poisonous: ids that make it refuse the whole request.
    :param keys: the keys that it lets in; empty lets anyone in.
    """

    finished_after: int = 0
    unknown: set[str] = field(default_factory=set)
    poisonous: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)
    groups: list[list[str]] = field(default_factory=list)

    def __call__(self, request: ReceivedRequest) -> Step:
        if self.keys and request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.keys:
            return Reply({"error": {"code": "invalid_token", "message": "who?"}}, status=401)
        if request.method == "GET":
            (image_task_id,) = request.query["taskId"]
            self.groups.append([image_task_id])
            return Reply(self._envelope(image_task_id))
        ids = request.body.get("ids") or [request.body.get("id") or request.body["trace_id"]]
        self.groups.append(ids)
        if self.poisonous & set(ids):
            return Reply({"error": {"code": "bad_request", "message": "no luck"}}, status=400)
        records = [self._record(image_task_id) for image_task_id in ids]
        if request.body["action"] == "retrieve":
            return Reply(records[0])
        return Reply({"items": [record for record in reversed(records) if record], "count": len(records)})

    def _is_finished(self, image_task_id: str) -> bool:
        self.asked[image_task_id] += 1
        return self.asked[image_task_id] > self.finished_after

    def _record(self, image_task_id: str) -> dict[str, Any]:
        if image_task_id in self.unknown:
            return {}
        if not self._is_finished(image_task_id):
            return {"id": image_task_id}
        picture = {"url": f"https://pictures.example/{image_task_id}.png"}
        return {"id": image_task_id, "finished_at": 5.5, "response": {"data": [picture]}}

    def _envelope(self, image_task_id: str) -> dict[str, Any]:
        if image_task_id in self.unknown:
            return {"code": 422, "msg": "recordInfo is null", "data": None}
        state = "success" if self._is_finished(image_task_id) else "generating"
        result = {"resultUrls": ["https://pictures.example/a.png"]} if state == "success" else ""
        return {"code": 200, "msg": "success", "data": {"taskId": image_task_id, "state": state, "resultJson": result}}
