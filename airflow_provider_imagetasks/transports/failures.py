"""The meaning of a failed request: whether the service may have seen it, and what to say of it."""

from __future__ import annotations

import ssl
import traceback
from typing import Any


class AnswerTooLargeError(Exception):
    """An answer is larger than any that a service has reason to send."""


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


def may_have_left(error: BaseException) -> bool:
    """Return False only where the connection was never made, so that the service cannot have seen the request."""
    import aiohttp
    import requests
    import urllib3

    never_made = (
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ConnectTimeoutError,
        requests.ConnectTimeout,
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidHeader,
        aiohttp.ClientConnectorError,
        aiohttp.ClientHttpProxyError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.InvalidURL,
        ssl.SSLCertVerificationError,
    )
    return not any(isinstance(cause, never_made) or _while_connecting(cause) for cause in _causes(error))


def _while_connecting(error: BaseException) -> bool:
    """Whether urllib3 was still opening the proxy's tunnel or shaking hands: its error classes do not tell.

    Its ``ProxyError`` does not tell either, since it also stands for a connection that was cut behind the proxy.
    """
    frames = (frame.f_code for frame, _line in traceback.walk_tb(error.__traceback__))
    return any(code.co_name in ("do_handshake", "_tunnel") for code in frames)


def reason_of(error: BaseException) -> str:
    """Return what happened in words, without the request's URL or headers."""
    import aiohttp
    import requests
    import urllib3

    if isinstance(error, AnswerTooLargeError):
        return "the answer was too large"
    if isinstance(error, (requests.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError)):
        connecting = isinstance(error, (requests.ConnectTimeout, aiohttp.ConnectionTimeoutError))
        return "it took too long to connect" if connecting else "the answer took too long"
    root = next(
        (cause for cause in reversed(_causes(error)) if isinstance(cause, OSError) and str(cause.strerror or "")), None
    )
    detail = getattr(root, "strerror", None) or type(error).__name__
    return f"{'the connection was cut' if may_have_left(error) else 'no connection'} ({detail})"
