"""Errors of image tasks. The classes are API: retry policies and ``except`` match on them.

A star marks those that a retry may mend::

    ImageTaskError
      + AuthenticationError
      + QuotaExceededError
      + InvalidRequestError
      + ContentPolicyError
      + RateLimitError *
      + ServiceUnavailableError *
      + ProtocolError *
      + UnknownOutcomeError
      + ImageTaskFailedError
      + ImageTaskNotFoundError
      + ImageTaskTimeoutError
      + DownloadError *
          + ResultExpiredError *
          + UnsafeResultError

Every error says what happened, to which image task, whether it was billed and what a retry will do, because whoever
reads it in a task log usually did not write the Dag. URLs in it, whoever wrote them, are shown without what grants
access.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

Billed = Literal["yes", "no", "unknown"]

_BILLED_WORDS: dict[Billed, str] = {
    "yes": "It was billed.",
    "no": "It was not billed.",
    "unknown": "It may have been billed.",
}
_ADDRESS = re.compile(r"(?:\\?/|%2f){2}[^\s\"'<>]+", re.IGNORECASE)
"""Of any scheme or none, escaped or not."""
_USER = re.compile(r"((?:\\?/|%2f){2})(?:(?!\\?/|%2f|[?#]).)*(?:@|%40)", re.IGNORECASE)
_USER_WITH_SLASHES = re.compile(r"(?:\\?/){2}(?=[^:@/\\?#\[]+:(?!\d{1,5}(?!\w)))")
"""As people paste an AWS secret key, of which every other one holds a slash."""
_STORE = re.compile(r"(?:s3a?|gc?s|abfss?|adl|az|wasb|oss):", re.IGNORECASE)
_CONNECTION = re.compile(r"//(?![A-Za-z0-9]{16,}@)[A-Za-z][\w.-]{0,63}@[a-z0-9][a-z0-9._-]*(?=[/?#]|\Z)")
"""An Airflow connection in a path on object storage, which is no secret; what has the form of a key may be one."""
_QUERY = re.compile(r"(\?|#|%3f|%23).+", re.IGNORECASE | re.DOTALL)
_QUERY_ALONE = re.compile(r"\?[\w.%~-]+=[^\s\"'<>]+")
_PARAMETER = re.compile(
    # From its first letter on, since a long word of hyphens would take as long as it has letters squared.
    r"(?<![\w-])((?:[\w-]*-)?(?:sig|signature|tok|policy|key|pwd|credential)"
    r"|[\w-]*(?:token|secret|password|passwd|(?:auth|api|access)[_-]?key))"
    r"(=|%3d)[^\s&\"'<>]+",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"(/|%2f)eyJ[\w.~-]+", re.IGNORECASE)
"""A segment that begins as base64 of a JSON object does: callback URLs hold one."""


def without_signatures(told: str) -> str:
    """Return a text whose URLs are without what grants access: queries, users with passwords, and tokens."""
    told = _QUERY_ALONE.sub("?***", _ADDRESS.sub(_public, told))
    return _PARAMETER.sub(r"\1\2***", _TOKEN.sub(r"\1***", told))


def _public(found: re.Match[str]) -> str:
    """Return a URL without what grants access."""
    address: str = found[0]
    begins_at = found.start()
    if _CONNECTION.match(address) and re.search(
        rf"(?<![\w+.-]){_STORE.pattern}\Z", found.string[max(0, begins_at - 7) : begins_at], re.I
    ):
        return _QUERY.sub(r"\1***", address)
    before, at, after = address.rpartition("@")
    if at and (user := _USER_WITH_SLASHES.search(before)):
        address = f"{before[: user.end()]}***@{after}"
    return _QUERY.sub(r"\1***", _USER.sub(r"\1***@", address))


class ImageTaskError(Exception):
    """Base of every error of this package.

    :param message: what happened and what to change; one or two sentences.
    :param image_task_id: the service's id of the image task, where one is known.
    :param trace_id: the correlation id that the service's support asks for, where one is known.
    :param service: name of the service, as in the connection.
    :param code: the service's own error code.
    :param billed: whether the picture in question was charged; None takes the class's default. A failed read is
        ``"unknown"``, whatever the class: the picture may be paid for.
    :param retryable: whether the same Airflow task may succeed when it is tried again unchanged; None takes the
        class's default. Where False, Airflow is told not to use the retries that are left.
    :param retry_advice: what a retry or a Clear does; None takes the class's default.
    """

    default_billed: ClassVar[Billed] = "unknown"
    default_retryable: ClassVar[bool] = False
    default_advice: ClassVar[str] = "A retry would fail in the same way."
    concerns_account: bool = False
    """Whether it holds for all that the connection is asked from now on, whichever image task it was noticed with."""
    failures: Sequence[ImageTaskError] = ()
    """Of an error of several image tasks, the error of each."""
    was_cancelled: bool = False
    """Of a failed image task, whether somebody stopped it."""
    is_pushed: bool = False
    """Whether the XComs of the Airflow task tell of it."""
    is_advised: bool = False
    """Whether the log of the Airflow task has its advice on a line of its own."""

    def __init__(
        self,
        message: str,
        *,
        image_task_id: str | None = None,
        trace_id: str | None = None,
        service: str | None = None,
        code: str | None = None,
        billed: Billed | None = None,
        retryable: bool | None = None,
        retry_advice: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.image_task_id = image_task_id
        self.trace_id = trace_id
        self.service = service
        self.code = code
        self.billed: Billed = self.default_billed if billed is None else billed
        self.retryable = self.default_retryable if retryable is None else retryable
        self._retry_advice = retry_advice

    @property
    def retry_advice(self) -> str:
        """What a retry or a Clear does; no retry is promised where there is none."""
        if self._retry_advice is not None:
            return self._retry_advice
        if self.retryable == self.default_retryable:
            return self.default_advice
        return "A retry tries again." if self.retryable else ImageTaskError.default_advice

    @retry_advice.setter
    def retry_advice(self, advice: str) -> None:
        self._retry_advice = advice

    @property
    def message(self) -> str:
        """What happened and what to change, without what grants access in its URLs."""
        return self._message

    @message.setter
    def message(self, told: str) -> None:
        self._message = without_signatures(told)
        self.args = (self._message,)

    def __str__(self) -> str:
        """Message, then the facts that identify the image task, then the money, then the advice."""
        # Not the whole of an id that is the record itself, which holds the addresses of the pictures.
        image_task_id = self.image_task_id[:80] if self.image_task_id else None
        data = {"image task": image_task_id, "service": self.service, "code": self.code, "trace id": self.trace_id}
        facts = ", ".join(f"{name} {value}" for name, value in data.items() if value)
        message = self.message if self.message.endswith((".", "!", "?")) else f"{self.message}."
        return " ".join(part for part in (message, f"[{facts}]" if facts else "", self.what_follows) if part)

    @property
    def what_follows(self) -> str:
        """Whether it was billed, then what a retry or a Clear does and what to change; one line."""
        return f"{_BILLED_WORDS[self.billed]} {self.retry_advice}".rstrip()

    def as_xcom(self) -> dict[str, str | None]:
        """Return ``{class, code, message, billed}``, what other tasks and the UI are told of a failure."""
        class_name = public_class_name(type(self))
        return {"class": class_name, "code": self.code, "message": self.message, "billed": self.billed}


class AuthenticationError(ImageTaskError):
    """The service does not accept the key, or there is none. Nothing was billed; a retry needs another key."""

    concerns_account = True
    default_billed = "no"
    default_advice = "Correct the API key (the connection's password), then Clear the task."


class QuotaExceededError(ImageTaskError):
    """The account has no balance or credits left. Nothing was billed; a retry needs a top-up."""

    concerns_account = True
    default_billed = "no"
    default_advice = "Top up the account at the service, then Clear the task."


class InvalidRequestError(ImageTaskError):
    """An argument, the connection or the request is wrong. Nothing was billed; the same input fails again."""

    default_billed = "no"
    default_advice = "Correct it, then Clear the task."


class ContentPolicyError(ImageTaskError):
    """The service refused the prompt or the picture by its content policy. The same prompt is refused again."""

    default_billed = "no"
    default_advice = "Change the prompt, then Clear the task."


class RateLimitError(ImageTaskError):
    """The service asked to slow down and did not take the request. Nothing was billed; a retry may succeed.

    :param retry_after: seconds after which the service wants to be asked again, where it said so.
    """

    default_billed = "no"
    default_retryable = True
    default_advice = "A retry asks again."

    def __init__(self, message: str, *, retry_after: float | None = None, **facts: object) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.retry_after = retry_after


class ServiceUnavailableError(ImageTaskError):
    """The service or the network is down (5xx, no connection). Reading again is free; a retry may succeed."""

    default_retryable = True
    default_advice = "A retry asks again."


class ProtocolError(ImageTaskError):
    """The answer is not what the service's documentation promises (not JSON, a proxy's page, missing fields)."""

    default_retryable = True
    default_advice = "A retry asks again; if it fails in the same way, check the connection's Host and proxies."


class UnknownOutcomeError(ImageTaskError):
    """A submission may have reached the service and no usable answer came: it may exist and be billed.

    It is never sent again blindly. Clear submits again, once somebody has looked at the service.

    :param reason: what came instead of an answer, where that is known.
    """

    default_advice = "Clear submits again, and pays again if the first submission was accepted."

    def __init__(self, message: str, *, reason: str | None = None, **facts: object) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.reason = reason


class ImageTaskFailedError(ImageTaskError):
    """The service took the image task and reports that it failed. Its sensor does not retry."""

    default_advice = "Clear the submit task with its downstream for a new picture."


class ImageTaskNotFoundError(ImageTaskError):
    """The service does not know the image task, and the grace period after its submission is over."""

    default_advice = "Clear asks for the same id again; Clear the submit task with its downstream for a new picture."


class ImageTaskTimeoutError(ImageTaskError):
    """The wait ended before the image task did. The service goes on with it."""

    default_advice = "Clear the sensor to wait again, or the submit task with its downstream for a new picture."


class DownloadError(ImageTaskError):
    """A result could not be fetched, verified or written. Nothing incomplete stays; a retry fetches it again.

    :param retry_after: seconds after which the host wants to be asked again, where it said so.
    """

    default_billed = "yes"
    default_retryable = True
    default_advice = "A retry reads the image task again and fetches what is missing, at no cost."

    def __init__(self, message: str, *, retry_after: float | None = None, **facts: object) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.retry_after = retry_after


class ResultExpiredError(DownloadError):
    """The host of a result does not hand it out, or no longer does: URLs of results work for a limited time.

    Before it is raised, the record is read once more, and the URLs that it then names are fetched. A retry does the
    same.
    """


class UnsafeResultError(DownloadError):
    """A result must not be stored: it is not a picture, is too large, or comes from a forbidden address."""

    default_retryable = False
    default_advice = "A retry would be refused in the same way."


def public_class_name(error_class: type[BaseException]) -> str:
    """Return the name of the class of this module that ``error_class`` is or derives from.

    :param error_class: also one that an adapter derived to tell Airflow not to retry.
    """
    return next((each.__name__ for each in error_class.__mro__ if each.__module__ == __name__), error_class.__name__)
