"""The book of one account: how this process uses the account store, and what holds while the store is unavailable.

Without a budget, an unavailable store stops nothing: each process counts for itself until the store is back, and the
log says so. With a budget, nothing is submitted that cannot be counted.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from airflow_provider_imagetasks.accounts.budgets import Budgets, cost_of, exceeded, require_price
from airflow_provider_imagetasks.accounts.grants import EndedImageTask, Grant, PlannedSubmission, Turn
from airflow_provider_imagetasks.accounts.settings import NO_STORE, budget_zone, store_url
from airflow_provider_imagetasks.accounts.store import AccountStore, StoreError
from airflow_provider_imagetasks.accounts.tables import LONGEST_NAME
from airflow_provider_imagetasks.accounts.turn_rows import Kind
from airflow_provider_imagetasks.accounts.turn_times import AnswerTimes
from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError, ServiceUnavailableError
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.fields import cleaned
from airflow_provider_imagetasks.services.rates import Rate
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask

LIFE_SECONDS = 3600.0
"""Seconds for which an image task holds its place at most, where nobody reads that it is over."""
AWAY_SECONDS = 10.0
"""Seconds after which a store that could not be used is tried again."""
LOOK_SECONDS = 2.0
"""Seconds between two looks at the image tasks that hold the places, over all who wait for one."""

UNREACHABLE = "account_store"
"""The error code of a submission that was not made because the account store could not count it."""
_REMEMBERED = 2_000

_log = logging.getLogger(__name__)
Answered = TypeVar("Answered")


class AccountBook:
    """What all processes know of one account, as one of them reads and changes it. Every method may block for seconds.

    :param account: the connection's, with the limits that hold for the caller.
    :param store: shared by all accounts of this process.
    """

    def __init__(self, account: Account, store: AccountStore) -> None:
        self.account = account
        self.budgets = Budgets(per_day=account.budget_per_day, per_month=account.budget_per_month, zone=budget_zone())
        self._store = store
        self._tried_again_at = 0.0
        self._is_away = False
        self.answer_times: dict[Kind, AnswerTimes] = {"submit": AnswerTimes(), "query": AnswerTimes()}
        self._ended: dict[str, EndedImageTask] = {}
        self._untold: deque[Callable[[str], None]] = deque(maxlen=_REMEMBERED)
        """What the store has to hear once it can be used again."""

    def wanted(
        self,
        service: Service,
        request: ImageRequest,
        key: str | None,
        *,
        share: float = 1.0,
        is_made_once: bool = True,
    ) -> PlannedSubmission:
        """Return what a submission asks the store for.

        :param request: completed.
        :param key: what it goes out with; None for one that no later try repeats.
        :param share: of the usual price that it costs.
        :param is_made_once: whether the caller looks for the result of an earlier try before the key goes out again.
        :raises InvalidRequestError: there is a budget, and the request's price is not known.
        """
        model = request.model or ""
        cost = cost_of(service, request, self.account.prices, currency=self.budgets.currency, share=share)
        require_price(cost, self.budgets, conn_id=self.account.conn_id, model=model)
        return PlannedSubmission(
            key=key or secrets.token_hex(16),
            cost=cost,
            model=cleaned(model, most=LONGEST_NAME),
            # Airflow sets it for whatever a task runs.
            dag_id=cleaned(os.environ.get("AIRFLOW_CTX_DAG_ID", ""), most=LONGEST_NAME),
            pictures=service.image_count_of(request),
            is_made_once=is_made_once or service.repeats_submit_by_key,
        )

    def take(self, ticket: str, wanted: Sequence[PlannedSubmission], *, at_once: bool = False) -> Grant | None:
        """Take a place, a turn and the money for as many of the first submissions as there are now.

        :param ticket: names the caller, the same each time that it asks.
        :param at_once: whether what may leave now does, with nothing to be done before.
        :returns: None where the store cannot be used, and there is no budget.
        :raises ServiceUnavailableError: it cannot be used, and there is a budget. Nothing was submitted.
        """
        account = self.account

        def take(account_id: str) -> Grant:
            limits = {"rate": account.submit_rate, "most_active": account.max_active_tasks, "budgets": self.budgets}
            how = {**limits, "look_every": LOOK_SECONDS, "at_once": at_once}
            return self._store.take(account_id, ticket, wanted, **how)  # type: ignore[arg-type]

        return self._counted(take)

    def count(self, wanted: Sequence[PlannedSubmission]) -> Grant | None:
        """Take the money for as many of the first submissions as there is money for, where only a budget bounds them.

        :returns: as :meth:`take`.
        :raises ServiceUnavailableError: likewise.
        """
        return self._counted(lambda account_id: self._store.count(account_id, wanted, budgets=self.budgets))

    def _counted(self, ask: Callable[[str], Grant]) -> Grant | None:
        try:
            grant = self._ask(ask)
        except StoreError as error:
            if not self.budgets:
                return None
            raise self._cannot_count(error) from error
        metrics.account(self.account.service, self.account.conn_id, places=grant.places, used=grant.used)
        return grant

    def problem(self, grant: Grant) -> ImageTaskError | None:
        """Return why the next submission may not be made at all; None where it only has to wait."""
        if grant.excess is None:
            return None
        return exceeded(grant.excess, conn_id=self.account.conn_id, service=self.account.service)

    def leave(self, ticket: str) -> None:
        """Stop waiting for a place."""
        self._tell(lambda _: self._store.leave(ticket))

    def turn(self, kind: Kind, rate: Rate | None) -> Turn:
        """Take the next turn of a request; it may leave at once where the store cannot be used."""
        try:
            return self._ask(lambda account_id: self._store.turn(account_id, kind, rate))
        except StoreError:
            return Turn()

    def leaves(
        self, kind: Kind, rate: Rate | None, turn: Turn, key: str | None = None, *, is_first: bool = False
    ) -> float:
        """Note that a request leaves now, and return 0; or return for how many seconds it must not.

        :param key: of the submission that it belongs to.
        :param is_first: whether nothing of that submission has left.
        :raises ServiceUnavailableError: nothing has left, and it must not: it is so late that its place and money went
            to others; or the store cannot be used and there is a budget, which would be refunded for a request that is
            not known to have left.
        """
        turn_id = turn.id
        if turn_id is None:
            return 0.0
        try:
            seconds = self._ask(lambda account_id: self._store.leaves(account_id, kind, rate, turn_id, key))
        except StoreError as error:
            if is_first and self.budgets:
                raise self._cannot_count(error) from error
            return 0.0
        if seconds is None and is_first:
            raise self._uncounted("This submission waited for so long after its turn that its place went to others")
        return seconds or 0.0

    def counts_from_later(self, turn: Turn, seconds: float) -> None:
        """Count a request as if it had left so many seconds later."""
        if turn.id is not None:
            turn_id = turn.id
            self._tell(lambda account_id: self._store.counts_from_later(account_id, turn_id, seconds))

    def pause(self, kind: Kind, seconds: float) -> None:
        """Hold back the requests of all processes for so many seconds, as the service asked."""
        metrics.paused(self.account.service, kind)
        self._tell(lambda account_id: self._store.pause(account_id, kind, seconds))

    def taken(self, image_task_ids: Mapping[str, str], *, life: float = LIFE_SECONDS) -> None:
        """Note the image tasks of submissions, by key; each holds its place for so many seconds at most."""
        self._tell(lambda account_id: self._store.taken(account_id, image_task_ids, life=life), is_kept=True)
        # Somebody of this process may have read their end before.
        ended = [self._ended[each] for each in image_task_ids.values() if each in self._ended]
        if ended:
            self._tell(lambda account_id: self._store.over(account_id, ended), is_kept=True)

    def found(self, key: str, task: ImageTask, *, life: float = LIFE_SECONDS) -> None:
        """Note the image task of a submission, also of one whose answer was lost.

        :param life: as for :meth:`taken`.
        """
        if task.state.is_final:
            self.over([EndedImageTask.of(task)], keys={key: task.id})
        else:
            self.taken({key: task.id}, life=life)

    def refused(self, keys: Sequence[str]) -> None:
        """Give back place and money of submissions that were not billed."""
        self._tell(lambda account_id: self._store.refused(account_id, keys))

    def has_news(self, ended: Sequence[EndedImageTask]) -> bool:
        """Whether one of them was not reported as over before. Does not ask the store."""
        return any(each.image_task_id not in self._ended for each in ended)

    def over(self, ended: Sequence[EndedImageTask], *, keys: Mapping[str, str] = MappingProxyType({})) -> None:
        """Give back the places of image tasks that are over, and correct what they cost; each is reported once.

        :param keys: image tasks that were over in the answer to their submission already, by the submission's key.
        """
        at_once = set(keys.values())
        ended = [each for each in ended if each.image_task_id in at_once or each.image_task_id not in self._ended]
        self._ended |= {each.image_task_id: each for each in ended}
        while len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]
        if not ended:
            return
        self._tell(lambda account_id: self._store.over(account_id, ended, keys=keys), is_kept=True)

    def _tell(self, say: Callable[[str], None], *, is_kept: bool = False) -> None:
        """Report something to the store; nothing while it cannot be used: places expire, and money counts as spent.

        :param is_kept: whether it is reported once the store is back. A refusal never is: by then the submission may
            have left again under its key.
        """
        try:
            self._ask(say)
        except StoreError:
            if is_kept:
                self._untold.append(say)

    def _say_what_is_untold(self, account_id: str) -> None:
        while True:
            try:
                say = self._untold.popleft()
            except IndexError:
                return
            try:
                say(account_id)
            except StoreError:
                self._untold.appendleft(say)
                raise

    def _cannot_count(self, error: StoreError) -> ServiceUnavailableError:
        return self._uncounted(
            f"Connection {self.account.conn_id!r} has a budget, but its spending cannot be looked up ([imagetasks] "
            f"account_store: {error})"
        )

    def _uncounted(self, why: str) -> ServiceUnavailableError:
        return ServiceUnavailableError(
            why,
            service=self.account.service,
            code=UNREACHABLE,
            billed="no",
            retry_advice="Nothing was submitted. A retry looks again.",
        )

    def _ask(self, question: Callable[[str], Answered]) -> Answered:
        if time.monotonic() < self._tried_again_at:
            raise StoreError("it could not be used a moment ago")
        try:
            account_id = self._store.account_id(self.account, _limits(self.account))
            self._say_what_is_untold(account_id)
            answer = question(account_id)
        except StoreError as error:
            self._tried_again_at = time.monotonic() + AWAY_SECONDS
            if not self._is_away:
                self._is_away = True
                means = (
                    "There is a budget, so nothing is submitted until it is back."
                    if self.budgets
                    else "Until it is back each process keeps to the limits of its own submissions alone."
                )
                _log.error("The account store ([imagetasks] account_store) cannot be used: %s. %s", error, means)
            raise
        if self._is_away:
            self._is_away = False
            _log.warning(
                "The account store is back: the limits of connection %s apply across all processes again.",
                self.account.conn_id,
            )
        return answer


def _limits(account: Account) -> dict[str, str]:
    said = {
        "submit_rate": account.submit_rate,
        "query_rate": account.query_rate,
        "max_active_tasks": account.max_active_tasks,
        "budget_per_day": account.budget_per_day,
        "budget_per_month": account.budget_per_month,
    }
    return {name: str(value) for name, value in said.items() if value is not None}


_stores: dict[tuple[int, str], AccountStore] = {}
_books: dict[tuple[int, str, Account], AccountBook] = {}


def book_of(account: Account) -> AccountBook | None:
    """Return the book of an account that everybody in this process shares; None where no store is set up."""
    url = store_url()
    if url is None:
        return None
    # A process that was forked has connections of its own.
    place = (os.getpid(), url)
    if place not in _stores:
        _stores[place] = AccountStore(url)
    if (*place, account) not in _books:
        _books[*place, account] = AccountBook(account, _stores[place])
    return _books[*place, account]


def note_found(account: Account, task: ImageTask, *, key: str) -> None:
    """Count an image task again whose answer was lost, once it was found by other means. Free.

    :param key: what its submission went out with.
    """
    book = book_of(account)
    if book is not None:
        book.found(key, task)


def submitting_book_of(account: Account) -> AccountBook | None:
    """Do what :func:`book_of` does, for a caller that is about to submit.

    :raises InvalidRequestError: no store is set up, and the connection has a budget. Nothing was submitted.
    """
    book = book_of(account)
    if book is None and (account.budget_per_day or account.budget_per_month):
        raise InvalidRequestError(
            f"Connection {account.conn_id!r} has a budget, but [imagetasks] account_store is {NO_STORE!r}, so its "
            "spending is not counted; leave account_store empty, or name a database"
        )
    return book
