"""An HTTP server on loopback that answers from a script and remembers what it was asked."""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Reply:
    """Reply a request.

    :param body: sent as JSON, except bytes, which are sent as they are.
    :param headers: further headers; one here replaces the server's own.
    """

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class CutBeforeReading:
    """Reset the connection when a request arrives, without reading it; it is not among the recorded requests."""


@dataclass(frozen=True)
class CutAfterReading:
    """Read the request, then close the connection, after the given bytes if any.

    :param sent: what is sent before, also half an answer or none that HTTP knows.
    """

    sent: bytes = b""


@dataclass(frozen=True)
class Hang:
    """Read the request, then say nothing until the server is closed."""


@dataclass(frozen=True, kw_only=True)
class Trickle:
    """Read the request, then send an answer that has no end, byte by byte.

    :param before: seconds until it begins; ``between`` two bytes.
    :param head: what is sent at once; ``repeated`` what comes after it again and again.
    """

    before: float = 0.0
    between: float = 0.02
    head: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    repeated: bytes = b" "


Step = Reply | CutBeforeReading | CutAfterReading | Hang | Trickle


@dataclass(frozen=True, kw_only=True)
class ReceivedRequest:
    """A request as it came. ``target`` is the whole URL where the server is used as a proxy.

    :param body: parsed, where it is JSON.
    :param at: when it came, on the monotonic clock.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    content: bytes = b""
    body: Any = None
    at: float = 0.0

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def form(self) -> list[tuple[str, str | None, str, bytes]]:
        """Name, file name, media type and content of each field of a multipart form; a text has no file name."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = [part for part in message_from_bytes(head + self.content).walk() if not part.is_multipart()]
        names = [str(part.get_param("name", header="content-disposition")) for part in parts]
        return [
            (name, part.get_filename(), part.get_content_type(), part.get_payload(decode=True))
            for name, part in zip(names, parts, strict=True)
        ]


class ScriptedServer:
    """Takes one step of the script for each request, on any connection; use it in ``with``.

    What was sent before the end of ``with`` is on record after it, although nobody waited for an answer.
    A request that the script does not foresee is answered with status 400, and recorded like the others.

    :param otherwise: finds the step for a request that the script does not foresee.
    """

    def __init__(self, *script: Step, otherwise: Callable[[ReceivedRequest], Step] | None = None) -> None:
        self.requests: list[ReceivedRequest] = []
        self.otherwise = otherwise or (lambda _request: Reply({"error": "the script is over"}, status=400))
        self._script = list(script)
        self._lock = threading.Lock()
        self.closed = threading.Event()
        self.closing, self._close = socket.socketpair()
        """The first can be read from once the server is closed, by a handler that waits for a request too."""
        self._server = _Server(("127.0.0.1", 0), _handler_for(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.closed.set()
        self._close.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.closing.close()

    def cuts_next(self) -> bool:
        """Whether the next request is to be cut before it is read; takes that step."""
        with self._lock:
            cuts = bool(self._script) and isinstance(self._script[0], CutBeforeReading)
            if cuts:
                self._script.pop(0)
            return cuts

    def take(self, request: ReceivedRequest) -> Step:
        """Record a request and return what to do with it."""
        with self._lock:
            self.requests.append(request)
            return self._script.pop(0) if self._script else self.otherwise(request)


class _Server(ThreadingHTTPServer):
    # With the usual 5, a client that opens many connections at once waits a second for some of them.
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self._handlers: list[threading.Thread] = []
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        handler = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._handlers.append(handler)
        handler.start()

    def server_close(self) -> None:
        while select.select([self.socket], [], [], 0)[0]:
            self._handle_request_noblock()  # type: ignore[attr-defined]
        super().server_close()
        for handler in self._handlers:
            handler.join(10)

    def handle_error(self, *_connection: Any) -> None:
        """Say nothing: a client that went away is what the test is about."""


def _handler_for(scripted: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_one_request(self) -> None:
            if self.connection not in select.select([self.connection, scripted.closing], [], [])[0]:
                self.close_connection = True
                return
            if scripted.cuts_next():
                # Lingering for no time turns the close into a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            super().handle_one_request()

        def do_any(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = ReceivedRequest(
                method=self.command,
                target=self.path,
                headers=dict(self.headers.items()),
                content=content,
                body=json.loads(content) if content and self.headers.get_content_type() == "application/json" else None,
                at=time.monotonic(),
            )
            match scripted.take(request):
                case Reply() as reply:
                    self._send(reply)
                case CutAfterReading(sent=sent):
                    self.wfile.write(sent)
                    self.close_connection = True
                case Hang():
                    scripted.closed.wait()
                    self.close_connection = True
                case Trickle() as trickle:
                    self._trickle(trickle)

        do_GET = do_POST = do_PUT = do_DELETE = do_CONNECT = do_any  # noqa: N815 - the names that the base class looks for

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.content))}
            for name, value in {**headers, **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.content)

        def _trickle(self, trickle: Trickle) -> None:
            self.close_connection = True
            scripted.closed.wait(trickle.before)
            try:
                self.wfile.write(trickle.head)
                while not scripted.closed.wait(trickle.between):
                    self.wfile.write(trickle.repeated)
            except OSError:
                return

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    return Handler
