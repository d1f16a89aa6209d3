"""The vocabulary: what is asked of a service, and what it says of an image task."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError

PROMPT_EXCERPT = 300
NOT_FOUND_GRACE = 60.0
"""Seconds after the submission (else after the first question) in which "not found" means "not yet"."""
MOST_IMAGES = 64
"""The most pictures that one image task may be asked for, and that are kept of one."""
LARGEST_CLOCK_ERROR = 86_400.0
"""Seconds between a service's time of a submission and our own, beyond which ours is used."""
DEEPEST = 100
"""Levels of nesting, far below what the JSON libraries on the way can take."""
_JSON = json.JSONEncoder(allow_nan=False)
_FROM_URLS = bytes.maketrans(b"-_", b"+/")
_RESERVED_OPTIONS = frozenset(
    {
        *("prompt", "model", "traceid", "async", "stream"),
        *("callback", "callbackurl", "callbackuri", "webhook", "webhookurl", "webhookuri"),
        *("hookurl", "notifyhook", "notifyurl"),
    }
)
"""As :func:`plain_name` returns them; those of the last two lines are addresses that a service posts to."""


class TaskState(StrEnum):
    """State of an image task, the same words for every service."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    NOT_FOUND = "not_found"

    @property
    def is_final(self) -> bool:
        """Whether the service will not change it any more."""
        return self in (TaskState.SUCCEEDED, TaskState.FAILED)


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """A picture that was read from a file, to be uploaded with an edit.

    :param name: file name, for the form.
    :param content: the whole file.
    """

    name: str
    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """One picture request. Making one checks what can be checked without the service, before anything is billed.

    :param prompt: text of what to draw; None for a model that takes only ``images``, as one that cuts out or enlarges.
    :param model: the service's model name; None takes the connection's, then the service's default.
    :param options: further fields, sent to the service untouched: in its body, or in the object that it has for them.
    :param images: pictures to edit from, as URLs, object storage paths or files already read; not empty means an edit.
    :param mask: where to edit, as an object storage path or a file already read; needs ``images``.
    :param callback_url: URL that the service posts to when it is done.
    :param trace_id: correlation id of the user's own.
    :raises InvalidRequestError: names the field and what is wrong with it.
    """

    prompt: str | None = None
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    images: Sequence[str | ImageFile] = field(default=(), repr=False)
    mask: str | ImageFile | None = None
    callback_url: str | None = field(default=None, repr=False)
    trace_id: str | None = None

    def __post_init__(self) -> None:
        is_left_out = self.prompt is None and bool(self.images)
        if not is_left_out and (not isinstance(self.prompt, str) or self.prompt.strip() in ("", "None")):
            raise InvalidRequestError(
                f"prompt is {told(self.prompt)}; give the text of what to draw (or images alone, to a model that "
                "takes no text). Did its template render nothing?"
            )
        for name, value in vars(self).items():
            if value and not (isinstance(value, str) and value.isprintable()):
                require_sendable(name, value)
        for name, value in (("model", self.model), ("callback_url", self.callback_url), ("trace_id", self.trace_id)):
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise InvalidRequestError(f"{name} is {told(value)}; leave it out or give it as text")
        if self.callback_url is not None and not is_web_address(self.callback_url):
            raise InvalidRequestError(
                "callback_url is not a URL that a service could post to; it is not shown, since it may hold a secret. "
                "Give one like https://example.com/hook"
            )
        if not isinstance(self.options, dict | Mapping):
            raise InvalidRequestError(f"options must be a dict, not {type(self.options).__name__}")
        try:
            _JSON.encode(dict(self.options))
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(f"options cannot be sent as JSON: {error}") from error
        reserved = sorted(str(name) for name in self.options if plain_name(name) in _RESERVED_OPTIONS)
        if reserved:
            raise InvalidRequestError(
                f"options holds {', '.join(reserved)}; use the argument for it (prompt, model, callback_url, trace_id; "
                "async is always set, and streams cannot be waited for by id)"
            )
        self._check_images()

    def _check_images(self) -> None:
        if self.images == () and self.mask is None:
            return
        if isinstance(self.images, str) or not isinstance(self.images, Sequence):
            raise InvalidRequestError("images must be a list of URLs or paths; did a template render one, or nothing?")
        given = [*(("images", image) for image in self.images), ("mask", self.mask)]
        for position, (name, image) in enumerate(given, start=1):
            if image is None and name == "mask":
                continue
            if not isinstance(image, str | ImageFile) or (isinstance(image, str) and image.strip() in ("", "None")):
                raise InvalidRequestError(f"{name} holds {told(image)}; give a URL, or the path of a file")
            if isinstance(image, str) and image.startswith("data:"):
                raise InvalidRequestError(f"{name} holds a data: URL; give a URL, or the path of a file")
            if isinstance(image, str) and image.lower().startswith(("http://", "https://")) and not has_host(image):
                which = f" (number {position})" if name == "images" else ""
                raise InvalidRequestError(
                    f"{name} holds a URL{which} whose host or port cannot be read; it is not shown, since it may hold "
                    "a secret. Give one like https://pictures.example/a.png, or the path of a file"
                )
        if self.mask is not None and not self.images:
            raise InvalidRequestError("mask is given without images; there is nothing to apply it to")

    def with_model(self, model: str | None, **values: Any) -> ImageRequest:
        """Return the request with a model, and with other values; itself where it has them: a copy is checked anew.

        :raises InvalidRequestError: as when one is made.
        """
        known, values = vars(self), {"model": model, **values}
        return self if values.items() <= known.items() else replace(self, **values)

    @property
    def is_edit(self) -> bool:
        """Whether the request changes given pictures rather than making one from text."""
        return bool(self.images)


@dataclass(frozen=True, kw_only=True)
class GeneratedImage:
    """One picture of a finished image task: exactly one of ``url``, ``path`` and ``data`` is set.

    :param index: position in the service's answer, from 0.
    :param url: where it can be fetched, usually for a limited time.
    :param path: file on the service's own disk (MCP servers).
    :param data: the picture itself as base64; never leaves the process.
    """

    index: int
    url: str | None = None
    path: str | None = None
    data: str | None = field(default=None, repr=False)

    def as_xcom(self) -> dict[str, Any]:
        """Return ``{index, url, path, inline}``; ``inline`` means that the record itself holds the bytes."""
        return {"index": self.index, "url": self.url, "path": self.path, "inline": self.data is not None}

    def content(self) -> bytes:
        """Return the bytes of an inline picture.

        :raises ValueError: when it is not inline, or not base64.
        """
        if self.data is None:
            raise ValueError("the picture is not inline")
        is_address = self.data[:5].lower() == "data:"
        kind, _, rest = self.data.partition(",") if is_address else (";base64", "", self.data)
        content = unquote_to_bytes(rest) if is_address else rest.encode()
        if not kind.lower().endswith(";base64"):
            return content
        # Some break its lines, write it as URLs have it, or leave out what fills its end.
        plain = content.translate(_FROM_URLS, b" \t\r\n")
        try:
            return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
        except ValueError as error:
            raise ValueError(f"the inline picture is not base64: {error}") from error


@dataclass(frozen=True, kw_only=True)
class ImageTask:
    """What a service says of one image task at one moment.

    :param id: the service's id, or ``inline:...`` for a service that answered at once without one.
    :param service: name of the service.
    :param state: the state in this package's words; ``raw_state`` keeps the service's.
    :param images: the pictures, in the service's order; empty until it succeeded.
    :param left_out: how many further ones were made and charged that show nothing, as a safety checker leaves them.
    :param image_count_requested: how many were asked for, where the record says so.
    :param created_at: Unix seconds; likewise ``finished_at``.
    :param duration: seconds that the service worked on it.
    :param usage: the service's own account of what it used or charged.
    :param error: why it failed; set when and only when ``state`` is failed.
    :param rows_ready: how many rows of a batch are ready, where it stands for a provider's own batch.
    :param has_record: whether a record of it was read, and not only the code of an answer.
    :param raw: the service's whole record, for the hook's users; never in XCom.
    """

    id: str
    service: str
    state: TaskState
    raw_state: str | None = None
    trace_id: str | None = None
    model: str | None = None
    prompt: str | None = None
    images: tuple[GeneratedImage, ...] = ()
    left_out: int = 0
    image_count_requested: int | None = None
    created_at: float | None = None
    finished_at: float | None = None
    duration: float | None = None
    usage: Mapping[str, Any] | None = None
    error: ImageTaskError | None = field(default=None, compare=False)
    has_record: bool = True
    rows_ready: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def is_lost(self, since: float, now: float) -> bool:
        """Whether the service still does not know it after the minute that it has for writing it down.

        :param since: Unix seconds of its submission, else of the first question; likewise ``now``.
        """
        return self.state is TaskState.NOT_FOUND and now >= since + NOT_FOUND_GRACE

    def as_xcom(self, conn_id: str) -> dict[str, Any]:
        """Return the record that sensors push: plain JSON, no bytes, times ISO-8601 in UTC, duration in seconds.

        :param conn_id: the connection that the image task was read with.
        """
        return {
            "id": self.id,
            "service": self.service,
            "conn_id": conn_id,
            "trace_id": self.trace_id,
            "state": str(self.state),
            "model": self.model,
            "prompt": prompt_excerpt(self.prompt),
            "images": [image.as_xcom() for image in self.images[:MOST_IMAGES]],
            "image_count_requested": self.image_count_requested,
            "created_at": iso_time(self.created_at),
            "finished_at": iso_time(self.finished_at),
            "duration": self.duration,
            "usage": dict(self.usage) if self.usage is not None else None,
        }


def told(value: Any) -> str:
    """Return what a message says of a wrong value: of one that holds others, which may be secrets, its kind alone."""
    is_plain = value is None or isinstance(value, str | int | float)
    return repr(value)[:PROMPT_EXCERPT] if is_plain else f"a {type(value).__name__}"


@lru_cache(maxsize=512, typed=True)
def plain_name(name: Any) -> str:
    """Return the name of an option for comparisons: ``num_images``, ``numImages`` and ``num-images`` are the same."""
    return "".join(filter(str.isalnum, str(name))).lower()


def has_host(url: str) -> bool:
    """Whether a URL can be read, and names a host that can be connected to."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return bool(host) and not any(map(str.isspace, host)) and parts.port != 0
    except ValueError:
        return False


