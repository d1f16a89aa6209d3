"""Reads the optional fields of a JSON body; each reader refuses the request when the field has another type."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow_provider_imagetasks.local.admission import Reason, RefusedError


def text_field(body: dict[str, Any], field: str, *, required: bool = False) -> str:
    """Return a text, empty when it is absent."""
    value = body.get(field)
    if value is None:
        value = ""
    if not isinstance(value, str) or (required and not value.strip()):
        raise RefusedError(Reason.INVALID, f"{field} is a text" + (" and is required" if required else ""))
    return value


def texts_field(body: dict[str, Any], field: str) -> list[str]:
    """Return a list of texts without repetitions, empty when it is absent."""
    value = body.get(field) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RefusedError(Reason.INVALID, f"{field} is a list of texts")
    return list(dict.fromkeys(value))


def whole_field(body: dict[str, Any], field: str, default: int) -> int:
    """Return a whole number, 0 or more."""
    value = body.get(field)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise RefusedError(Reason.INVALID, f"{field} is a whole number, 0 or more")
    return value


def seconds_field(body: dict[str, Any], field: str) -> float | None:
    """Return a number of Unix seconds, None when it is absent."""
    value = body.get(field)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise RefusedError(Reason.INVALID, f"{field} is a number of Unix seconds")
    return value


def url_list(body: dict[str, Any], field: str, *, most: int, allow_one: bool = False) -> list[str]:
    """Return a list of http(s) URLs, empty when it is absent.

    :param most: how many there may be.
    :param allow_one: whether a single URL may come without a list around it.
    """
    value = body.get(field)
    if value is None:
        return []
    urls = [value] if allow_one and isinstance(value, str) else value
    if not isinstance(urls, list) or len(urls) > most or not all(_is_url(url) for url in urls):
        raise RefusedError(Reason.INVALID, f"{field} is a list of at most {most} http(s) URLs")
    return urls


def _is_url(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
