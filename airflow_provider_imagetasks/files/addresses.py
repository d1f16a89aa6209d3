"""Decides where results may be fetched from: their URLs come from outside, and run inside a company's network."""

from __future__ import annotations

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import SplitResult, urlsplit

from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver

from airflow_provider_imagetasks.exceptions import UnsafeResultError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.transports.environment import Proxies

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class ForbiddenAddressError(OSError):
    """A host name leads to an address that results may not come from."""


def is_public(address: str) -> bool:
    """Whether an IP address is reachable for everybody: not private, loopback, link-local, metadata or reserved."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    meant: list[IPv4Address | IPv6Address | None] = [parsed]
    if isinstance(parsed, IPv6Address):
        # It may stand for IPv4 addresses, which then count as well.
        meant += [parsed.ipv4_mapped, parsed.sixtofour, *(parsed.teredo or ())]
        meant += [IPv4Address(int(parsed) & 0xFFFFFFFF)] if parsed in _NAT64 else []
    return all(ip.is_global and not ip.is_multicast for ip in meant if ip is not None)


class ResultAddresses:
    """The addresses that a connection allows for results: asked for every URL, every redirect and every address found.

    :param account: ``download_hosts`` limits the hosts; ``allow_private_hosts`` allows private addresses. The
        connection's own host and port are always allowed.
    :param proxies: what the environment said when the session began; None reads it now.
    """

    def __init__(self, account: Account, proxies: Proxies | None = None) -> None:
        self._account = account
        self._proxies = proxies or Proxies(account)
        self._own = _endpoint(urlsplit(account.base_url))

    def check(self, url: str) -> None:
        """Check a URL before anything is asked of its host.

        :raises UnsafeResultError: it may not be fetched.
        """
        try:
            parts = urlsplit(url)
            host, port = _endpoint(parts)
        except ValueError as error:
            raise UnsafeResultError(f"The result's address cannot be read: {error}") from error
        if parts.scheme not in ("http", "https") or not host:
            raise UnsafeResultError(f"The result is at a {parts.scheme or 'strange'}: address, not at a web address")
        if (host, port) == self._own:
            return
        hosts = self._account.download_hosts
        if hosts and not any(host == allowed or host.endswith(f".{allowed}") for allowed in hosts):
            raise UnsafeResultError(
                f"The result is on {host}, which is not among the connection's download_hosts ({', '.join(hosts)})"
            )
        if not hosts and not self._account.allow_private_hosts and self._proxies.of(url):
            raise UnsafeResultError(
                f"The result is on {host} and goes through a proxy, which hides the address it leads to. List the "
                "hosts that results come from in the connection's download_hosts"
            )
        if _is_address(host) and not self.allows(host, port, host):
            raise UnsafeResultError(_forbidden(host, host))

    def allows(self, host: str, port: int, address: str) -> bool:
        """Whether a connection may be made to ``address``, found for ``host``."""
        return self._account.allow_private_hosts or (host.lower(), port) == self._own or is_public(address)


class GuardedResolver(ThreadedResolver):
    """Looks up host names, and refuses those of which any address is forbidden.

    The connection is then made to what was checked, without another look-up in between.
    """

    def __init__(self, addresses: ResultAddresses) -> None:
        super().__init__()
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``.

        :raises ForbiddenAddressError: one of them may not be connected to.
        """
        found = await super().resolve(host, port, family)
        for entry in found:
            if not self._addresses.allows(host, port, entry["host"]):
                raise ForbiddenAddressError(_forbidden(host, entry["host"]))
        return found


def _endpoint(parts: SplitResult) -> tuple[str, int]:
    return (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _forbidden(host: str, address: str) -> str:
    leads = f", which leads to {address}" if address != host else ""
    return (
        f"The result is on {host}{leads}: an address inside a network, not a public one. If results do come from "
        "there, set the connection's allow_private_hosts to true"
    )
