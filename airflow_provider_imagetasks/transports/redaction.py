"""Keeps keys out of what services send back: some repeat them in their error messages."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote

SHORTEST_HIDDEN_KEY = 8
"""Characters; a shorter key is a placeholder, and its letters occur in every answer."""
_ESCAPE = re.compile("%[0-9A-F]{2}")


def hidden_forms(key: str | None) -> tuple[str, ...]:
    """Return the key as it may be repeated: plain, in a URL, in base64, and each of them as PHP writes it in JSON."""
    if not key or len(key) < SHORTEST_HIDDEN_KEY:
        return ()
    in_url = quote(key, safe="")
    in_base64 = base64.b64encode(key.encode()).decode()
    forms = (key, in_url, _ESCAPE.sub(lambda escape: escape[0].lower(), in_url), in_base64, in_base64.rstrip("="))
    return tuple(dict.fromkeys(form for plain in forms for form in (plain, plain.replace("/", "\\/"))))


def without_secrets(content: bytes, secrets: Iterable[str | None]) -> bytes:
    """Return what a service sent without any of these secrets."""
    for secret in secrets:
        for form in hidden_forms(secret):
            content = content.replace(form.encode(), b"***")
    return content
