"""The server of a measurement, in a process of its own: the local image service, doubles of others, and pictures.

It answers status requests after a set latency, and tells under ``/bench/observation`` what it saw of them. It ends
when its standard input does, so that it cannot outlive whoever started it.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import sys
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from airflow_provider_imagetasks.local.http_application import LocalApplication
from airflow_provider_imagetasks.local.options import ServiceOptions
from benchmarks.observations import StatusObserver
from benchmarks.pictures import PictureKind, noise_pictures

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_BACKLOG = 2048


class MeasuredServer:
    """Everything that a measurement asks for.

    :param latency: seconds before a status request is answered.
    :param picture_latency: seconds before the first byte of a picture.
    :param pictures: which pictures to serve; None serves none.
    """

    def __init__(self, *, latency: float, picture_latency: float, pictures: PictureKind | None) -> None:
        self._latency = latency
        self._picture_latency = picture_latency
        self._pictures = noise_pictures(pictures) if pictures else []
        self._observer = StatusObserver()
        # The connections themselves, and not their ids, which would come again once they are gone.
        self._known: set[object] = set()

    async def serve(self, ended: asyncio.Event) -> None:
        """Serve on a free port of the loopback interface, print the URL, and stop when ``ended``."""
        runner = LocalApplication(ServiceOptions()).runner()
        runner.app.middlewares.append(self._observe)
        runner.app.add_routes(
            [
                web.get("/pending/{id}", self._pending),
                web.get("/v1/batches/{id}", self._batch),
                web.get("/pictures/{number}.png", self._picture),
                web.get("/bench/observation", self._observation),
            ]
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=_BACKLOG).start()
            print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
            await ended.wait()
        finally:
            await runner.cleanup()

    @web.middleware
    async def _observe(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note a status request, and let it wait; everything else passes."""
        at = time.time()
        ids = await _asked_ids(request)
        if ids is None:
            return await handler(request)
        if request.protocol not in self._known:
            self._known.add(request.protocol)
            self._observer.note_connection(at)
        self._observer.note_request(ids, at)
        await asyncio.sleep(self._latency)
        return await handler(request)

    async def _pending(self, _request: web.Request) -> web.Response:
        """Answer as the http sensor's trigger understands "not yet"."""
        return web.Response(status=404)

    async def _batch(self, request: web.Request) -> web.Response:
        """Answer as OpenAI's batch endpoint does while a batch runs."""
        return web.json_response(
            {
                "id": request.match_info["id"],
                "object": "batch",
                "endpoint": "/v1/images/generations",
                "input_file_id": "file-0",
                "completion_window": "24h",
                "status": "in_progress",
                "created_at": int(time.time()),
            }
        )

    async def _picture(self, request: web.Request) -> web.Response:
        if self._picture_latency:
            await asyncio.sleep(self._picture_latency)
        content = self._pictures[int(request.match_info["number"]) % len(self._pictures)]
        return web.Response(body=content, content_type="image/png")

    async def _observation(self, request: web.Request) -> web.Response:
        seen = self._observer.between(float(request.query["begin"]), float(request.query["end"]))
        return web.json_response(dataclasses.asdict(seen))


async def _asked_ids(request: web.Request) -> list[str] | None:
    """Return the ids that a status request asks for; None where the request is something else."""
    path = request.path
    if path.startswith(("/pending/", "/v1/batches/")):
        return [path.rpartition("/")[2]]
    if path.endswith("/recordInfo"):
        return [request.query.get("taskId", "")]
    if path.endswith("/openai/tasks"):
        body = await request.json()
        return list(body.get("ids") or [body.get("id", "")])
    return None


async def _serve(server: MeasuredServer) -> None:
    ended = asyncio.Event()
    reader = asyncio.create_task(asyncio.to_thread(sys.stdin.buffer.read))
    reader.add_done_callback(lambda _: ended.set())
    await server.serve(ended)


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--picture-latency", type=float, default=0.0)
    parser.add_argument("--pictures", type=PictureKind, choices=list(PictureKind))
    chosen = parser.parse_args()
    asyncio.run(
        _serve(MeasuredServer(latency=chosen.latency, picture_latency=chosen.picture_latency, pictures=chosen.pictures))
    )


if __name__ == "__main__":
    main()
