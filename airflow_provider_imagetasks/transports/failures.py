"""What became of a request without an answer: whether it may have left, and why, in words without address or key."""

from __future__ import annotations

import os
import ssl
import sys
import traceback
from http.client import BadStatusLine, HTTPException, LineTooLong, RemoteDisconnected
from typing import Any

from airflow_provider_imagetasks.services.wire import excerpt
from airflow_provider_imagetasks.transports.answers import (
    TOO_MANY_HEADER_LINES,
    AnswerTooLargeError,
    UnreadableHeadError,
)
from airflow_provider_imagetasks.transports.environment import proxy_name
from airflow_provider_imagetasks.transports.unpacking import NotUnpackedError

TOO_SLOW, TOO_SLOW_TO_CONNECT = "the answer took too long", "it took too long to connect"
NO_HTTP = "the answer is not HTTP as it should be, and cannot be read"
LONG_LINE = "the answer has a header line that is too long"
UNREAD = (AnswerTooLargeError, UnreadableHeadError, NotUnpackedError)
"""What is raised of an answer that came, and is not read."""
_PROXY_WANTS_USER = 407
_TUNNEL_FAILED = "Tunnel connection failed: "
"""How Python's own client, below requests, says what a proxy answers."""


def _causes(error: BaseException) -> list[Any]:
    """Return an error and everything that it wraps, in whichever way the libraries wrap."""
    found: list[Any] = []
    waiting: list[Any] = [error]
    while waiting:
        current = waiting.pop()
        if isinstance(current, BaseException) and not any(current is known for known in found):
            found.append(current)
            waiting += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
            waiting.append(getattr(current, "os_error", None))
    return found


def _errors_of(module: str, *names: str) -> tuple[type[BaseException], ...]:
    """Return error classes of a library, none where it is not loaded: what raised one of them has loaded it.

    To load it here would take an event loop a tenth of a second.
    """
    loaded = sys.modules.get(module)
    return tuple(getattr(loaded, name) for name in names) if loaded else ()


def may_have_left(error: BaseException) -> bool:
    """Return False only where the connection was never made, so that the service cannot have seen the request."""
    never_made: tuple[type[BaseException], ...] = (
        ssl.SSLCertVerificationError,
        *_errors_of("urllib3.exceptions", "NewConnectionError", "ConnectTimeoutError"),
        *_errors_of("requests.exceptions", "ConnectTimeout", "InvalidURL", "InvalidHeader"),
        *_errors_of("aiohttp", "ClientConnectorError", "ClientHttpProxyError", "ConnectionTimeoutError", "InvalidURL"),
    )
    return not any(isinstance(cause, never_made) or _while_connecting(cause) for cause in _causes(error))


def _while_connecting(error: BaseException) -> bool:
    """Whether urllib3 was still opening the proxy's tunnel or shaking hands: its error classes do not tell.

    Its ``ProxyError`` does not tell either, since it also stands for a connection that was cut behind the proxy.
    """
    frames = (frame.f_code for frame, _line in traceback.walk_tb(error.__traceback__))
    return any(code.co_name in ("do_handshake", "_tunnel") for code in frames)


def reason_of(error: BaseException, proxy: str | None = None) -> str:
    """Return what happened in words, without the request's URL or headers.

    :param proxy: that the request was to go through, which is named without its user and password.
    """
    if isinstance(error, AnswerTooLargeError):
        return "the answer was too large"
    if isinstance(error, NotUnpackedError):
        return str(error)
    late = _errors_of("requests.exceptions", "Timeout"), _errors_of("urllib3.exceptions", "ReadTimeoutError")
    if isinstance(error, (TimeoutError, *late[0], *late[1])):
        connecting = (
            *_errors_of("requests.exceptions", "ConnectTimeout"),
            *_errors_of("aiohttp", "ConnectionTimeoutError"),
        )
        return TOO_SLOW_TO_CONNECT + to_proxy(proxy) if isinstance(error, connecting) else TOO_SLOW
    causes = _causes(error)
    if proxy and (said := next(filter(None, map(_said_by_proxy, causes)), None)):
        return refused_by_proxy(proxy, said)
    if head := next(filter(None, map(_said_of_head, causes)), None):
        return head
    detail = next(filter(None, map(words_of, reversed(causes))), type(error).__name__)
    if may_have_left(error):
        return f"the connection was cut ({detail})"
    return f"no connection{to_proxy(proxy, *causes)} ({detail})"


def _said_of_head(error: BaseException) -> str | None:
    """Return what is wrong with the head of an answer, in the same words for both clients; None for other errors."""
    if isinstance(error, UnreadableHeadError):
        return str(error)
    bodies = _errors_of("aiohttp.http_exceptions", "PayloadEncodingError")
    heads = _errors_of("aiohttp.http_exceptions", "BadHttpMessage")
    is_head = isinstance(error, heads) and not isinstance(error, bodies)
    if isinstance(error, LineTooLong) or (
        is_head and isinstance(error, _errors_of("aiohttp.http_exceptions", "LineTooLong"))
    ):
        return LONG_LINE
    if (isinstance(error, HTTPException) and "got more than" in str(error)) or (
        is_head and "Too many headers" in str(error)
    ):
        return TOO_MANY_HEADER_LINES
    is_no_status = isinstance(error, BadStatusLine) and not isinstance(error, RemoteDisconnected)
    return NO_HTTP if is_head or is_no_status else None


def refusal_of_proxy(proxy: str | None, status: int) -> str | None:
    """Return what an answer means that only a proxy gives, None for any other. The request has not left it.

    :param proxy: that the request went through, if any.
    """
    return refused_by_proxy(proxy, str(status)) if proxy and status == _PROXY_WANTS_USER else None


def words_of(error: BaseException) -> str | None:
    """Return what the system says of an error; None where it is none of the system's."""
    said: str | None = getattr(error, "strerror", None) if isinstance(error, OSError) else None
    # asyncio's own words, which tell no reason.
    return os.strerror(error.errno) if said and said.startswith("Connect call failed") else said  # type: ignore[attr-defined]


def refused_by_proxy(proxy: str, said: str) -> str:
    """Return what happened where a proxy refuses.

    :param said: the status that it answers with, and perhaps its words.
    """
    wants_user = said.startswith(str(_PROXY_WANTS_USER))
    mend = "; it wants a user and a password, which belong in http_proxy and https_proxy" if wants_user else ""
    return f"the proxy {proxy_name(proxy)} lets nothing through: it answers {said}{mend}"


def to_proxy(proxy: str | None, *causes: BaseException) -> str:
    """Return the words that say where a connection failed; none where there is no proxy.

    :param causes: of the failure; one of TLS is mostly about what lies behind the proxy.
    """
    if not proxy:
        return ""
    is_secure = any(isinstance(cause, ssl.SSLError) or _while_connecting(cause) for cause in causes)
    return f" {'through' if is_secure else 'to'} the proxy {proxy_name(proxy)}"


def _said_by_proxy(error: BaseException) -> str | None:
    """Return the status with which a proxy refused to open a tunnel, and its words; None for any other error."""
    if isinstance(error, _errors_of("aiohttp", "ClientHttpProxyError")):
        return excerpt(f"{getattr(error, 'status', '')} {getattr(error, 'message', '')}", 100)
    _, separator, said = str(error).partition(_TUNNEL_FAILED) if type(error) is OSError else ("", "", "")
    return excerpt(said, 100) if separator else None
