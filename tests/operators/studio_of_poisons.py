"""An API like AceDataCloud's whose pictures are what a test makes of them: a prompt names what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Self

from tests.files import hostile_pictures
from tests.hostile_files import HTML, SVG
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer, Step

WHOLE = hostile_pictures.whole("jpeg")
FILES: dict[str, bytes] = {
    "png-without-pixels": hostile_pictures.png(),
    "png-without-colours": hostile_pictures.png((b"IDAT", b""), colour=3),
    "nothing": b"",
    "page": HTML,
    "svg": SVG,
    "cut-off-jpeg": WHOLE[: len(WHOLE) // 2],
    "many-scans": hostile_pictures.jpeg_of_many_scans(300),
    "png-bomb": hostile_pictures.png_bomb(30_000),
    "first-frame": hostile_pictures.gif_after_its_first_frame(),
}
ADDRESSES = {
    "empty-label": "http://a..b/x.png",
    "long-label": f"http://{'a' * 64}.example/x.png",
    "half-an-address": "http://[::1",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "file": "file:///etc/passwd",
    "digits-of-another-script": "http://①②⑦.⓪.⓪.①/x.png",
}
RESPONSES: dict[str, Any] = {
    "no-pictures": {"success": True, "data": []},
    "not-base64": {"success": True, "data": [{"b64_json": "***"}]},
    "list": [{"url": "http://a.example/x.png"}],
    "failed": {"success": False, "error": {"code": "api_error", "message": "out of paint"}},
}
POISONS = (*FILES, *ADDRESSES, *RESPONSES)
"""What may come of a row; with a row that cannot be asked for, twenty."""
PER_TASK = 64
"""Mutated pictures of one image task, as many as one may have."""


class PoisonedStudio:
    """Serves the API and the pictures. A prompt like ``mutated-64`` has the 64 mutated pictures from that number on."""

    def __init__(self) -> None:
        self.server = ScriptedServer(otherwise=self._answer)
        self.submitted: list[str] = []
        self.is_ready: Callable[[], bool] = lambda: True

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.__exit__(*exception)

    def _answer(self, request: ReceivedRequest) -> Step:
        if request.path == "/openai/images/generations":
            self.submitted.append(request.body["prompt"])
            return Reply({"success": True, "task_id": request.body["prompt"], "trace_id": request.body["trace_id"]})
        if request.path == "/openai/tasks":
            if request.body["action"] == "retrieve":
                return Reply(self._record(request.body["id"]))
            return Reply({"items": [self._record(each) for each in request.body["ids"]]})
        name = request.path.rpartition("/")[2]
        content = hostile_pictures.mutated(int(name)) if name.isdigit() else FILES.get(name, WHOLE)
        return Reply(content, headers={"Content-Type": "image/png"})

    def _record(self, image_task_id: str) -> dict[str, Any]:
        now, told = time.time(), {"id": image_task_id, "request": {"prompt": image_task_id}}
        if not self.is_ready():
            return {**told, "created_at": now}
        return {**told, "created_at": now, "finished_at": now, "response": self._response(image_task_id)}

    def _response(self, image_task_id: str) -> Any:
        kind, _, first = image_task_id.rpartition("-")
        if kind == "mutated":
            names = [str(number) for number in range(int(first), int(first) + PER_TASK)]
        else:
            names = [image_task_id]
        urls = [ADDRESSES.get(name, f"{self.server.url}/pictures/{name}") for name in names]
        return RESPONSES.get(image_task_id, {"success": True, "data": [{"url": url} for url in urls]})
