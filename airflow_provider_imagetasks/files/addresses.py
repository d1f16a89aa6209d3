"""Decides where results may be fetched from: their addresses come from outside, and run inside a company's network.

One parser: what is checked is the very object that the HTTP client is given, and it is checked again whom the client
is connected to.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import aiohttp
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from airflow_provider_imagetasks.exceptions import UnsafeResultError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.account_fields import is_host_name
from airflow_provider_imagetasks.transports.environment import Proxies

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult
    from aiohttp.connector import Connection

# The regular expression of RFC 3986, appendix B; browsers end the host at a backslash too.
_REFERENCE = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#\\]*))?([^#]*)")
_UNSENDABLE = re.compile(r"[^!#$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")


def _networks(*names: str) -> tuple[Any, ...]:
    return tuple(map(ipaddress.ip_network, names))


# https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-special-registry: what Python says of an address
# differs from version to version. 168.63.129.16 is how Azure's virtual machines reach their host.
_NOT_PUBLIC = _networks(
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
)
_PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
_STANDS_FOR_IPV4 = _networks("::ffff:0:0/96", "64:ff9b::/96")


class ForbiddenAddressError(Exception):
    """A host leads to an address that results may not come from."""


def is_public(address: str) -> bool:
    """Whether an IP address is reachable for everybody: not private, loopback, link-local, metadata or reserved."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if parsed.version == 6 and any(parsed in network for network in _STANDS_FOR_IPV4):
        parsed = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    is_special = any(parsed in network for network in _NOT_PUBLIC)
    return not is_special and (parsed.version == 4 or parsed in _PUBLIC_IPV6)


def parse(reference: str, base: URL | None = None) -> URL:
    """Return the web address that a record, or a redirect, names.

    Its path and query go out byte for byte, since they may be signed; only what no request can hold is percent-encoded.

    :param reference: without a scheme it is taken for https.
    :param base: the address that redirects to it.
    :raises UnsafeResultError: it is not a web address.
    """
    found = _REFERENCE.match(reference.strip())
    scheme, authority, target = found.groups() if found else (None, None, "")
    try:
        # An odd byte of a header is half of a surrogate pair here.
        target = _UNSENDABLE.sub(_quoted, target)
        if authority is None and not scheme and base is not None:
            return base.with_path(_joined(base.raw_path, target), encoded=True)
        scheme = (scheme or (base.scheme if base is not None else "https")).lower()
        if scheme not in ("http", "https") or not authority:
            where = f"at a {scheme}: address" if found and found[1] else "at no address"
            raise UnsafeResultError(f"The result is {where}, not a web address")
        # As part of the path the query stays as it is, down to a question mark with nothing behind it.
        address = URL(f"{scheme}://{authority}").with_path(target, encoded=True)
        _require_host(address.raw_host or "")
    except ValueError:
        # Not why: that may show a user and a password.
        raise UnsafeResultError("The result's URL cannot be read: its host name or port is not valid") from None
    return address


def _quoted(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))


def _joined(path: str, target: str) -> str:
    """Return the target of a redirect within one host."""
    if target.startswith("/"):
        return target
    path, place = path.partition("?")[0], target.partition("?")[0]
    # Joining drops a question mark with nothing behind it, which is signed as well.
    return (urljoin(path, place) if place else path) + target[len(place) :]


def _require_host(host: str) -> None:
    if _is_address(host):
        return
    # Some libraries read 127.1 and 2130706433 as addresses.
    is_number = _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2])
    if is_number or not is_host_name(host):
        raise UnsafeResultError(f"The result's URL cannot be read: {host[:80]!r} is neither a host name nor an address")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def _endpoint(address: URL) -> tuple[str, int | None]:
    return (address.raw_host or "").rstrip("."), address.port


class ResultAddresses:
    """The addresses that a connection allows for results: asked for every URL, every redirect and every connection.

    :param account: ``download_hosts`` limits the hosts; ``allow_private_hosts`` allows private addresses. The
        connection's own host and port are always allowed.
    :param proxies: what the environment said when the session began; None reads it now.
    """

    def __init__(self, account: Account, proxies: Proxies | None = None) -> None:
        self._account = account
        self._proxies = proxies or Proxies(account)
        self._own = _endpoint(parse(account.base_url))
        self._hosts = [URL.build(scheme="https", host=host).raw_host or host for host in account.download_hosts]

    def checked(self, reference: str, base: URL | None = None) -> URL:
        """Return the address that a record, or a redirect, names, once it is allowed; nothing is asked of its host.

        :param base: the address that redirects to it.
        :raises UnsafeResultError: it may not be fetched.
        """
        address = parse(reference, base)
        host, port = _endpoint(address)
        if (host, port) == self._own:
            return address
        if self._hosts and not any(host == allowed or host.endswith(f".{allowed}") for allowed in self._hosts):
            raise UnsafeResultError(
                f"The result is on {host}, which is not among the connection's download_hosts "
                f"({', '.join(self._account.download_hosts)})"
            )
        if (
            not self._hosts
            and not self._account.allow_private_hosts
            and self._proxies.of_host(address.scheme, host, port)
        ):
            raise UnsafeResultError(
                f"The result is on {host} and is fetched through a proxy, so its address cannot be checked. List the "
                "hosts of results in the connection's download_hosts"
            )
        problem = self.problem(host, port, host) if _is_address(host) else None
        if problem:
            raise UnsafeResultError(problem)
        return address

    def problem(self, host: str, port: int | None, address: str) -> str | None:
        """Return why no connection may be made to ``address``, found for ``host``; None where it may."""
        if self._account.allow_private_hosts or (host.rstrip("."), port) == self._own or is_public(address):
            return None
        leads = f", which leads to {address}" if address != host else ""
        return (
            f"The result is on {host}{leads}: an address inside a network, not a public one. If results do come from "
            "there, set the connection's allow_private_hosts to true"
        )


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
            problem = self._addresses.problem(host, port, entry["host"])
            if problem:
                raise ForbiddenAddressError(problem)
        return found


class GuardedConnector(aiohttp.TCPConnector):
    """Connects to hosts directly, and asks once more whom it is connected to before a request leaves."""

    def __init__(self, addresses: ResultAddresses, **options: Any) -> None:
        super().__init__(resolver=GuardedResolver(addresses), **options)
        self._addresses = addresses

    async def connect(self, req: Any, *arguments: Any, **more: Any) -> Connection:
        """Return a connection that a request may be sent on.

        :raises ForbiddenAddressError: it leads to where none may be made to.
        """
        connection = await super().connect(req, *arguments, **more)
        peer = connection.transport.get_extra_info("peername") if connection.transport else None
        problem = self._addresses.problem(*_endpoint(req.url), peer[0]) if peer else None
        if problem or not peer:
            connection.close()
            raise ForbiddenAddressError(problem) if problem else aiohttp.ServerDisconnectedError
        return connection
