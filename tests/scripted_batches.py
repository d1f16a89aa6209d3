"""OpenAI's files and batches as a test wants them: a server of which each answer can be another."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer, Step

Line = dict[str, Any]


def picture(colour: str = "red", size: tuple[int, int] = (16, 16), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


RED = base64.b64encode(picture()).decode()


def made(line: Line, encoded: Any = RED) -> Line:
    """Return the result of a line: one picture."""
    body = {"created": 1, "data": [{"b64_json": encoded}], "usage": {"total_tokens": 7}}
    return result(line["custom_id"], {"status_code": 200, "request_id": "req", "body": body})


def result(custom_id: Any, response: Any, error: Any = None) -> Line:
    return {"id": "batch_req_1", "custom_id": custom_id, "response": response, "error": error}


def text(lines: list[Line]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@dataclass
class ScriptedBatches:
    """Answers for files and batches.

    :param results: the file of results of the lines of a batch; ``errors`` that of their errors, None for none.
    :param record: what a batch's record has beside what is usual, by its lines.
    :param answer: a step for a request, in place of the usual one; None for the usual one.
    """

    results: Callable[[list[Line]], bytes | None] = lambda lines: text([made(line) for line in lines])
    errors: Callable[[list[Line]], bytes | None] = lambda lines: None
    record: Callable[[list[Line]], dict[str, Any]] = lambda lines: {}
    answer: Callable[[ReceivedRequest], Step | None] = lambda request: None
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server = ScriptedServer(otherwise=self._step)
        self.created: list[str] = []

    @property
    def prompts(self) -> list[str]:
        """The prompts that were asked for in batches, each as often as it was."""
        return sorted(line["body"]["prompt"] for id_ in self.created for line in self.lines(id_))

    def lines(self, batch_id: str) -> list[Line]:
        content = self.files[self.batches[batch_id]["input_file_id"]]
        return [json.loads(each) for each in content.decode().splitlines()]

    def _step(self, request: ReceivedRequest) -> Step:
        own = self.answer(request)
        return self.usual(request) if own is None else own

    def usual(self, request: ReceivedRequest) -> Step:
        path = request.path
        if request.method == "POST" and path.endswith("/files"):
            (content,) = [content for name, _, _, content in request.form if name == "file"]
            id_ = f"file-{len(self.files)}"
            self.files[id_] = content
            return Reply(
                {"id": id_, "object": "file", "bytes": len(content), "purpose": "batch", "status": "processed"}
            )
        if request.method == "POST" and path.endswith("/batches"):
            id_ = f"batch_{len(self.batches)}"
            self.batches[id_] = {**request.body, "id": id_, "object": "batch", "created_at": 1}
            self.created.append(id_)
            return Reply({**self.batches[id_], "status": "validating"})
        if request.method == "POST" and path.endswith("/cancel"):
            return Reply({**self.batches[path.split("/")[-2]], "status": "cancelling"})
        if path.endswith("/batches"):
            listed = [self.seen(id_) for id_ in reversed(self.batches)]
            return Reply({"object": "list", "data": listed, "has_more": False, "first_id": None, "last_id": None})
        if match := re.fullmatch(r".*/batches/([^/]+)", path):
            known = match[1] in self.batches
            return Reply(self.seen(match[1])) if known else Reply({"error": {"message": "no such batch"}}, 404)
        match = re.fullmatch(r".*/files/(out|err)-([^/]+)/content", path)
        if match and match[2] in self.batches:
            content = (self.results if match[1] == "out" else self.errors)(self.lines(match[2]))
            return Reply({"error": {"message": "no such file"}}, 404) if content is None else Reply(content)
        return Reply({"error": {"message": f"nothing at {path}"}}, status=404)

    def seen(self, id_: str) -> dict[str, Any]:
        lines = self.lines(id_)
        counts = {"total": len(lines), "completed": len(lines), "failed": 0}
        ends = {"status": "completed", "output_file_id": f"out-{id_}", "error_file_id": None, "request_counts": counts}
        if self.errors(lines) is not None:
            ends["error_file_id"] = f"err-{id_}"
        return {**self.batches[id_], **ends, **self.record(lines)}
