"""Runs many triggers on one event loop, in a process of its own, and measures what they cost it.

Reads a ``LoadPlan`` as JSON from standard input, and writes a ``LoadResult`` as JSON to standard output.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import os
import sys
import threading
import time
from dataclasses import dataclass

import psutil
from airflow.providers.common.compat.connection import get_async_connection
from airflow.triggers.base import BaseTrigger

from benchmarks.contenders import CONN_ID, Contender, MakeTrigger, prepare
from benchmarks.figures import LoadResult, percentile
from benchmarks.loop_lag import LagSampler

GROUP = 50
"""Triggers that start together, as Airflow's triggerer does it."""
_MEMORY_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """What to run.

    :param image_task_ids: one trigger waits for each.
    :param url: the server's; empty for idle triggers.
    :param service: whose dialect ours speaks.
    :param query_rate: ceiling for ours; None takes the service's.
    :param interval: seconds between two checks of an image task.
    :param start_seconds: how long the start of all triggers is spread over.
    :param warm_up_seconds: from then to the measurement.
    :param measured_seconds: how long the CPU is measured, and after that the lag of the loop.
    """

    contender: Contender
    image_task_ids: tuple[str, ...]
    url: str = ""
    service: str = "acedatacloud"
    query_rate: str | None = None
    interval: float
    start_seconds: float
    warm_up_seconds: float
    measured_seconds: float

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.start_seconds + self.warm_up_seconds + 2 * self.measured_seconds


class TriggerLoad:
    """Starts the triggers of a plan. The clock is watched on another thread, which no trigger can hold up."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._process = psutil.Process()
        self._running: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Run the triggers until the process is ended, by the thread that measures."""
        plan = self._plan
        make_trigger = prepare(
            plan.contender, url=plan.url, interval=plan.interval, service=plan.service, query_rate=plan.query_rate
        )
        # The first look-up of a connection loads much of Airflow, which a triggerer has loaded anyway.
        await get_async_connection(CONN_ID)
        gc.collect()
        memory = self._process.memory_info().rss
        threading.Thread(target=self._measure, args=(asyncio.get_running_loop(), memory), daemon=True).start()
        await self._start(make_trigger)
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.Event().wait()

    async def _start(self, make_trigger: MakeTrigger) -> None:
        plan = self._plan
        began = time.monotonic()
        for image_task_id in plan.image_task_ids:
            self._running.append(asyncio.create_task(_drive(make_trigger(image_task_id))))
            if len(self._running) % GROUP == 0:
                share = len(self._running) / len(plan.image_task_ids)
                await asyncio.sleep(max(0.0, began + share * plan.start_seconds - time.monotonic()))

    def _measure(self, loop: asyncio.AbstractEventLoop, memory_before: int) -> None:
        """Measure, print the result and end the process: thousands of triggers are not worth an orderly end."""
        plan = self._plan
        memory = self._watch_memory(plan.start_seconds + plan.warm_up_seconds)
        begin, cpu = time.time(), time.process_time()
        memory = max(memory, self._watch_memory(plan.measured_seconds))
        middle, cpu = time.time(), time.process_time() - cpu
        sampler = LagSampler(time.monotonic())
        asyncio.run_coroutine_threadsafe(sampler.run(), loop)
        memory = max(memory, self._watch_memory(plan.measured_seconds))
        late = sampler.seconds_late()
        result = LoadResult(
            begin=begin,
            middle=middle,
            end=time.time(),
            cpu_seconds=cpu,
            lag_p50=percentile(late, 50),
            lag_p99=percentile(late, 99),
            lag_max=percentile(late, 100),
            memory_bytes=memory - memory_before,
            ended=sum(task.done() for task in self._running),
        )
        print(json.dumps(dataclasses.asdict(result)), flush=True)
        os._exit(0)

    def _watch_memory(self, seconds: float) -> int:
        """Return the largest size of the process in the next ``seconds``."""
        until = time.monotonic() + seconds
        largest = 0
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _MEMORY_SECONDS))
            largest = max(largest, self._process.memory_info().rss)
        return largest


async def _drive(trigger: BaseTrigger) -> None:
    """Do with a trigger what Airflow's triggerer does: take its first event."""
    async for _event in trigger.run():
        return


def main() -> None:
    """Run the plan on standard input."""
    fields = json.load(sys.stdin)
    fields["contender"] = Contender(fields["contender"])
    fields["image_task_ids"] = tuple(fields["image_task_ids"])
    asyncio.run(TriggerLoad(LoadPlan(**fields)).run())


if __name__ == "__main__":
    main()
