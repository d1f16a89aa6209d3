"""Cancelling of image tasks at the service, once a person ends the Airflow task that waits for them.

Airflow also calls ``on_kill`` when nothing is to be stopped: when a worker shuts down and its task is retried, and on a
triggerer whose waits another one took over, or whose task a callback woke. So the state of the task instance is looked
up first: only one that was marked failed, alone or with its Dag run, stops anything.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger

from airflow_provider_imagetasks.exceptions import AuthenticationError, ImageTaskError, InvalidRequestError
from airflow_provider_imagetasks.hooks.connection import aread_connection
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.bounds import trace_of
from airflow_provider_imagetasks.services.exchange import patiently, typed
from airflow_provider_imagetasks.services.fields import INLINE_PREFIX
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.transports import open_async_transport, open_transport

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

KILLED = frozenset({"failed", "skipped", "removed", "upstream_failed"})
"""States of a task instance that nobody goes on with. One that was marked successful is not among them, since what
follows may want its pictures; nor is one that was cleared, which waits for them again."""
TRIGGERS_ARE_TOLD = hasattr(BaseTrigger, "on_kill")
"""Whether this Airflow tells a trigger that somebody ended its task; since 3.3."""
LONGEST_ON_TRIGGERER = 25.0
"""Seconds; Airflow itself gives 30."""
LONGEST_ON_WORKER = 4.0
"""Seconds; five after the first signal Airflow kills the process."""
AT_ONCE = 16
"""Image tasks that are cancelled at the same time."""
ATTEMPTS = 2
_LOOK_AGAIN = 0.5
"""Seconds after which a worker looks for image tasks that were being submitted."""
_NAMED = 3
_UNDER_WAY: set[asyncio.Task[None]] = set()
"""What cancels on this triggerer, held here until it is over: the trigger that began it may be gone before."""


def states_of(instance: Any) -> list[str | None]:
    """Return the states that a task instance has in Airflow's database by now; one, unless it is in a loop. Blocks."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    map_index = getattr(instance, "map_index", None)
    found = RuntimeTaskInstance.get_task_states(
        dag_id=instance.dag_id,
        map_index=-1 if map_index is None else map_index,
        task_ids=[instance.task_id],
        run_ids=[instance.run_id],
    )
    return [None if state is None else str(state) for state in found.get(instance.run_id, {}).values()]


def was_killed(states: Collection[str | None]) -> bool:
    """Whether a person ended a task instance of these states."""
    return bool(states) and KILLED.issuperset(states)


async def cancel_where_killed(instance: Any, conn_id: str, image_task_ids: Sequence[str], log: Any) -> None:
    """Cancel image tasks on a triggerer whose wait for them ends, where a person ended the task instance.

    Never raises; what could not be cancelled stands in the log, and goes on.

    :param instance: the task instance that waited.
    :param conn_id: the connection that the image tasks were submitted with.
    """

    async def look_and_cancel() -> None:
        if not was_killed(await asyncio.to_thread(states_of, instance)):
            log.info("The image tasks go on at the service: this task was not stopped for good.")
            return
        account = await aread_connection(conn_id)
        await _cancel(account, get_service(account.service), image_task_ids, log)

    work = asyncio.create_task(_bounded(look_and_cancel(), LONGEST_ON_TRIGGERER, log))
    _UNDER_WAY.add(work)
    work.add_done_callback(_UNDER_WAY.discard)
    # Until a trigger has ended, Airflow cancels it again once a second, and with it what it does about that.
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(work)


async def _cancel(account: Account, service: Service, image_task_ids: Sequence[str], log: Any) -> None:
    places, notes = asyncio.Semaphore(AT_ONCE), Counter[str]()
    wanted = [each for each in dict.fromkeys(image_task_ids) if each and not each.startswith(INLINE_PREFIX)]

    async def cancel(image_task_id: str) -> None:
        flow = typed(patiently(lambda: service.cancel(image_task_id), attempts=ATTEMPTS), service=service.name)
        async with places:
            try:
                note = await run(flow)
            except ImageTaskError as error:
                # Only a definite answer says that it goes on.
                is_sure = isinstance(error, InvalidRequestError | AuthenticationError)
                note = f"{'It was not cancelled' if is_sure else 'It may go on, and be billed'}: {error.message}"
        notes[note] += 1
        if len(wanted) <= _NAMED:
            log.warning(
                "This task was stopped for good, so the service was asked to cancel image task %s. %s",
                image_task_id[:80],
                note,
            )

    async with _runs_of_flows(account) as run:
        try:
            await asyncio.gather(*map(cancel, wanted))
        finally:
            if len(wanted) > _NAMED:
                told = "; ".join(f"{count:,}: {note.rstrip('.')}" for note, count in notes.most_common(5))
                log.warning(
                    "This task was stopped for good, so the service was asked to cancel %s image tasks. %s.",
                    f"{len(wanted):,}",
                    told,
                )


