"""Runs the same flow over either transport, without waiting for its pauses."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import Answer, Flow, Request, Result, ask
from airflow_provider_imagetasks.transports import http as transport

TRANSPORTS = ("requests", "aiohttp")
KEY = "sk-nobody-may-see-this"
STARTED_AT = 1_790_000_000.0
SUBMISSION = Request(method="POST", path="/openai/images/generations", body={"prompt": "a red kite"})


def account(base_url: str, **fields: Any) -> Account:
    usual = {"conn_id": "mine", "service": "acedatacloud", "key": KEY}
    return Account(**{**usual, "base_url": base_url, **fields})


@dataclass
class DrivenTransport:
    """A transport of one kind whose clock only its own pauses move.

    :param kind: ``requests`` or ``aiohttp``.
    """

    kind: str
    keeps_pictures: bool = True
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._now = STARTED_AT

    def freeze_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace the clock and the sleeping in the transport module, nowhere else."""

        async def sleep(seconds: float) -> None:
            self._sleep(seconds)

        monkeypatch.setattr(
            transport, "time", SimpleNamespace(sleep=self._sleep, time=lambda: self._now, monotonic=time.monotonic)
        )
        monkeypatch.setattr(transport, "asyncio", SimpleNamespace(sleep=sleep, to_thread=asyncio.to_thread))

    def run(self, flow: Flow[Result], account: Account) -> Result:
        """Run ``flow`` to its end, over a transport of its own."""
        if self.kind == "requests":
            with transport.RequestsTransport(account, keeps_pictures=self.keeps_pictures) as runner:
                return runner.run(flow)
        return asyncio.run(self._run_in_loop(flow, account))

    def outcome(self, flow: Flow[Any], account: Account) -> Any:
        """Return the result of ``flow``, or the error that it raised."""
        try:
            return self.run(flow, account)
        except ImageTaskError as error:
            return error

    def ask(self, request: Request, account: Account) -> Answer:
        """Make one request and return what the transport reports of it."""
        return self.run(ask(request), account)

    async def _run_in_loop(self, flow: Flow[Result], account: Account) -> Result:
        async with transport.AiohttpTransport(account, keeps_pictures=self.keeps_pictures) as runner:
            return await runner.run(flow)

    def _sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self._now += seconds
        if seconds:
            self.pauses.append(seconds)


def comparable(outcome: Any) -> Any:
    """Return what has to be the same over both transports, of a result or an error."""
    if isinstance(outcome, ImageTaskError):
        facts = {name: value for name, value in vars(outcome).items() if name not in ("_message", "reason")}
        return type(outcome), facts, type(outcome.__cause__)
    return replace(outcome, raw={}) if hasattr(outcome, "raw") else outcome
