"""Proxies and certificates of the environment: one rule for every HTTP request of the package."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.account import Account

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class Proxies:
    """The proxies that the environment names, read once: worth keeping where many requests are made in a row.

    :param account: its ``trust_env`` says whether the environment counts.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._named = getproxies_environment() if account.trust_env else {}

    def of(self, url: str) -> str | None:
        """Return the proxy for ``url``, None for a direct connection.

        :raises InvalidRequestError: it is of a kind that aiohttp does not speak.
        """
        parts = urlsplit(url)
        proxy = self._named.get(parts.scheme) or self._named.get("all")
        if not proxy or not parts.hostname or proxy_bypass_environment(parts.hostname, self._named):
            return None
        scheme, separator, _ = proxy.partition("://")
        if separator and scheme.lower() not in ("http", "https"):
            raise InvalidRequestError(
                f"The environment names a {scheme}:// proxy for {parts.hostname}; only http:// and https:// proxies "
                "can be used. List the host in no_proxy, or set the extra field 'trust_env' of connection "
                f"{self._account.conn_id!r} to false"
            )
        return proxy if separator else f"http://{proxy}"


def ca_bundle(account: Account) -> str | bool:
    """Return the path of the CA bundle to verify with, True for the default one, False for no verification.

    :raises InvalidRequestError: there is nothing at that path.
    """
    bundle, place = account.verify, f"Extra field 'verify' of connection {account.conn_id!r}"
    if bundle is True and account.trust_env:
        found = ((path, name) for name in _CA_VARIABLES if (path := os.environ.get(name)))
        bundle, place = next(found, (True, place))
    if isinstance(bundle, str) and not Path(bundle).exists():
        raise InvalidRequestError(f"{place} names the CA bundle {bundle}, but there is no such file")
    return bundle


def tls_context(account: Account) -> ssl.SSLContext | bool:
    """Return what aiohttp verifies certificates with; reads a file.

    :raises InvalidRequestError: the connection or the environment names a CA bundle that is not there.
    """
    bundle = ca_bundle(account)
    if bundle is False:
        return False
    if bundle is True:
        import certifi

        bundle = certifi.where()
    path = Path(str(bundle))
    return _context(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _context(bundle: Path, _changed_at: int) -> ssl.SSLContext:
    """Read a CA bundle, which takes 20 ms; again where it has changed."""
    place = str(bundle)
    return ssl.create_default_context(capath=place) if bundle.is_dir() else ssl.create_default_context(cafile=place)
