"""The waits of one connection together: what is asked for, and what one wait does to the others."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Iterator

import pytest

from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.polling import session as account_session
from airflow_provider_imagetasks.polling.poller import StatusPoller, status_poller
from airflow_provider_imagetasks.polling.waiting import WaitLog
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.inline_ids import inline_id
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageRequest, ImageTask, TaskState
from airflow_provider_imagetasks.transports.http import AiohttpTransport, RequestsTransport
from tests.polled_accounts import Records, SpokenLog, account, names, poller_for, reader, until, watch
from tests.scripted_server import ScriptedServer

INLINE = inline_id(
    ImageTask(
        id="", service="acedatacloud", state=TaskState.SUCCEEDED, images=(GeneratedImage(index=0, url="https://x/a"),)
    )
)


pytestmark = pytest.mark.usefixtures("no_proxy")


@pytest.fixture
def server(records: Records) -> Iterator[ScriptedServer]:
    with ScriptedServer(otherwise=records) as running:
        yield running


@pytest.fixture
def poller(server: ScriptedServer) -> StatusPoller:
    """A poller of an account with batch status."""
    return poller_for(reader(account(server.url)))


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[AiohttpTransport]:
    """The sessions that are opened."""
    opened: list[AiohttpTransport] = []

    class Noted(AiohttpTransport):
        async def __aenter__(self) -> AiohttpTransport:
            opened.append(self)
            return await super().__aenter__()

    monkeypatch.setattr(account_session, "open_async_transport", Noted)
    return opened


def is_closed(session: AiohttpTransport) -> bool:
    return session._session is None or session._session.closed


async def test_a_hundred_and_twenty_waits_are_asked_for_in_groups_of_fifty(
    poller: StatusPoller, records: Records, server: ScriptedServer
) -> None:
    ends = await asyncio.gather(*(poller.wait(watch(name), first_pause=0) for name in names(120)))

    assert ends == ["done"] * 120
    assert sorted(map(len, records.groups)) == [20, 50, 50]
    assert sorted(request.body["limit"] for request in server.requests) == [20, 50, 50]
    assert records.asked == dict.fromkeys(names(120), 1)


async def test_the_groups_stay_full_from_one_question_to_the_next(poller: StatusPoller, records: Records) -> None:
    records.finished_after = 3

    ends = await asyncio.gather(*(poller.wait(watch(name, interval=0.3), first_pause=0) for name in names(120)))

    assert ends == ["done"] * 120
    assert records.asked == dict.fromkeys(names(120), 4)
    assert 12 <= len(records.groups) <= 24


async def test_a_service_without_batch_status_is_asked_for_one_at_a_time(
    server: ScriptedServer, records: Records
) -> None:
    poller = poller_for(reader(account(server.url, service="kie")))

    ends = await asyncio.gather(*(poller.wait(watch(name), first_pause=0) for name in names(70)))

    assert ends == ["done"] * 70
    assert sorted(records.groups) == sorted([name] for name in names(70))


async def test_an_id_that_two_wait_for_is_asked_for_once(poller: StatusPoller, records: Records) -> None:
    ends = await asyncio.gather(*(poller.wait(watch("a", "b"), first_pause=0) for _ in range(2)))

    assert ends == ["done", "done"]
    assert records.groups == [["a", "b"]]


@pytest.mark.parametrize("service", ["acedatacloud", "kie"])
async def test_an_id_that_nobody_knows_does_not_hurt_the_others(
    server: ScriptedServer, records: Records, service: str
) -> None:
    records.unknown = {"id-7"}
    poller = poller_for(reader(account(server.url, service=service)))

    unknown = asyncio.create_task(poller.wait(watch("id-7"), first_pause=0))
    others = await asyncio.gather(*(poller.wait(watch(name), first_pause=0) for name in names(50) if name != "id-7"))

    assert others == ["done"] * 49
    assert not unknown.done()
    unknown.cancel()


async def test_an_id_that_nobody_knows_is_over_after_its_grace(poller: StatusPoller, records: Records) -> None:
    records.unknown = {"a"}

    assert await poller.wait(watch("a", asked=-100), first_pause=0) == "done"


async def test_an_id_for_which_the_service_refuses_the_whole_request_hurts_only_itself(
    poller: StatusPoller, records: Records
) -> None:
    records.poisonous, records.finished_after = {"id-7"}, 1

    ends = await asyncio.gather(*(poller.wait(watch(name, interval=0.8), first_pause=0) for name in names(50)))

    assert [ends[7], *set(ends[:7] + ends[8:])] == ["error", "done"]
    assert len(records.groups[0]) == 50
    assert sorted(records.groups[1:51]) == sorted([name] for name in names(50))
    # Without it they are asked for together again.
    assert max(map(len, records.groups[51:])) > 10
    assert len(records.groups[51:]) < 25


async def test_who_is_cancelled_does_not_disturb_the_others(poller: StatusPoller, records: Records) -> None:
    records.finished_after = 6
    waits = [asyncio.create_task(poller.wait(watch(name), first_pause=0)) for name in names(10)]
    await until(lambda: records.asked["id-3"])
    waits[3].cancel()

    ends = await asyncio.gather(*waits, return_exceptions=True)

    assert isinstance(ends[3], asyncio.CancelledError)
    assert ends[:3] + ends[4:] == ["done"] * 9
    assert records.asked["id-3"] < records.asked["id-4"] == 7


async def test_what_a_wait_says_reaches_the_context_that_it_was_begun_in(poller: StatusPoller) -> None:
    context: contextvars.ContextVar[str] = contextvars.ContextVar("context", default="nobody")
    said: dict[str, set[str]] = {}

    class Listening(WaitLog):
        def read(self, tasks: list[ImageTask]) -> None:  # type: ignore[override]
            for task in tasks:
                said.setdefault(task.id, set()).add(context.get())

    async def wait(name: str) -> str:
        context.set(f"the task of {name}")
        return await poller.wait(watch(name), first_pause=0, log=Listening())

    await asyncio.gather(*(wait(name) for name in names(5)))

    assert said == {name: {f"the task of {name}"} for name in names(5)}


async def test_the_session_closes_with_the_last_wait_and_a_later_wait_opens_another(
    server: ScriptedServer, sessions: list[AiohttpTransport], records: Records
) -> None:
    reading = reader(account(server.url))
    poller = StatusPoller(reading)
    records.finished_after = 2
    await asyncio.gather(*(poller.wait(watch(name), first_pause=0) for name in names(20)))
    assert (len(sessions), len(reading.asked)) == (1, 1)
    await until(lambda: is_closed(sessions[0]))

    assert await poller.wait(watch("later"), first_pause=0) == "done"

    assert len(sessions) == 2
    assert sessions[0] is not sessions[1]


async def test_a_wait_that_comes_while_the_session_closes_is_not_lost(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, may_close = asyncio.Event(), asyncio.Event()

    class Slow(AiohttpTransport):
        async def __aexit__(self, *exception: object) -> None:
            closing.set()
            await may_close.wait()
            await super().__aexit__(*exception)

    monkeypatch.setattr(account_session, "open_async_transport", Slow)
    poller = poller_for(reader(account(server.url)))
    assert await poller.wait(watch("a"), first_pause=0) == "done"
    await closing.wait()

    late = asyncio.create_task(poller.wait(watch("b"), first_pause=0))
    await asyncio.sleep(0)
    may_close.set()

    assert await asyncio.wait_for(late, 5) == "done"


async def test_inline_ids_are_not_asked_for(poller: StatusPoller, records: Records) -> None:
    ends = await asyncio.gather(
        poller.wait(watch(INLINE, "a"), first_pause=0),
        poller.wait(watch("b"), first_pause=0),
        poller.wait(watch(INLINE), first_pause=0),
    )

    assert ends == ["done"] * 3
    assert records.groups == [["a", "b"]]


async def test_a_damaged_inline_id_hurts_only_itself(poller: StatusPoller) -> None:
    ends = await asyncio.gather(
        poller.wait(watch("inline:AAAA"), first_pause=0), poller.wait(watch("a", INLINE), first_pause=0)
    )

    assert ends == ["error", "done"]


async def test_a_trace_id_is_looked_up_alone(poller: StatusPoller, server: ScriptedServer) -> None:
    ends = await asyncio.gather(
        poller.wait(watch("a"), first_pause=0),
        poller.wait(watch(trace_id="order-17"), first_pause=0),
        poller.wait(watch("b"), first_pause=0),
    )

    assert ends == ["done"] * 3
    assert {"action": "retrieve", "trace_id": "order-17"} in [request.body for request in server.requests]


async def test_a_trace_id_at_a_service_without_them_ends_only_its_own_wait(server: ScriptedServer) -> None:
    poller = poller_for(reader(account(server.url, service="kie")))

    ends = await asyncio.gather(
        poller.wait(watch(trace_id="order-17"), first_pause=0), poller.wait(watch("a"), first_pause=0)
    )

    assert ends == ["error", "done"]


async def test_the_state_of_several_is_said_once_all_of_them_were_seen(poller: StatusPoller, records: Records) -> None:
    log = SpokenLog()
    records.unknown = {"b"}

    await poller.wait(watch("a", "b", "a", asked=-100), first_pause=0, log=log)

    assert [line.partition(" (")[0] for line in log.said] == ["Image task a: succeeded", "Image task b: not_found"]


def test_waits_on_two_event_loops_share_nothing(server: ScriptedServer, sessions: list[AiohttpTransport]) -> None:
    pollers: list[StatusPoller] = []

    async def wait(name: str) -> str:
        mine = status_poller("mine", reader(account(server.url)))
        assert status_poller("mine", reader()) is mine
        assert status_poller("another", reader()) is not mine
        pollers.append(mine)
        return await mine.wait(watch(name), first_pause=0)

    ends: list[str] = []
    threads = [threading.Thread(target=lambda name=name: ends.append(asyncio.run(wait(name)))) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert ends == ["done", "done"]
    assert pollers[0] is not pollers[1]
    assert len(sessions) == 2


@pytest.mark.parametrize("service", ["acedatacloud", "kie"])
async def test_it_waits_for_pictures_of_the_local_service(image_service: LocalImageService, service: str) -> None:
    mine = account(f"{image_service.url}/{service}", service=service)
    with RequestsTransport(mine) as transport:
        prompts = ["a kite", "a kite [fail]", "a kite [latency=0.3]", "a kite [poll-500=1]", "a kite [poll-html=2]"]
        requests = [ImageRequest(prompt=prompt, model="gpt-image-2-text-to-image") for prompt in prompts]
        ids = [transport.run(get_service(service).submit(request)).id for request in requests]
    started = time.monotonic()

    ends = await asyncio.gather(*(poller_for(reader(mine)).wait(watch(name), first_pause=0) for name in ids))

    assert ends == ["done"] * len(ids)
    assert time.monotonic() - started < 5
