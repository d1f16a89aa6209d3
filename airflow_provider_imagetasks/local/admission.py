"""What becomes of a submission: a new image task, the one it repeats, or a refusal."""

from __future__ import annotations

import math
import time
import uuid
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.local.behaviours import Behaviours, Occurrences
from airflow_provider_imagetasks.local.records import Failure, TaskRecord, TaskTable
from airflow_provider_imagetasks.local.references import NO_REFERENCES, References

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.options import RateLimit, ServiceOptions
    from airflow_provider_imagetasks.local.statistics import Statistics

_KEYS_WATCHED = 1_000


class Reason(Enum):
    """Why a request is not answered the way its sender hopes."""

    INVALID = "invalid"
    UNPROCESSABLE = "unprocessable"
    MISSING_KEY = "missing key"
    WRONG_KEY = "wrong key"
    EXPIRED_KEY = "expired key"
    NO_CREDIT = "no credit"
    CONTENT = "content"
    RATE_LIMITED = "rate limited"
    NOT_FOUND = "not found"
    SERVER_ERROR = "server error"
    ERROR_IN_200 = "error in 200"
    ODD_CLIENT = "odd client"
    CUT = "cut"
    HANG = "hang"
    GARBAGE = "garbage"
    HTML = "html"


class RefusedError(Exception):
    """A request ends here; the dialect words the answer.

    :param status: the HTTP status, for reasons that leave it open.
    :param code: the error code to use instead of the dialect's usual one.
    :param retry_after: seconds that the sender should wait.
    :param limit: the limit that was hit, when it is a configured one.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        status: int = 500,
        code: str | None = None,
        retry_after: float | None = None,
        limit: RateLimit | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.limit = limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A valid request for pictures, whichever dialect it came in.

    :param size: width and height in pixels.
    :param failure: the reason when the request is one that the service accepts and then fails.
    """

    dialect: str
    prompt: str
    model: str
    kind: str
    body: dict[str, Any]
    bearer: str | None
    size: tuple[int, int]
    image_count: int = 1
    media_format: str = "png"
    in_base64: bool = False
    queryable: bool = True
    trace_id: str | None = None
    request_id: str | None = None
    failure: Failure | None = None
    references: References = NO_REFERENCES


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

    def __init__(self, options: ServiceOptions, tasks: TaskTable, statistics: Statistics) -> None:
        self._options = options
        self._tasks = tasks
        self._statistics = statistics
        self._occurrences = Occurrences()
        self._creations = Gate(options.create_limit)
        self.queries = Gate(options.query_limit)

    def check_key(self, bearer: str | None) -> None:
        """Let a request in by its key.

        :raises RefusedError: when keys are configured and this is none of them.
        """
        if not self._options.api_keys or bearer in self._options.api_keys:
            return
        if bearer is None:
            raise RefusedError(Reason.MISSING_KEY, "no bearer token was sent")
        raise RefusedError(Reason.WRONG_KEY, "this bearer token is not known here")

    def admit(self, submission: Submission) -> tuple[TaskRecord, bool]:
        """Return the image task of a submission, and whether it is new (or the earlier one that this repeats).

        :raises RefusedError: when no image task comes of it.
        """
        counts = self._statistics.dialects[submission.dialect]
        if submission.request_id is not None:
            earlier = self._tasks.submitted_before(submission.dialect, submission.bearer, submission.request_id)
            if earlier is not None:
                counts.duplicates += 1
                return earlier, False
        behaviours = Behaviours.parse(submission.prompt)
        if behaviours.settings:
            self._check_behaviours(submission, behaviours)
        occurrence = self._occurrences.count(f"{submission.dialect}\0{submission.prompt}")
        self._check_chances(submission, occurrence)
        self._check_limits(submission.bearer)
        record = self._record(submission, behaviours, occurrence)
        self._tasks.add(record)
        self._statistics.note_created(record)
        return record, True

    def applies(self, record: TaskRecord, name: str) -> bool:
        """Tell whether a directive about answers to submissions applies this time, and count it."""
        if not record.behaviours.settings:
            return False
        key = f"{record.dialect}\0{record.prompt}"
        return self._occurrences.applies(record.behaviours, name, key=key)

    def _check_behaviours(self, submission: Submission, behaviours: Behaviours) -> None:
        def applies(name: str) -> bool:
            key = f"{submission.dialect}\0{submission.prompt}"
            return self._occurrences.applies(behaviours, name, key=key)

        if applies("expired-key"):
            raise RefusedError(Reason.EXPIRED_KEY, "the prompt asked for an expired key")
        if applies("no-credit"):
            raise RefusedError(Reason.NO_CREDIT, "the prompt asked for an empty balance")
        if applies("refuse"):
            code = behaviours.word("refuse", "") or None
            raise RefusedError(Reason.CONTENT, "the prompt asked to be refused for its content", code=code)
        if applies("429"):
            wait = behaviours.option("429", "retry-after", 1)
            raise RefusedError(Reason.RATE_LIMITED, "the prompt asked to be limited", retry_after=wait)
        if applies("500"):
            status = int(behaviours.option("500", "status", 500))
            raise RefusedError(Reason.SERVER_ERROR, "the prompt asked for a server error", status=status)
        if applies("cut"):
            raise RefusedError(Reason.CUT, "the prompt asked for a cut connection")
        if applies("html"):
            status = int(behaviours.number("html", 200))
            raise RefusedError(Reason.HTML, "the prompt asked for an HTML page", status=status)
        if applies("error-in-200"):
            code = behaviours.word("error-in-200", "") or None
            raise RefusedError(Reason.ERROR_IN_200, "the prompt asked for an error in HTTP 200", code=code)

    def _check_chances(self, submission: Submission, occurrence: int) -> None:
        options = self._options
        if options.rate_limit_rate:
            draw = options.chance("rate limit", submission.prompt, occurrence)
            if draw < options.rate_limit_rate:
                raise RefusedError(Reason.RATE_LIMITED, "limited at random", retry_after=1)
        if options.refuse_rate:
            draw = options.chance("refuse", submission.prompt, occurrence)
            if draw < options.refuse_rate:
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

    def _record(self, submission: Submission, behaviours: Behaviours, occurrence: int) -> TaskRecord:
        options = self._options
        failure = submission.failure
        if behaviours.asks("fail"):
            failure = Failure("the prompt asked to fail", behaviours.word("fail", "") or None)
        elif behaviours.asks("refuse-late"):
            code = behaviours.word("refuse-late", "") or None
            failure = Failure("the prompt asked to be refused late for its content", code, content=True)
        elif options.fail_rate and options.chance("fail", submission.prompt, occurrence) < options.fail_rate:
            failure = Failure("failed at random")
        latency = behaviours.number("latency", options.latency_of(submission.prompt, occurrence))
        image_count = submission.image_count
        if behaviours.asks("n-less"):
            image_count = max(1, image_count - int(behaviours.number("n-less", 1)))
        if behaviours.asks("no-images") or failure is not None:
            image_count = 0
        return TaskRecord(
            id=str(uuid.uuid4()),
            dialect=submission.dialect,
            prompt=submission.prompt,
            model=submission.model,
            behaviours=behaviours,
            request=submission.body,
            bearer=submission.bearer,
            trace_id=submission.trace_id,
            request_id=submission.request_id,
            kind=submission.kind,
            image_count=image_count,
            size=submission.size,
            media_format=submission.media_format,
            in_base64=submission.in_base64 or behaviours.asks("b64"),
            queryable=submission.queryable and behaviours.word("sync", "") != "anonymous",
            latency=math.inf if behaviours.asks("never") else latency,
            failure=failure,
            references=submission.references,
        )
