"""A service and the store of its results in one: its image task names what a test wants, on its own host."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer, Step
from tests.task_runner import Outcome, TaskRunner


def _png() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(content, "PNG")
    return content.getvalue()


PNG = _png()
TASK_ID = "11111111-2222-4333-8444-555555555555"


def redirect(location: str) -> Reply:
    """302 to an address, whose characters go out as UTF-8."""
    return Reply(b"", status=302, headers={"Location": location.encode("utf-8", "surrogateescape").decode("latin-1")})


@dataclass
class ResultServer:
    """Answers the Tasks API and the jobs API with one image task, and every other request as a store of pictures.

    :param results: the addresses that its record names; each ``{url}`` in them is the server's own. Several records
        are what it says one after the other, the last one for ever.
    :param answer: what the store says to a request; None means the picture.
    """

    results: Sequence[str] = ()
    records: Sequence[Sequence[str]] = ()
    answer: Callable[[ReceivedRequest], Step | None] = lambda _request: None
    url: str = ""
    fetched: list[ReceivedRequest] = field(default_factory=list)
    asked: int = 0

    def __call__(self, request: ReceivedRequest) -> Step:
        if request.path == "/openai/tasks":
            self.asked += 1
            return Reply(self._page(request))
        if request.path.endswith("/recordInfo"):
            self.asked += 1
            return Reply(self._envelope())
        self.fetched.append(request)
        return self.answer(request) or Reply(PNG, headers={"Content-Type": "image/png"})

    def _named(self) -> list[str]:
        records = self.records or (self.results,)
        return [url.replace("{url}", self.url) for url in records[min(self.asked, len(records)) - 1]]

    def _envelope(self) -> Any:
        data = {"taskId": TASK_ID, "state": "success", "resultJson": json.dumps({"resultUrls": self._named()})}
        return {"code": 200, "msg": "success", "data": data}

    def _page(self, request: ReceivedRequest) -> Any:
        named = self._named()
        record = {
            "id": TASK_ID,
            "created_at": time.time() - 60,
            "finished_at": time.time(),
            "request": {"n": max(len(named), 1)},
            "response": {"data": [{"url": url} for url in named]},
        }
        return record if request.body["action"] == "retrieve" else {"items": [record], "count": 1}

    @property
    def targets(self) -> list[str]:
        """What the store was asked for, as it stood in the requests."""
        return [request.target for request in self.fetched]


@contextmanager
def serving(results: ResultServer) -> Iterator[ResultServer]:
    with ScriptedServer(otherwise=results) as server:
        results.url = server.url
        yield results


@dataclass
class Download:
    """Runs the download operator against a :class:`ResultServer`.

    :param fields: further extra fields of the connection.
    """

    results: ResultServer
    folder: str
    fields: dict[str, Any] = field(default_factory=dict)
    runner: TaskRunner = field(default_factory=TaskRunner)

    def run(self, image_task_id: str = TASK_ID, **arguments: Any) -> Outcome:
        extra = {"service": "acedatacloud", "query_rate": "1000/s", "request_timeout": 15, **self.fields}
        connection = {"host": self.results.url, "password": "key-of-the-tests", "extra": extra}
        self.runner.connections["imagetasks_default"] = connection
        given = {"image_task_id": image_task_id, "output_path": self.folder, "retries": 2, **arguments}
        return self.runner.run(lambda: ImageTaskDownloadOperator(task_id="save", **given))

    @property
    def files(self) -> list[dict[str, Any]]:
        """What the operator returned."""
        found: list[dict[str, Any]] = self.runner.xcoms["save", "return_value"]["files"]
        return found
