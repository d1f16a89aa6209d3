"""Both HTTP transports over the same scripted servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.driven_transports import TRANSPORTS, DrivenTransport

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture
def silent_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that names neither proxies nor CAs."""
    for name in (*PROXY_VARIABLES, *map(str.upper, PROXY_VARIABLES), *CA_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def drive_with(silent_environment: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], DrivenTransport]:
    """Makes a transport of a kind, in frozen time."""

    def make(kind: str) -> DrivenTransport:
        one = DrivenTransport(kind)
        one.freeze_time(monkeypatch)
        return one

    return make


@pytest.fixture(params=TRANSPORTS)
def driven(request: pytest.FixtureRequest, drive_with: Callable[[str], DrivenTransport]) -> DrivenTransport:
    """Each transport in turn."""
    return drive_with(request.param)