def is_web_address(url: str) -> bool:
    """Whether a text is the whole URL of a host that somebody else can post to."""
    is_one_word = not any(map(str.isspace, url))
    return is_one_word and url.lower().startswith(("http://", "https://")) and has_host(url)


def require_sendable(name: str, value: Any, *, levels: int = DEEPEST) -> None:
    """Refuse what JSON, an API or Airflow's database cannot hold, wherever in a value it stands.

    :param name: what the message calls the value.
    :param levels: of nesting that it may have.
    :raises InvalidRequestError: it holds U+0000 or half of a surrogate pair, or is nested more deeply.
    """
    if isinstance(value, str):
        if value.isprintable():
            return
        position = value.find("\0")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            position = error.start
        if position >= 0:
            raise InvalidRequestError(
                f"{name} holds U+{ord(value[position]):04X} (character {position + 1} of a text), which can "
                "neither be sent nor stored; remove it"
            )
        return
    if value is None or not isinstance(value, dict | list | tuple | Mapping):
        return
    if not levels:
        raise InvalidRequestError(
            f"{name} is nested more than {DEEPEST} levels deep, more than JSON can be trusted with"
        )
    for entry in (*value, *value.values()) if isinstance(value, dict | Mapping) else value:
        if not (isinstance(entry, str) and entry.isprintable()):
            require_sendable(name, entry, levels=levels - 1)


def moment_of_submission(told: float | None, intent_at: float) -> float:
    """Return when something was submitted: the service's moment where it can be that, else our own.

    :param told: Unix seconds, as the service says; None where it says nothing.
    :param intent_at: Unix seconds before the request left, by our own clock.
    """
    return told if told is not None and abs(told - intent_at) <= LARGEST_CLOCK_ERROR else intent_at


def prompt_excerpt(prompt: str | None) -> str | None:
    """Return at most the first 300 characters of a prompt, which end with an ellipsis where it goes on."""
    if prompt is None or len(prompt) <= PROMPT_EXCERPT:
        return prompt
    return f"{prompt[: PROMPT_EXCERPT - 1].rstrip()}…"


def utc_moment(seconds: float) -> str:
    """Return Unix ``seconds`` as people read a moment in a log, in UTC; words for a moment outside the calendar."""
    iso = iso_time(seconds)
    return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M:%S UTC}" if iso else "an unknown moment"


def iso_time(seconds: float | None) -> str | None:
    """Return Unix ``seconds`` as ISO-8601 in UTC, None for None or for a moment outside the calendar."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).isoformat()
    except (OverflowError, OSError, ValueError, TypeError):
        return None
