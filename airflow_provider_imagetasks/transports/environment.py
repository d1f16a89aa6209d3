"""Proxies and certificates of the environment: one rule for every HTTP request of the package."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.tasks import has_host

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """The proxies that the environment names, read once: worth keeping where many requests are made in a row.

    ``no_proxy`` may list host names, which count with their subdomains, addresses and networks (``10.0.0.0/8``,
    ``fd00::/8``), each with a port or without, or ``*``.

    :param account: its ``trust_env`` says whether the environment counts.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._named = getproxies_environment() if account.trust_env else {}
        entries = re.split(r"[,\s]+", self._named.get("no", ""))
        self._exemptions = [_Exemption.read(entry.lower()) for entry in entries if entry]

    def of(self, url: str) -> str | None:
        """Return the proxy for ``url``, None for a direct connection.

        :raises InvalidRequestError: it is of a kind that aiohttp does not speak, or cannot be read.
        """
        parts = urlsplit(url)
        return self.of_host(parts.scheme, parts.hostname or "", parts.port)

    def of_host(self, scheme: str, host: str, port: int | None) -> str | None:
        """Return the proxy for a host, None for a direct connection.

        :param scheme: ``http`` or ``https``.
        :param port: None means the scheme's own.
        :raises InvalidRequestError: it is of a kind that aiohttp does not speak, or cannot be read.
        """
        proxy = self._named.get(scheme) or self._named.get("all")
        port = port or _DEFAULT_PORTS.get(scheme)
        if not proxy or not host or any(entry.holds_for(host.rstrip("."), port) for entry in self._exemptions):
            return None
        if "://" not in proxy:
            proxy = f"http://{proxy}"
        kind = proxy.partition("://")[0].lower()
        problem = None
        if kind not in _DEFAULT_PORTS:
            named = f"a {kind}://" if kind.isalnum() else "another kind of"
            problem = f"{named} proxy for {host}; only http:// and https:// proxies can be used"
        elif not has_host(proxy):
            # It is not shown, since it may hold a password.
            problem = (
                f"a proxy for {host} that cannot be read; write it like http://proxy.example:3128, and special "
                "characters of a password percent-encoded"
            )
        if problem:
            raise InvalidRequestError(
                f"The environment names {problem}. List the host in no_proxy, or set the extra field 'trust_env' of "
                f"connection {self._account.conn_id!r} to false"
            )
        return proxy


def proxy_name(proxy: str) -> str:
    """Return what a message calls a proxy: scheme, host and port, without its user and password."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@dataclass(frozen=True, slots=True)
class _Exemption:
    """One entry of ``no_proxy``: hosts that are connected to directly.

    :param hosts: a network, or a name that counts with its subdomains; None means any.
    :param port: None means any.
    """

    hosts: _Network | str | None
    port: str | None

    @classmethod
    def read(cls, entry: str) -> _Exemption:
        if "://" in entry:
            # Whoever wrote an address meant its host, and is not told that it counts for nothing.
            entry = entry.partition("://")[2].partition("/")[0]
        if entry.startswith("["):
            hosts, _, port = entry[1:].partition("]")
            port = port.removeprefix(":")
        else:
            # What has several colons is an IPv6 address.
            hosts, _, port = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
        try:
            return cls(ipaddress.ip_network(hosts, strict=False), port or None)
        except ValueError:
            name = hosts.removeprefix("*").strip(".")
            return cls(name if name or hosts != "*" else None, port or None)

    def holds_for(self, host: str, port: int | None) -> bool:
        if self.port is not None and self.port != str(port):
            return False
        if self.hosts is None:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            # Nobody looks a name up for it: behind a proxy that may not even be possible.
            return isinstance(self.hosts, str) and f".{host.lower()}".endswith(f".{self.hosts}")
        return not isinstance(self.hosts, str) and address in self.hosts


def ca_bundle(account: Account) -> str | bool:
    """Return the path of the CA bundle to verify with, True for the default one, False for no verification.

    :raises InvalidRequestError: there is nothing at that path.
    """
    bundle, place = account.verify, f"Extra field 'verify' of connection {account.conn_id!r}"
    if bundle is True and account.trust_env:
        found = ((path, name) for name in _CA_VARIABLES if (path := os.environ.get(name)))
        bundle, place = next(found, (True, place))
    if isinstance(bundle, str) and not _is_there(bundle):
        named = f"the CA bundle {bundle}" if _is_like_a_path(bundle) else "a CA bundle"
        raise InvalidRequestError(f"{place} names {named}, but there is no such file")
    return bundle


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        # As of a text that is longer than any path.
        return False


def _is_like_a_path(text: str) -> bool:
    """Whether it may be shown: any other text may be a key in the wrong field."""
    return text.startswith(("/", "./", "../")) or text.endswith((".pem", ".crt", ".cer"))


def tls_context(account: Account) -> ssl.SSLContext | bool:
    """Return what aiohttp verifies certificates with; reads a file.

    :raises InvalidRequestError: the connection or the environment names a CA bundle that is not there, or is none.
    """
    bundle = ca_bundle(account)
    if bundle is False:
        return False
    if bundle is True:
        import certifi

        bundle = certifi.where()
    path = Path(str(bundle))
    try:
        return _context(path, path.stat().st_mtime_ns)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise InvalidRequestError(
            f"The CA bundle {path} of connection {account.conn_id!r}, or of the environment, cannot be read ({reason})"
        ) from None


@lru_cache(maxsize=8)
def _context(bundle: Path, _changed_at: int) -> ssl.SSLContext:
    """Read a CA bundle, which takes 20 ms; again where it has changed."""
    place = str(bundle)
    return ssl.create_default_context(capath=place) if bundle.is_dir() else ssl.create_default_context(cafile=place)