@asynccontextmanager
async def _runs_of_flows(account: Account) -> AsyncIterator[Callable[[Flow[str]], Awaitable[str]]]:
    """Run flows with what this process has loaded: on a busy machine there is no time to load aiohttp."""

    def blocks(flow: Flow[str]) -> str:
        with open_transport(account) as transport:
            return transport.run(flow)

    if "aiohttp" in sys.modules:
        async with open_async_transport(account) as transport:
            yield transport.run
        return
    threads = ThreadPoolExecutor(AT_ONCE)
    try:
        yield lambda flow: asyncio.get_running_loop().run_in_executor(threads, blocks, flow)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


async def _bounded(work: Coroutine[Any, Any, None], seconds: float, log: Any) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        log.warning("Not everything was cancelled within %.0f s: the rest goes on, and may be billed.", seconds)
    except Exception as error:  # noqa: BLE001 - whatever happens, the task is over
        log.warning("Nothing was cancelled, so the image tasks go on and may be billed:\n%s", trace_of(error))


class CancelsOnKill:
    """An operator whose image tasks are cancelled where a person ends it while it runs on a worker.

    Where it is deferred, that is its trigger's business.
    """

    cancel_on_kill: bool
    log: Any
    _begin: Callable[[], None] | None = None
    _cancelling: threading.Thread | None = None

    def cancels(self, service: Service) -> bool:
        """Whether ending the task stops image tasks of a service."""
        return self.cancel_on_kill and service.can_cancel

    def what_ending_does(self, service: Service) -> str:
        """Return what the log of a task that is deferred says of it."""
        if self.cancels(service) and TRIGGERS_ARE_TOLD:
            return (
                f"Marking this task or its run failed cancels them at {service.title} (cancel_on_kill); what was "
                "worked on by then may be billed. Clearing it does not."
            )
        return f"Failing or clearing this task does not stop them at {service.title}, and they may be billed."

    def cancel_when_killed(
        self,
        context: Context,
        account: Account,
        unfinished: Callable[[], Sequence[str]],
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        """Say what :meth:`on_kill` is to cancel.

        :param account: what they were submitted with.
        :param unfinished: returns the ids; called from another thread.
        :param stop: lets nothing more be submitted; likewise.
        """
        instance, service = context["ti"], get_service(account.service)
        if not self.cancels(service):
            return

        async def cancel() -> None:
            if not was_killed(await asyncio.to_thread(states_of, instance)):
                self.log.info(
                    "This process was told to stop, but its task was not stopped for good: the image tasks go on."
                )
                return
            self._begin = None
            stop()
            known: set[str] = set()
            # What was being submitted has its id a moment later.
            while wanted := [each for each in unfinished() if each not in known]:
                known.update(wanted)
                await _cancel(account, service, wanted, self.log)
                await asyncio.sleep(_LOOK_AGAIN)

        def begin() -> None:
            asyncio.run(_bounded(cancel(), LONGEST_ON_WORKER, self.log))

        self._begin = begin

    def on_kill(self) -> None:
        """Cancel in a thread of its own, once: the signal may have come while Airflow's own channel is in use."""
        if self._begin is not None and (self._cancelling is None or not self._cancelling.is_alive()):
            self._cancelling = threading.Thread(target=self._begin, name="cancel on kill")
            self._cancelling.start()

    def await_cancelling(self) -> None:
        """Wait until what :meth:`on_kill` began is over: a process whose task ends does not wait for its threads."""
        if self._cancelling is not None:
            self._cancelling.join(LONGEST_ON_WORKER)
