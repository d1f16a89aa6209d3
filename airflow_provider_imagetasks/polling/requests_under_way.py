"""The status requests that an event loop is making: for the shared poller, and for the rows of a batch."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.polling.reads import read_once
from airflow_provider_imagetasks.polling.status_requests import Asked, Failure, StatusRequests, requests_for
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.bounds import trace_of
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.tasks import ImageTask

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Asked]):
    """What came of a status request.

    :param questions: what it asked for.
    :param tasks: what is believed of the answer, by id, ``""`` for a trace id; empty where it failed.
    :param error: why it failed, and ``failure`` what that means; None where it did not.
    """

    questions: Sequence[Asked]
    tasks: Mapping[str, ImageTask] = field(default_factory=dict)
    error: ImageTaskError | None = None
    failure: Failure[Asked] = field(default_factory=Failure)


class RequestsUnderWay(Generic[Asked]):
    """The status requests that an event loop is making. What comes of them is kept until somebody acts on it.

    :param requests: what there is to ask.
    :param run: drives a flow, over the session of the account.
    :param news: set whenever there is an outcome.
    """

    def __init__(
        self, requests: StatusRequests[Asked], run: Callable[[Flow[Any]], Awaitable[Any]], news: asyncio.Event
    ) -> None:
        self._requests = requests
        self._run = run
        self._news = news
        self._under_way: set[asyncio.Task[None]] = set()
        self._outcomes: list[Outcome[Asked]] = []

    def start(self, service: Service, now: float) -> list[tuple[Asked, float]]:
        """Make what requests there may be made now; return their questions, with the seconds each was held back."""
        started: list[tuple[Asked, float]] = []
        while taken := self._requests.take(now, service):
            started += taken
            questions = [question for question, _ in taken]
            request = asyncio.create_task(self._ask(service, questions))
            self._under_way.add(request)
            request.add_done_callback(self._under_way.discard)
        return started

    def outcomes(self) -> list[Outcome[Asked]]:
        """Hand over what came of requests since the last call."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    async def stop(self) -> None:
        """Break off what is under way."""
        for request in self._under_way:
            request.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _ask(self, service: Service, questions: Sequence[Asked]) -> None:
        metrics.polled(service.name, min(1, requests_for(questions, service)))
        try:
            tasks = await self._run(read_once(service, self._requests.pace, questions))
        except asyncio.CancelledError:
            self._requests.under_way -= 1
            raise
        except ImageTaskError as error:
            self._note_failure(questions, error)
        except Exception as error:  # noqa: BLE001 - one request must not end everybody's waits
            _log.warning("A status request failed with an unexpected error:\n%s", trace_of(error))
            self._note_failure(questions, ImageTaskError(f"{type(error).__name__}: {error}", retryable=True))
        else:
            self._requests.answered(questions, time.time())
            self._outcomes.append(Outcome(questions, tasks))
        self._news.set()

    def _note_failure(self, questions: Sequence[Asked], error: ImageTaskError) -> None:
        failure = self._requests.failed(questions, error, time.time())
        self._outcomes.append(Outcome(questions, error=error, failure=failure))
