"""How long one hostile answer to a status question holds up an event loop: ``python -m benchmarks.hostile_answers``.

The answers come from a process of their own, so that only what the triggerer does with them is on the loop.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.transports import open_async_transport
from benchmarks.loop_lag import LagSampler

MIB = 1024 * 1024
TARGET = 0.05
_ROUNDS = 3
_SECRETS = "https://x.example/?token=" + "a-" * 4_000
ANSWERS = {
    "a record": json.dumps({"id": "a", "started_at": 1}).encode(),
    "just small enough to be read on the loop": b'{"items":[' + b"{}," * 21_000 + b"{}]}",
    "an error of hostile addresses": json.dumps({"error": {"code": "x", "message": _SECRETS * 7}}).encode(),
    "names without end": b"{" + b'"":0,' * 3 * MIB + b'"":0}',
    "objects without end": b'{"items":[' + b"{}," * 5 * MIB + b"{}]}",
    "lists in lists": b"[" * 16 * MIB,
    "no JSON": b"," * 16 * MIB,
    "one text": json.dumps({"id": "a", "text": "a b " * 8 * MIB}).encode(),
    "pictures in base64": json.dumps({"id": "a", "response": {"data": [{"b64_json": "Ab9+/" * 6 * MIB}]}}).encode(),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        content = list(ANSWERS.values())[int(self.path.split("/")[1])]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _serve(told: Connection) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    told.send(server.server_port)
    server.serve_forever()


@contextmanager
def _server() -> Iterator[str]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.kill()
        process.join()


async def held_up(url: str) -> float:
    """Return the longest time in seconds for which one answer of a server holds up the loop that asks for it."""
    account = Account(conn_id="measured", service="acedatacloud", base_url=url, key="measured-key")
    async with open_async_transport(account, keeps_pictures=False) as transport:
        service = get_service("acedatacloud")
        longest = []
        for _ in range(_ROUNDS):
            # The best of some, since the machine does other things too.
            sampler = LagSampler(time.monotonic())
            sampling = asyncio.create_task(sampler.run())
            await asyncio.sleep(0.1)
            with suppress(ImageTaskError):
                await transport.run(service.read_tasks_once(["a"]))
            await asyncio.sleep(0.1)
            sampling.cancel()
            longest.append(max(sampler.seconds_late()))
    return min(longest)


def main() -> None:
    """Measure and print a table."""
    print("| answer | MB | the loop is held up for |\n|---|---|---|")
    with _server() as url:
        for number, (name, content) in enumerate(ANSWERS.items()):
            seconds = asyncio.run(held_up(f"{url}/{number}"))
            missed = "" if seconds <= TARGET else f" (more than {TARGET * 1000:.0f} ms)"
            print(f"| {name} | {len(content) / 1e6:.1f} | {seconds * 1000:.0f} ms{missed} |", flush=True)


if __name__ == "__main__":
    main()
