"""What becomes of a submission: a new image task, the one it repeats, or a refusal."""

from __future__ import annotations

import math
import time
from collections import deque

from airflow_provider_imagetasks.local import faults
from airflow_provider_imagetasks.local.directives import Occurrences
from airflow_provider_imagetasks.local.faults import Faults, Reason, RefusedError
from airflow_provider_imagetasks.local.options import RateLimit, ServiceOptions
from airflow_provider_imagetasks.local.task_table import Failure, TaskRecord, TaskTable

_KEYS_WATCHED = 1_000


class Gate:
    """Lets through at most so many requests of a key in a time, whatever second the window starts in."""

    def __init__(self, limit: RateLimit | None) -> None:
        self._limit = limit
        self._passed: dict[str | None, deque[float]] = {}

    def check(self, bearer: str | None) -> None:
        """Count a request.

        :raises RefusedError: when the key has used up its limit; refused requests are not counted.
        """
        if self._limit is None:
            return
        now = time.monotonic()
        passed = self._passed.setdefault(bearer, deque())
        while passed and passed[0] <= now - self._limit.seconds:
            passed.popleft()
        if len(passed) >= self._limit.count:
            raise RefusedError(
                Reason.RATE_LIMITED,
                f"more than {self._limit.count} requests in {self._limit.seconds:g} seconds",
                retry_after=passed[0] + self._limit.seconds - now,
                limit=self._limit,
            )
        passed.append(now)
        if len(self._passed) > _KEYS_WATCHED:
            del self._passed[next(iter(self._passed))]


class Admission:
    """Decides about submissions, and writes the accepted ones into the table."""

    def __init__(self, options: ServiceOptions, tasks: TaskTable) -> None:
        self._options = options
        self._tasks = tasks
        self._occurrences = Occurrences()
        self._creations = Gate(options.creations)
        self.queries = Gate(options.queries)

    def check_key(self, bearer: str | None) -> None:
        """Let a request in by its key.

        :raises RefusedError: when keys are configured and this is none of them.
        """
        if not self._options.keys or bearer in self._options.keys:
            return
        if bearer is None:
            raise RefusedError(Reason.MISSING_KEY, "no bearer token was sent")
        raise RefusedError(Reason.WRONG_KEY, "this bearer token is not known here")

    def admit(self, asked: TaskRecord) -> tuple[TaskRecord, bool]:
        """Return the image task that was asked for, and whether it is new (or the earlier one that this repeats).

        :raises RefusedError: when no image task comes of it.
        """
        if asked.request_id is not None:
            earlier = self._tasks.submitted_before(asked.dialect, asked.bearer, asked.request_id)
            if earlier is not None:
                return earlier, False
        self._refuse_if_asked(asked, faults.AT_SUBMISSION)
        occurrence = self._occurrences.count(f"{asked.dialect}\0{asked.prompt}")
        self._check_chances(asked.prompt, occurrence)
        self._check_limits(asked.bearer)
        self._decide(asked, occurrence)
        self._tasks.add(asked)
        return asked, True

    def check_answer(self, record: TaskRecord) -> None:
        """Let the answer to an accepted submission go wrong where its prompt asks for it.

        :raises RefusedError: when it does.
        """
        self._refuse_if_asked(record, faults.AFTER_SUBMISSION)

    def _refuse_if_asked(self, record: TaskRecord, asked_for: Faults) -> None:
        def applies(name: str) -> bool:
            return self._occurrences.applies(record.behaviours, name, key=f"{record.dialect}\0{record.prompt}")

        faults.refuse_if_asked(record.behaviours, asked_for, applies)

    def _check_chances(self, prompt: str, occurrence: int) -> None:
        options = self._options
        if options.chance("rate limit", prompt, occurrence) < options.rate_limit_rate:
            raise RefusedError(Reason.RATE_LIMITED, "limited at random", retry_after=1)
        if options.chance("refuse", prompt, occurrence) < options.refuse_rate:
            raise RefusedError(Reason.CONTENT, "refused at random, as if for its content")

    def _check_limits(self, bearer: str | None) -> None:
        maximum = self._options.max_active
        if maximum is not None and self._tasks.active_of(bearer) >= maximum:
            raise RefusedError(
                Reason.RATE_LIMITED,
                f"{maximum} image tasks are running already",
                retry_after=self._tasks.seconds_to_next_end(default=5),
            )
        self._creations.check(bearer)

    def _decide(self, record: TaskRecord, occurrence: int) -> None:
        """Decide how long an image task takes and how it ends."""
        options, behaviours = self._options, record.behaviours
        if behaviours.asks("fail"):
            record.failure = Failure("the prompt asked to fail", behaviours.word("fail", "") or None)
        elif behaviours.asks("refuse-late"):
            code = behaviours.word("refuse-late", "") or None
            record.failure = Failure("the prompt asked to be refused late for its content", code, content=True)
        elif options.chance("fail", record.prompt, occurrence) < options.fail_rate:
            record.failure = Failure("failed at random")
        latency = behaviours.number("latency", options.latency_of(record.prompt, occurrence))
        record.latency = math.inf if behaviours.asks("never") else latency
        if behaviours.asks("n-less"):
            record.image_count = max(1, record.image_count - int(behaviours.number("n-less", 1)))
        if behaviours.asks("no-images") or record.failure is not None:
            record.image_count = 0
        record.in_base64 = record.in_base64 or behaviours.asks("b64")
        record.queryable = record.queryable and behaviours.word("sync", "") != "anonymous"
