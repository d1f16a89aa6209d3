"""Places of a batch's rows within what their account allows over all processes, taken and given back in groups."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from airflow_provider_imagetasks.accounts.book import LIFE_SECONDS, AccountBook
from airflow_provider_imagetasks.accounts.grants import EndedImageTask, Grant, PlannedSubmission, Turn
from airflow_provider_imagetasks.accounts.submission_in_turn import paced, seconds_until_next_look
from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import ImageTaskError, ServiceUnavailableError
from airflow_provider_imagetasks.polling.reads import read_all
from airflow_provider_imagetasks.polling.session import pace_of
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask

PATIENCE = 20.0
"""Seconds after which a group that got no place is withheld, so that the batch can look at what else there is."""
PAUSE = 5.0
"""Seconds for which it then asks for none."""
AHEAD_SECONDS = 4.0
"""Seconds for which a group takes turns ahead; the next group takes its own so long before the last of them. So other
callers with the account never wait behind many turns of a batch."""
_GIVEN_BACK_AT_ONCE = 500


@dataclass
class Granted:
    """What the account grants to a group of rows.

    :param intents: those that have a place.
    :param turns: of those, by row; ``keys`` likewise, what they go out with.
    :param requests: of those, by row, as far as they were read; of no provider batch, which has too many.
    :param withheld: those that have none now.
    :param began_at: Unix seconds when they began to wait.
    :param refused: one that may not be submitted at all, and why; None where there is none.
    """

    intents: Sequence[Intent] = ()
    turns: dict[int, Turn] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)
    requests: dict[int, ImageRequest] = field(default_factory=dict)
    withheld: Sequence[Intent] = ()
    began_at: float = 0.0
    refused: tuple[Intent, ImageTaskError] | None = None


class RowPlaces:
    """Places of one start of a batch.

    :param book: of the account; None where each process counts for itself.
    :param run: drives a flow over the session of the account.
    :param is_stopped: whether nothing more is to be submitted.
    """

    def __init__(
        self,
        arguments: BatchArguments,
        batch: OpenBatch,
        book: AccountBook | None,
        run: Callable[[Flow[object]], object],
        is_stopped: Callable[[], bool],
    ) -> None:
        self._service = arguments.service
        self._account = arguments.account
        self._life = max(LIFE_SECONDS, arguments.timeout)
        self._batches = arguments.provider_batches
        self._batch = batch
        self._book = book
        self._run = run
        self._is_stopped = is_stopped
        self._ticket = secrets.token_hex(16)
        self._next_at = self._next_turns_at = 0.0
        self._asks = asyncio.Lock()

    @property
    def may_ask(self) -> bool:
        """Whether it is time to ask for places."""
        return time.time() >= self._next_at

    async def take(self, intents: Sequence[Intent]) -> Granted:
        """Wait until the first of a group have places, for a while. Rows of a provider batch need only the money.

        :raises ServiceUnavailableError: there is a budget, and the store has been unable to say for long what is left
            of it.
        """
        book = self._book
        if book is None:
            return Granted(intents)
        async with self._asks:
            while not self._is_stopped():
                seconds = self._next_turns_at - time.time()
                if seconds <= 0:
                    break
                await asyncio.sleep(min(seconds, 0.5))
            is_due = self.may_ask and not self._is_stopped()
            return await self._take(book, intents) if is_due else Granted(withheld=intents)

    async def _take(self, book: AccountBook, intents: Sequence[Intent]) -> Granted:
        wanted: list[PlannedSubmission] = []
        requests: dict[int, ImageRequest] = {}
        refused, began_at = None, time.time()
        share = self._batches.price_share if self._batches else 1.0
        for intent in intents:
            try:
                request = self._batch.requests.request(intent.index)
                priced = request.with_model(self._service.model_for(request, self._account))
                wanted.append(book.wanted(self._service, priced, self._batch.key_of(intent), share=share))
                if self._batches is None:
                    requests[intent.index] = request
            except ImageTaskError as error:
                refused = (intent, error)
                break
        grant = await self._grant(book, wanted) if wanted else Grant()
        if grant is None:
            return Granted(intents[: len(wanted)], withheld=_rest(intents, len(wanted), refused), refused=refused)
        now, count = time.time(), len(grant.turns)
        problem = book.problem(grant)
        if problem is not None:
            refused = (intents[count], problem)
        elif count < len(wanted):
            refused = None
        held = [replace(intent, at=now) for intent in intents[:count]]
        rows = [intent.index for intent in held]
        turns = dict(zip(rows, grant.turns, strict=True))
        keys = dict(zip(rows, (planned.key for planned in wanted), strict=False))
        if count:
            self._next_turns_at = now + grant.turns[-1].seconds - AHEAD_SECONDS
        elif refused is None:
            self._next_at = now + PAUSE
        return Granted(held, turns, keys, requests, _rest(intents, count, refused), began_at, refused)

    def paced(self, intent: Intent, submission: Flow[ImageTask], granted: Granted) -> Flow[ImageTask] | None:
        """Return a submission that keeps its turn among those of all processes; None where it has none."""
        if self._book is None or intent.index not in granted.turns:
            return None
        turn, key = granted.turns[intent.index], granted.keys[intent.index]
        return paced(self._book, key, submission, turn, began_at=granted.began_at)

    async def note(self, granted: Granted, tasks: dict[int, ImageTask], free: Sequence[Intent]) -> None:
        """Tell the account what became of a group.

        :param tasks: of those that were taken, by row.
        :param free: those that cost nothing.
        """
        book = self._book
        if book is None or not granted.turns:
            return
        keys = granted.keys
        over = [EndedImageTask.of(task) for task in tasks.values() if task.state.is_final]
        ended = {keys[row]: task.id for row, task in tasks.items() if task.state.is_final}
        running = {keys[row]: task.id for row, task in tasks.items() if not task.state.is_final}
        unbilled = [
            keys[intent.index] for intent in free if intent.index in keys and not granted.turns[intent.index].is_again
        ]
        await asyncio.to_thread(self._note, book, running, over, ended, unbilled)

    async def found(self, found: Sequence[tuple[Intent, ImageTask]]) -> None:
        """Tell the account which image tasks came of submissions whose answers were lost."""
        book = self._book
        if book is not None:
            for intent, task in found:
                await asyncio.to_thread(book.found, self._batch.key_of(intent), task, life=self._life)

    async def give_back(self, intents: Sequence[Intent]) -> None:
        """Tell the account that submissions were never made, or not billed."""
        keys = [self._batch.key_of(intent) for intent in intents]
        if self._book is not None:
            for start in range(0, len(keys), _GIVEN_BACK_AT_ONCE):
                await asyncio.to_thread(self._book.refused, keys[start : start + _GIVEN_BACK_AT_ONCE])

    def _note(
        self,
        book: AccountBook,
        running: dict[str, str],
        over: list[EndedImageTask],
        ended: dict[str, str],
        unbilled: list[str],
    ) -> None:
        if running:
            book.taken(running, life=self._life)
        if ended:
            book.over(over, keys=ended)
        if unbilled:
            book.refused(unbilled)

    async def _grant(self, book: AccountBook, wanted: Sequence[PlannedSubmission]) -> Grant | None:
        until = time.time() + PATIENCE
        while True:
            try:
                ask = partial(book.count, wanted) if self._batches else partial(book.take, self._ticket, wanted)
                grant = await asyncio.to_thread(ask)
            except ServiceUnavailableError:
                if time.time() >= until or self._is_stopped():
                    raise
                await asyncio.sleep(1)
                continue
            if grant is None or grant.turns or grant.excess:
                return grant
            if grant.running:
                await self._look(grant)
            if time.time() >= until or self._is_stopped():
                return grant
            await asyncio.sleep(seconds_until_next_look(grant))

    async def _look(self, grant: Grant) -> None:
        """Ask for the image tasks that hold the places: whoever reads that one is over gives its place back."""
        pace = pace_of(self._account, self._service)
        try:
            await self._run(read_all(self._service, pace, grant.running))  # type: ignore[misc]
        except ImageTaskError:
            # That was a question about others, which somebody asks again.
            return


def _rest(intents: Sequence[Intent], count: int, refused: tuple[Intent, ImageTaskError] | None) -> list[Intent]:
    return [intent for intent in intents[count:] if refused is None or intent is not refused[0]]
