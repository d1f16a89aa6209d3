"""Fetches one result over HTTP into a local file: bounded in size and time, and never with the API key."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from urllib.parse import urljoin, urlsplit

from airflow_provider_imagetasks.account import Account
from airflow_provider_imagetasks.exceptions import DownloadError, UnsafeResultError
from airflow_provider_imagetasks.transport import CONNECT_TIMEOUT, USER_AGENT, ca_bundle, proxy_for

LARGEST_BYTES = 200 * 1024 * 1024
LONGEST_SECONDS = 600.0
MOST_REDIRECTS = 5
ATTEMPTS = 4
_CHUNK = 64 * 1024


class Fetcher:
    """One session for results. It knows no key, so none can leak to the host that a result is on.

    :param account: for proxies and certificates.
    """

    def __init__(self, account: Account) -> None:
        import requests

        self._account = account
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = ca_bundle(account)
        self._session.headers.update({"User-Agent": USER_AGENT, "Accept": "image/*", "Accept-Encoding": "identity"})

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session.close()

    def fetch(self, url: str, target: Path) -> None:
        """Stream ``url`` into ``target``, up to four times where the way to it fails.

        :raises DownloadError: it could not be fetched whole; a retry may.
        :raises UnsafeResultError: it may not be fetched: scheme, size or redirects.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._fetch_once(url, target)
                return
            except UnsafeResultError:
                raise
            except DownloadError as error:
                if not error.retryable or attempt == ATTEMPTS:
                    raise
            time.sleep(2 ** (attempt - 1))

    def _fetch_once(self, url: str, target: Path) -> None:
        import requests

        deadline = time.monotonic() + LONGEST_SECONDS
        for _ in range(MOST_REDIRECTS + 1):
            _require_web_address(url)
            proxy = proxy_for(self._account, url)
            try:
                with self._session.get(
                    url,
                    stream=True,
                    allow_redirects=False,
                    timeout=(CONNECT_TIMEOUT, self._account.request_timeout),
                    proxies={"http": proxy, "https": proxy} if proxy else None,
                ) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers["location"])
                        continue
                    self._receive(response, target, deadline, _shown(url))
                    return
            except requests.RequestException as error:
                raise DownloadError(f"{_shown(url)} could not be fetched whole: {type(error).__name__}") from error
        raise UnsafeResultError(f"The result redirects more than {MOST_REDIRECTS} times, last to {_shown(url)}")

    def _receive(self, response: object, target: Path, deadline: float, shown: str) -> None:
        import requests

        assert isinstance(response, requests.Response)
        if response.status_code != 200:
            gone = response.status_code in (401, 403, 404, 410)
            reason = "; result addresses expire, so it may be gone" if gone else ""
            raise DownloadError(f"{shown} answered HTTP {response.status_code}{reason}", code=str(response.status_code))
        announced = response.headers.get("content-length", "")
        expected = int(announced) if announced.isdecimal() else None
        if expected is not None and expected > LARGEST_BYTES:
            raise UnsafeResultError(f"{shown} announces {expected:,} bytes, more than {LARGEST_BYTES:,}")
        received = 0
        with target.open("wb") as file:
            for chunk in response.iter_content(_CHUNK):
                received += len(chunk)
                if received > LARGEST_BYTES:
                    raise UnsafeResultError(f"{shown} sends more than {LARGEST_BYTES:,} bytes")
                if time.monotonic() > deadline:
                    raise DownloadError(f"{shown} took longer than {LONGEST_SECONDS:.0f} s")
                file.write(chunk)
        if expected is not None and received != expected:
            raise DownloadError(f"{shown} was cut off after {received:,} of {expected:,} bytes")


def _require_web_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UnsafeResultError(f"The result is at {_shown(url)}, which is not a web address")


def _shown(url: str) -> str:
    """Return a URL without its query, which may be a signature."""
    return url.partition("?")[0][:200]
