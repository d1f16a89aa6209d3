"""A proxy before the local image service that breaks its status route, or changes what a submission is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests

from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer

PAGE_404 = Reply(b"<html><h1>404 Not Found</h1></html>", status=404, headers={"Content-Type": "text/html"})

DENIALS = {
    "acedatacloud": Reply({}),
    "aigptimage": Reply({"code": 404, "msg": "task not found", "data": None}),
}
"""What each service answers where it knows no such image task."""


class StatusRoute:
    """Hands every request on, but answers status questions itself while it is broken.

    :param url: of the dialect.
    :param broken: what it answers; None hands the question on. It is told the ids that are asked for.
    :param answered: makes of the service's answer to a submission, which was taken, the one that arrives.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.broken: Callable[[list[str]], Reply | None] = lambda _ids: None
        self.answered: Callable[[dict[str, Any]], Reply] = Reply
        self.mistaken_for: str | None = None
        """The id whose record answers a question for one other."""
        self.server = ScriptedServer(otherwise=self._answer)

    def breaks(self, reply: Reply, *, times: int | None = None, only: str | None = None) -> None:
        """Break it.

        :param times: how often; None for good.
        :param only: an id that must be among those asked for.
        """
        left = float("inf") if times is None else times

        def broken(ids: list[str]) -> Reply | None:
            nonlocal left
            if left <= 0 or (only is not None and only not in ids):
                return None
            left -= 1
            return reply

        self.broken = broken

    def mend(self) -> None:
        self.broken = lambda _ids: None

    def _answer(self, request: ReceivedRequest) -> Reply:
        ids = _asked_for(request)
        reply = self.broken(ids) if ids else None
        if reply is not None:
            return reply
        target, content = request.target, request.content
        if self.mistaken_for and len(ids) == 1:
            target = target.replace(ids[0], self.mistaken_for)
            content = content.replace(ids[0].encode(), self.mistaken_for.encode())
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("host", "connection", "content-length")
        }
        answer = requests.request(request.method, self._url + target, data=content, headers=headers, timeout=30)
        if answer.ok and request.method == "POST" and "action" not in (request.body or {}):
            return self.answered(answer.json())
        return Reply(answer.content, status=answer.status_code, headers={"Content-Type": "application/json"})


def _asked_for(request: ReceivedRequest) -> list[str]:
    if request.method == "GET":
        return request.query.get("taskId", [])
    body = request.body
    if not isinstance(body, dict) or "action" not in body:
        return []
    return [*body.get("ids", []), *([body["id"]] if body.get("id") else [])]
