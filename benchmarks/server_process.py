"""Starts the server of a measurement, fills it with image tasks that never finish, and asks what it saw."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Self

import aiohttp
import requests

from benchmarks.observations import Observation

_PATIENCE = 30.0
_SUBMITTED_AT_ONCE = 20
_SUBMISSION_PATHS = {"acedatacloud": "openai/images/generations", "aigptimage": "api/v1/jobs/createTask"}


class MeasuredServerProcess:
    """The server in a process of its own; use it as a context manager.

    :param arguments: of ``python -m benchmarks.serving``.
    """

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = pipe(self._process.stdout).readline().strip()
        if not self.url:
            self._stop()
            raise RuntimeError("the server of the measurement did not start")
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        pipe(process.stdin).close()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        pipe(process.stdout).close()

    def submit(self, service: str, count: int) -> tuple[str, ...]:
        """Submit image tasks that never finish, in the dialect of ``service``, and return their ids."""
        return tuple(asyncio.run(self._submit(service, count)))

    def observed(self, begin: float, end: float) -> Observation:
        """Return what the server saw of status checks between two moments."""
        answer = requests.get(f"{self.url}/bench/observation", params={"begin": begin, "end": end}, timeout=_PATIENCE)
        answer.raise_for_status()
        return Observation(**answer.json())

    async def _submit(self, service: str, count: int) -> Sequence[str]:
        url = f"{self.url}/{service}/{_SUBMISSION_PATHS[service]}"
        connector = aiohttp.TCPConnector(limit=_SUBMITTED_AT_ONCE)
        async with aiohttp.ClientSession(
            connector=connector, headers={"Authorization": "Bearer measured-key"}
        ) as session:

            async def one(number: int) -> str:
                async with session.post(url, json=_submission(service, f"a red kite {number} [never]")) as answer:
                    answer.raise_for_status()
                    body = await answer.json()
                    return str(body.get("task_id") or body["data"]["taskId"])

            return await asyncio.gather(*(one(number) for number in range(count)))


def _submission(service: str, prompt: str) -> dict[str, object]:
    if service == "acedatacloud":
        return {"model": "gpt-image-2", "prompt": prompt, "async": True}
    return {"model": "gpt-image-2-text-to-image", "input": {"prompt": prompt}}


def pipe(stream: IO[str] | None) -> IO[str]:
    """Return a pipe of a process that was started with one."""
    if stream is None:
        raise RuntimeError("the process was started without pipes")
    return stream
