"""An account's key on its way: how and to which hosts it is sent, and that nothing that comes back repeats it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from html import escape
from urllib.parse import quote, quote_plus, urlsplit

from airflow_provider_imagetasks import __version__
from airflow_provider_imagetasks.exceptions import ProtocolError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import Request, excerpt
from airflow_provider_imagetasks.transports.unpacking import ACCEPTED

USER_AGENT = f"airflow-provider-imagetasks/{__version__}"
SHORTEST_HIDDEN_KEY = 8
"""Characters; a shorter key is a placeholder, and its letters occur in every answer."""
_ESCAPE = re.compile("%[0-9A-F]{2}")


def headers_of(account: Account, request: Request | None = None) -> dict[str, str]:
    """Return the headers by which a service knows who asks, and those of the request."""
    said = f"{account.key_scheme} {account.key}" if account.key_scheme else account.key
    key = {account.key_header: said} if account.key and said and (request is None or request.sends_key) else {}
    # What is asked, and answered, is of this moment: a cache that repeats it would hand on another's picture.
    usual = {"Accept": "application/json", "Accept-Encoding": ACCEPTED, "Cache-Control": "no-store"}
    own = {**usual, **request.headers} if request else {}
    return {"User-Agent": USER_AGENT, **own, **key}


def url_of(account: Account, request: Request) -> str:
    """Return where a request goes: below the account's base URL, or to another host of the service.

    :raises ProtocolError: to a host that the key may not go to. Nothing was sent.
    """
    if request.host is None:
        return account.base_url + request.path
    try:
        parts, own = urlsplit(request.host), urlsplit(account.base_url)
        name = parts.hostname or ""
    except ValueError:
        parts, own, name = urlsplit(""), urlsplit(account.base_url), ""
    is_known = any(f".{name}".endswith(host) if host.startswith(".") else name == host for host in account.key_hosts)
    may_go = (is_known or not request.sends_key) and parts.scheme == "https" and parts.netloc.lower() == name
    if not may_go and (parts.scheme, parts.netloc) != (own.scheme, own.netloc):
        raise ProtocolError(
            f"{account.service} points to {excerpt(name, 200) or 'no host'}, to which its key must not be sent",
            service=account.service,
            billed="no",
            retryable=False,
            retry_advice="A retry would fail in the same way.",
        )
    return f"{parts.scheme}://{parts.netloc}{request.path}"


@lru_cache(maxsize=8)
def hidden_forms(key: str | None) -> tuple[str, ...]:
    """Return the key as it may be repeated: plain, in a URL, a page, JSON or base64, also where PHP writes the JSON."""
    if not key or len(key) < SHORTEST_HIDDEN_KEY:
        return ()
    in_url = quote(key, safe="")
    in_urls = (in_url, _ESCAPE.sub(lambda found: found[0].lower(), in_url), quote(key), quote_plus(key))
    forms = (key, *in_urls, escape(key), escape(key, quote=False), json.dumps(key)[1:-1], *_in_base64(key.encode()))
    return tuple(dict.fromkeys(form for plain in forms for form in (plain, plain.replace("/", "\\/"))))


def _in_base64(key: bytes) -> Iterator[str]:
    """Yield the key in base64, alone and as what stays the same of it wherever in a text it stands, as of a header."""
    alone = base64.b64encode(key).decode()
    within = [
        base64.b64encode(bytes(before) + key)[first : (before + len(key)) // 3 * 4].decode()
        for before, first in enumerate((0, 2, 3))
    ]
    for form in (alone, alone.rstrip("="), *within):
        yield from (form, form.replace("+", "-").replace("/", "_"))


def without_secrets(content: bytes, secrets: Iterable[str | None]) -> bytes:
    """Return what a service sent without any of these secrets."""
    for secret in secrets:
        for form in hidden_forms(secret):
            content = content.replace(form.encode(), b"***")
    return content
