"""Where a request goes: nowhere that its service does not say its key may go to."""

from __future__ import annotations

from urllib.parse import urlsplit

from airflow_provider_imagetasks.exceptions import ProtocolError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import Request, excerpt


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
            f"{account.service} points to {excerpt(name, 200) or 'no host'}, none of the hosts that its key may go to",
            service=account.service,
            billed="no",
            retryable=False,
            retry_advice="A retry would fail in the same way.",
        )
    return f"{parts.scheme}://{parts.netloc}{request.path}"
