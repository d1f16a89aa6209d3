"""Searches for a batch's submissions whose answer is missing: cut off with an earlier start, or lost just now.

Each ends in an outcome that is returned; what becomes of the row is for the run to decide.
"""

from __future__ import annotations

import math
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from airflow_provider_imagetasks.batch.row_submissions import AtService, Failed, RunFlow
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.exceptions import ImageTaskError, ServiceUnavailableError, UnknownOutcomeError
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.submissions.reconciling import OTHER_ACCOUNT, is_recognised, reconcile_group
from airflow_provider_imagetasks.tasks import moment_of_submission, utc_moment

LARGEST_SEARCH = 49
"""Submissions that one request looks for: a page of 50, less the one that is known to be taken."""
LOOK_AGAIN = 10.0
"""Seconds between two searches."""


class Found(AtService):
    """A submission without an answer that the service has."""


class NeverTaken(Failed):
    """A submission that is free to repeat: it was never taken, or its key is recognised. Else the row fails so."""


class Unknown(Failed):
    """A submission whose outcome stays unknown, with the error that says so."""


Searched: TypeAlias = Found | NeverTaken | Unknown


def unknown_outcome(intent: Intent, key: str, service: Service, why: str = "") -> UnknownOutcomeError:
    """Return what is said of a submission, which went out with a key, that the service may have taken.

    :param why: the reason that nobody can tell, as the end of a sentence.
    """
    return UnknownOutcomeError(
        f"The outcome of the submission at about {utc_moment(intent.at)} is unknown: no answer came, "
        f"{why or f'and {service.title} cannot tell'}. {service.how_to_look}",
        service=service.name,
        trace_id=key if service.finds_by_trace_id else None,
    )


@dataclass(frozen=True, slots=True)
class _Search:
    """A submission that is looked for: its key, and the Unix time until which the service may still write it down.

    :param first_at: Unix seconds since which the service may know the key.
    :param api: which of the service's APIs it went to.
    :param error: why this start has no answer; None where an earlier one was cut off.
    :param has_other_account: whether it went out with another API key than what is asked with.
    """

    intent: Intent
    key: str
    until: float
    first_at: float
    api: str = ""
    error: ImageTaskError | None = None
    has_other_account: bool = False


class UnansweredSubmissions:
    """Submissions without an answer, of an earlier start or cut off just now. Each counts as running until it is known.

    :param service: whether it can tell decides how they are looked for.
    :param grace: seconds that the service may take to write a submission down.
    :param conn_id: the connection, for messages.
    """

    def __init__(self, service: Service, grace: float, run: RunFlow, *, conn_id: str = "") -> None:
        self._service = service
        self._run = run
        self._grace = grace
        self._conn_id = conn_id
        self._searches: dict[int, _Search] = {}
        self._next_look = 0.0
        self._keep_trace_ids: set[str] = set()
        """The APIs of the service that showed that they do."""

    def __len__(self) -> int:
        return len(self._searches)

    def add(
        self,
        intent: Intent,
        key: str,
        leaves_by: float,
        error: ImageTaskError | None = None,
        *,
        api: str = "",
        first_at: float | None = None,
        has_other_account: bool = False,
    ) -> None:
        """Look from now on for a submission that went out with a key.

        :param leaves_by: Unix seconds after which it has left, if it did.
        :param error: why this start has no answer.
        :param api: which of the service's APIs it went to.
        :param first_at: Unix seconds when its key left first; None where that was with this intent.
        :param has_other_account: whether it went out with another API key, so that to be absent proves nothing.
        """
        first_at = intent.at if first_at is None else first_at
        until = leaves_by + self._grace
        self._searches[intent.index] = _Search(intent, key, until, first_at, api, error, has_other_account)

    def is_due(self) -> bool:
        """Whether it is time for the next search; never while one is being made."""
        return bool(self._searches) and self._next_look <= time.time()

    def look(self, known_keys: Mapping[str, str]) -> Coroutine[Any, Any, list[Searched]]:
        """Ask the service, where it can tell, and return what is known now. The rest is looked for again.

        :param known_keys: by API, the key of a submission that certainly was taken.
        :raises ImageTaskError: the service cannot be asked now.
        """
        # Not when its turn comes: two searches for one submission would both act on what they find.
        self._next_look = math.inf
        return self._look(known_keys)

    async def _look(self, known_keys: Mapping[str, str]) -> list[Searched]:
        now = time.time()
        searches = list(self._searches.values())
        if self._service.repeats_submit_by_key:
            ends: list[Searched] = [
                NeverTaken(search.intent, self._unknown(search).error)
                if is_recognised(search.first_at, now) and not search.has_other_account
                else self._unknown(search)
                for search in searches
            ]
        elif not self._service.finds_by_trace_id:
            ends = [self._unknown(search) for search in searches]
        else:
            ends = []
            for api in dict.fromkeys(search.api for search in searches):
                of_api = [search for search in searches if search.api == api]
                ends += await self._look_by_trace_id(api, of_api, known_keys.get(api), now)
        for end in ends:
            self._searches.pop(end.intent.index, None)
        self._next_look = min(
            (max(now + 1, min(search.until, now + LOOK_AGAIN)) for search in self._searches.values()), default=0
        )
        return ends

    async def _look_by_trace_id(
        self, api: str, searches: Sequence[_Search], known_key: str | None, now: float
    ) -> list[Searched]:
        ends: list[Searched] = []
        absent: list[_Search] = []
        for start in range(0, len(searches), LARGEST_SEARCH):
            group = {search.key: search for search in searches[start : start + LARGEST_SEARCH]}
            findings = await self._run(reconcile_group(self._service, list(group), known=known_key, api=api))
            if findings.proven:
                self._keep_trace_ids.add(api)
            for key, search in group.items():
                task = findings.found.get(key)
                if task is not None:
                    moment = moment_of_submission(task.created_at, search.intent.at)
                    ends.append(Found(replace(search.intent, image_task_id=task.id, submitted_at=moment), task))
                elif key in findings.unclear:
                    ends.append(self._unknown(search))
                elif now >= search.until:
                    absent.append(search)
        ends += [
            NeverTaken(search.intent, self._never_taken(search))
            if api in self._keep_trace_ids and not search.has_other_account
            else self._unknown(search)
            for search in absent
        ]
        return ends

    def _never_taken(self, search: _Search) -> ServiceUnavailableError:
        reason = getattr(search.error, "reason", None)
        return ServiceUnavailableError(
            f"It was never accepted: {self._service.title} lists other rows of this batch, but not this one"
            + (f". What came instead of an answer: {reason}" if reason else ""),
            service=self._service.name,
            billed="no",
            retry_advice="A retry submits it again.",
        )

    def _unknown(self, search: _Search) -> Unknown:
        if isinstance(search.error, UnknownOutcomeError):
            return Unknown(search.intent, search.error)
        why = OTHER_ACCOUNT.format(conn_id=repr(self._conn_id)) if search.has_other_account else ""
        return Unknown(search.intent, unknown_outcome(search.intent, search.key, self._service, why))
