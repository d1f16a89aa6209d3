"""What answers over requests lack by themselves: a time limit for the whole of one, and strictness; nor is a redirect
prepared that nobody follows."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from airflow_provider_imagetasks.transports.answer_framing import FramedAnswer


class SessionWithoutRedirects(requests.Session):
    """A session to which a redirect is an answer like any other.

    Requests itself prepares the request that would follow it, also where none does: it reads the whole body before,
    unpacked and without a bound, and breaks at an address that it cannot read.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None, so that no further request is prepared."""
        return None


class AnswerDeadline:
    """Cuts the connection of a request whose answer is not whole in time, however steadily it trickles in.

    For one session on one thread. It counts from the moment at which the request has left, so that a long upload does
    not use the time up; what a proxy says before is timed by itself.

    :param seconds: that an answer may take, from its first line to its end.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: threading.Timer | None = None
        self.struck = False
        """Whether the latest answer was cut."""

    def watch(self, session: requests.Session) -> None:
        """Watch over the answers of a session; :meth:`end` says that one is whole."""
        for prefix in ("https://", "http://"):
            session.mount(prefix, _Adapter(self))

    def begin(self, connection: Any) -> None:
        """Count from now on for an answer that comes over a connection."""
        self.end()
        self.struck = False
        # The connection forgets its socket where the answer is to be its last.
        self._timer = threading.Timer(self._seconds, self._strike, (connection, connection.sock))
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """Count no longer; whatever came is whole."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _strike(self, connection: Any, known: socket.socket | None) -> None:
        self.struck = True
        open_socket = known or connection.sock
        if open_socket is not None:
            with suppress(OSError):
                # Not the method of a TLS socket, which would take its session away while it is read from.
                socket.socket.shutdown(open_socket, socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """Makes the connections of a session such that a deadline knows of them."""

    def __init__(self, deadline: AnswerDeadline) -> None:
        plain = type("_WatchedConnection", (_Watched, HTTPConnection), {"deadline": deadline})
        secure = type("_WatchedTlsConnection", (_Watched, HTTPSConnection), {"deadline": deadline})
        self._pools = {
            "http": type("_WatchedPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("_WatchedTlsPool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named)  # type: ignore[no-untyped-call,unused-ignore]
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *arguments: Any, **named: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **named)  # type: ignore[no-untyped-call,unused-ignore]
        manager.pool_classes_by_scheme = self._pools
        return manager


class _Watched:
    """What a connection does that a deadline watches over."""

    deadline: AnswerDeadline
    response_class = FramedAnswer

    def _tunnel(self) -> None:
        self.deadline.begin(self)
        super()._tunnel()  # type: ignore[misc]
        self.deadline.end()
        if self.deadline.struck:
            # A proxy's answer that was cut counts as one that ends.
            raise TimeoutError

    def getresponse(self, *arguments: Any, **named: Any) -> Any:
        self.deadline.begin(self)
        return super().getresponse(*arguments, **named)  # type: ignore[misc]
