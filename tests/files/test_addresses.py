from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import UnsafeResultError
from airflow_provider_imagetasks.files.addresses import (
    ForbiddenAddressError,
    GuardedResolver,
    ResultAddresses,
    is_public,
    parse,
)
from airflow_provider_imagetasks.services.account import Account


def account(**fields: Any) -> Account:
    """Return an account whose API is at a public host, unless told otherwise."""
    usual = {"conn_id": "c", "service": "acedatacloud", "base_url": "https://api.example.com", "key": "secret-key"}
    return Account(**{**usual, **fields})


INSIDE = (
    *("127.0.0.1", "127.8.9.10", "10.0.0.5", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200"),
    *("0.0.0.0", "168.63.129.16", "192.0.0.192", "192.88.99.1", "198.18.0.1", "224.0.0.1", "240.0.0.1"),
    *("255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fec0::1", "fd00:ec2::254", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1", "64:ff9b::a00:1"),
    *("64:ff9b:1::a00:1", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:808:808::", "2001::1", "2001:db8::1"),
    *("100::1", "100:0:0:1::1", "3fff::1", "5f00::1", "1000::1", "4000::1"),
)
PUBLIC = (
    "93.184.216.34",
    "8.8.8.8",
    "2606:2800:220:1:248:1893:25c8:1946",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
    "2a00::1",
    "172.32.0.1",
)


@pytest.mark.parametrize(("address", "public"), [*((one, False) for one in INSIDE), *((one, True) for one in PUBLIC)])
def test_addresses_inside_a_network_are_not_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://example.com/a.png", "gopher://example.com/", "data:image/png;base64,AAAA"),
        *(
            "a.png",
            "",
            "/a.png",
            "https://",
            "https:/cdn.example/a.png",
            "https:cdn.example",
            "http://user@/a.png",
            "http://[broken/a.png",
            "http://example.com:99999/a.png",
        ),
        *("http://127.0.0.1/a.png", "http://169.254.169.254/latest/meta-data/", "https://[::1]/a.png"),
        "https://[::ffff:10.0.0.1]/a.png",
    ],
)
def test_what_is_no_public_web_address_is_refused(url: str) -> None:
    with pytest.raises(UnsafeResultError):
        ResultAddresses(account()).checked(url)


CDN = "https://cdn.example.com/a.png"
LOCAL = {"base_url": "http://127.0.0.1:8750/acedatacloud"}
ALLOWED: list[tuple[dict[str, Any], str]] = [
    *(({}, url) for url in ("//cdn.example.com/a.png", "HTTPS://CDN.Example.COM./a.png", "https://my_cdn.example/a")),
    ({"base_url": "https://bücher.example"}, "https://xn--bcher-kva.example/a.png"),
    *(
        ({"download_hosts": ("bücher.example",)}, f"https://{host}/a")
        for host in ("a.bücher.example", "BÜCHER.example")
    ),
    ({"download_hosts": ("example.net",)}, "https://example.net./a.png"),
    *(({}, url) for url in (CDN, "http://8.8.8.8/a.png")),
    ({"allow_private_hosts": True}, "http://10.0.0.5/a.png"),
    (LOCAL, "http://127.0.0.1:8750/files/a.png"),
    *(
        ({"download_hosts": ("example.net",)}, f"https://{host}/a.png")
        for host in ("example.net", "eu.cdn.example.net")
    ),
]
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (LOCAL, "http://127.0.0.1:8751/files/a.png", "allow_private_hosts"),
    *(
        ({"download_hosts": ("example.net",)}, f"https://{host}/a.png", "download_hosts")
        for host in ("example.org", "badexample.net", "example.net.evil.org")
    ),
]


@pytest.mark.parametrize(("fields", "url"), ALLOWED)
def test_results_come_from_any_public_host_and_from_where_the_connection_says_so(fields, url) -> None:
    ResultAddresses(account(**fields)).checked(url)


@pytest.mark.parametrize(("fields", "url", "said"), REFUSED)
def test_hosts_that_are_not_listed_and_another_port_of_this_machine_are_refused(fields, url, said) -> None:
    with pytest.raises(UnsafeResultError, match=said):
        ResultAddresses(account(**fields)).checked(url)


def test_an_address_is_allowed_where_it_is_public_or_the_connection_says_so() -> None:
    assert ResultAddresses(account()).problem("cdn.example.com", 443, "93.184.216.34") is None
    assert ResultAddresses(account(allow_private_hosts=True)).problem("minio.internal", 9000, "10.0.0.5") is None


def test_behind_a_proxy_results_are_refused_unless_their_hosts_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.internal:3128")

    with pytest.raises(UnsafeResultError, match="download_hosts"):
        ResultAddresses(account()).checked(CDN)
    ResultAddresses(account(download_hosts=("cdn.example.com",))).checked(CDN)
    ResultAddresses(account(trust_env=False)).checked(CDN)


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make every host name resolve to the given addresses."""

    def to(*found: str) -> None:
        def getaddrinfo(_host: Any, port: int, *_more: Any, **_options: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return to


@pytest.mark.parametrize("found", [("10.0.0.5",), ("93.184.216.34", "169.254.169.254")], ids=["alone", "among others"])
async def test_a_name_that_leads_inside_the_network_is_refused_before_a_connection_is_made(
    resolving: Callable[..., None], found: tuple[str, ...]
) -> None:
    resolving(*found)

    with pytest.raises(ForbiddenAddressError, match=f"cdn.example.com, which leads to {found[-1]}"):
        await GuardedResolver(ResultAddresses(account())).resolve("cdn.example.com", 443)


async def test_a_public_name_is_connected_to_by_the_address_that_was_checked(resolving: Callable[..., None]) -> None:
    resolving("93.184.216.34")

    found = await GuardedResolver(ResultAddresses(account())).resolve("cdn.example.com", 443)

    assert [entry["host"] for entry in found] == ["93.184.216.34"]


def test_an_address_that_cannot_be_read_is_not_shown() -> None:
    with pytest.raises(UnsafeResultError) as raised:
        parse("http://user:secret@ho\u2100st/x.png?sig=signature")

    assert "secret" not in str(raised.value)
    assert "signature" not in str(raised.value)
