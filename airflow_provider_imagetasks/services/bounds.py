"""What leaves a flow is bounded and clean, whichever service said it, and repeats no secret that it was sent."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from airflow_provider_imagetasks.exceptions import ImageTaskError, RateLimitError, without_signatures
from airflow_provider_imagetasks.services.fields import (
    LONGEST_INLINE_ID,
    LONGEST_PROMPT,
    LONGEST_TEXT,
    address,
    cleaned,
    is_data_url,
    moment,
    number,
    seconds_to_wait,
    structure,
    text,
    whole_number,
)
from airflow_provider_imagetasks.services.wire import Call, Request, ToolCall
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask

LONGEST_TRACE = 16_000
"""Characters of a trace, from its end."""
MOST_PICTURES = 10_000
_LONGEST_NAME = 200
_SHORTEST_SECRET = 8
_SHORTEST_ALONE = 16
"""Characters of a value or a segment; shorter ones are words, and occur in messages by themselves."""
_SHORTEST_PASSWORD = 6
_LONGEST_DURATION = 1e8


def bounded(result: Any) -> Any:
    """Return what an answer was read as, its image tasks bounded and cleaned."""
    if isinstance(result, list):
        return [bounded(each) for each in result]
    return _bounded_task(result) if isinstance(result, ImageTask) else result


def _bounded_task(task: ImageTask) -> ImageTask:
    count, duration = whole_number(task.image_count_requested), number(task.duration)
    bounds: dict[str, Any] = {
        "id": (text(task.id, most=LONGEST_INLINE_ID) or "").strip(),
        "raw_state": text(task.raw_state),
        "trace_id": text(task.trace_id),
        "model": text(task.model),
        "prompt": text(task.prompt, most=LONGEST_PROMPT),
        "images": tuple(map(_bounded_image, task.images)),
        "image_count_requested": count if count is not None and 0 < count <= MOST_PICTURES else None,
        "created_at": moment(task.created_at),
        "finished_at": moment(task.finished_at),
        "duration": duration if duration is not None and 0 <= duration < _LONGEST_DURATION else None,
        "usage": structure(task.usage),
        "error": bounded_error(task.error) if task.error is not None else None,
    }
    known = vars(task)
    changed = {
        name: value
        for name, value in bounds.items()
        # What holds further values may be equal to what it was made from, and hold others.
        if value != known[name] or type(value) is not type(known[name]) or (value and name in ("images", "usage"))
    }
    return type(task)(**known | changed) if changed else task


def _bounded_image(image: GeneratedImage) -> GeneratedImage:
    if is_data_url(image.url):
        return replace(image, url=None, data=image.url)
    url, path = address(image.url), address(image.path)
    if url and url.startswith("//"):
        # As on a page that was fetched by https.
        url = f"https:{url}"
    return image if (url, path) == (image.url, image.path) else replace(image, url=url, path=path)


def bounded_error(error: ImageTaskError, sent: Call | None = None) -> ImageTaskError:
    """Return an error, its texts and numbers bounded and cleaned, and without the signatures and tokens of URLs.

    :param sent: what the service was sent, and may repeat.
    """
    secrets = list(_secrets_of(sent))
    message = _without_secrets(text(error.message, most=4 * LONGEST_TEXT), secrets)
    error.message = message[:LONGEST_TEXT] if message else type(error).__name__
    error.code = _without_secrets(text(error.code, most=_LONGEST_NAME), secrets)
    error.trace_id = _without_secrets(text(error.trace_id, most=_LONGEST_NAME), secrets)
    error.image_task_id = text(error.image_task_id, most=LONGEST_INLINE_ID)
    if isinstance(error, RateLimitError):
        error.retry_after = seconds_to_wait(error.retry_after)
    return error


def _without_secrets(told: str | None, secrets: Iterable[str]) -> str | None:
    if told is None:
        return None
    for secret in secrets:
        in_html, in_script = secret.replace("&", "&amp;"), secret.replace("&", "\\u0026")
        for form in {secret, quote(secret, safe=""), secret.replace("/", "\\/"), in_html, in_script}:
            told = told.replace(form, "***")
    return without_signatures(told)


def trace_of(error: BaseException) -> str:
    """Return the trace of an error that nobody foresaw, as it may be logged: bounded, and without signatures."""
    trace = "".join(traceback.format_exception(error))[-4 * LONGEST_TRACE :]
    return without_signatures(trace)[-LONGEST_TRACE:]


def _secrets_of(sent: Call | None) -> Iterator[str]:
    body = sent.body if isinstance(sent, Request) else sent.arguments if isinstance(sent, ToolCall) else None
    for name, url in _urls_in(body, ""):
        try:
            parts = urlsplit(cleaned(url))
        except ValueError:
            continue
        path = parts.path if "callback" in name.lower() else ""
        yield from (secret for secret in (parts.query, path) if len(secret) >= _SHORTEST_SECRET)
        # A service may repeat a signature alone, as it came or read.
        alone = [*(value for _, value in parse_qsl(parts.query)), *re.split("[=&]", parts.query), *path.split("/")]
        yield from (secret for secret in alone if len(secret) >= _SHORTEST_ALONE)
        user = parts.netloc.rpartition("@")[0]
        if user:
            both = [user, *user.split(":", 1)]
            yield from (form for part in both for form in (part, unquote(part)) if len(form) >= _SHORTEST_PASSWORD)


def _urls_in(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield each URL with the name of the field that it stands in."""
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        yield name, value
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _urls_in(entry, str(key))
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _urls_in(entry, name)
