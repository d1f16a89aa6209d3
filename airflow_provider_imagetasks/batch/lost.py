"""Finds out what became of submissions whose answer nobody has: of an earlier start, or cut off just now."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from airflow_provider_imagetasks.batch.asking import RunsFlows
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.exceptions import UnknownOutcomeError
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.submissions.reconciling import is_recognised, reconcile_group
from airflow_provider_imagetasks.tasks import NOT_FOUND_GRACE, ImageTask, utc_moment

GROUP = 49
"""Submissions that are looked for at once; with the witness that makes a page."""
ASK_AGAIN = 10.0


@dataclass(frozen=True, slots=True)
class Lost:
    """A submission without an answer.

    :param key: what it went out with.
    :param until: Unix seconds until which the service may still be writing it down.
    """

    intent: Intent
    key: str
    until: float


@dataclass
class Found:
    """What a look brought.

    :param taken: image tasks by row.
    :param never_taken: rows that the service never took, or recognises if they are submitted again: free to repeat.
    :param unknown: rows of which nobody can tell, with the error that says so.
    """

    taken: dict[int, ImageTask] = field(default_factory=dict)
    never_taken: list[int] = field(default_factory=list)
    unknown: dict[int, UnknownOutcomeError] = field(default_factory=dict)


class LostSubmissions:
    """Those that are being looked for. Each counts as running until it is known what became of it.

    :param service: whether it can tell decides how they are looked for.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lost: dict[int, Lost] = {}
        self._next_look = 0.0
        self._keeps_trace_ids = False
        """Whether the service showed that it does."""

    def __len__(self) -> int:
        return len(self._lost)

    def add(self, intent: Intent, key: str) -> None:
        """Look for a submission.

        :param key: what it went out with.
        """
        self._lost[intent.index] = Lost(intent, key, time.time() + NOT_FOUND_GRACE)

    def next_look(self) -> float | None:
        """Return the Unix time of the next look; None where nothing is lost."""
        return self._next_look if self._lost else None

    async def look(self, transport: RunsFlows, witness: str | None) -> Found:
        """Ask the service, where it can tell.

        :param witness: the key of a submission that certainly was taken.
        :raises ImageTaskError: the service cannot be asked now.
        """
        found, now = Found(), time.time()
        if self._service.repeats_submit_by_key:
            for row, lost in self._lost.items():
                if is_recognised(lost.intent.at, now):
                    found.never_taken.append(row)
                else:
                    found.unknown[row] = self._unknown(lost)
        elif not self._service.finds_by_trace_id:
            found.unknown = {row: self._unknown(lost) for row, lost in self._lost.items()}
        else:
            await self._look_by_trace_id(transport, witness, found, now)
        for row in (*found.taken, *found.never_taken, *found.unknown):
            self._lost.pop(row, None)
        self._next_look = min(
            (max(now + 1, min(lost.until, now + ASK_AGAIN)) for lost in self._lost.values()), default=0
        )
        return found

    async def _look_by_trace_id(self, transport: RunsFlows, witness: str | None, found: Found, now: float) -> None:
        everyone = list(self._lost.values())
        absent: list[Lost] = []
        for start in range(0, len(everyone), GROUP):
            group = {lost.key: lost for lost in everyone[start : start + GROUP]}
            findings = await transport.run(reconcile_group(self._service, list(group), witness=witness))
            self._keeps_trace_ids = self._keeps_trace_ids or findings.proven
            for key, lost in group.items():
                if key in findings.found:
                    found.taken[lost.intent.index] = findings.found[key]
                elif key in findings.unclear:
                    found.unknown[lost.intent.index] = self._unknown(lost)
                elif now >= lost.until:
                    absent.append(lost)
        for lost in absent:
            if self._keeps_trace_ids:
                found.never_taken.append(lost.intent.index)
            else:
                found.unknown[lost.intent.index] = self._unknown(lost)

    def _unknown(self, lost: Lost) -> UnknownOutcomeError:
        moment = utc_moment(lost.intent.at)
        return UnknownOutcomeError(
            f"The outcome of the submission at about {moment} is unknown: no answer came, and {self._service.title} "
            f"cannot tell. {self._service.how_to_look}",
            service=self._service.name,
            trace_id=lost.key if self._service.finds_by_trace_id else None,
        )
