"""A service that exists only in tests, by what it can tell of submissions, and the submissions that it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.wire import Flow, Request
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState

WORK_SECONDS = 20.0
KINDS = ("finds by trace id", "drops trace ids", "repeats by key", "can tell nothing")


@dataclass
class Paid:
    """A submission that the service took.

    :param accepted: whether the row was asked for again, as ``on_unknown_outcome`` says, since nobody knew of this one.
    :param excused: whether the row may be paid for again, or was, so that this one needs no owner.
    """

    id: str
    row: int
    key: str
    generation: int
    at: float
    fate: str
    written_at: float
    has_answer: bool
    accepted: bool = False
    excused: bool = False

    def state(self, now: float) -> TaskState:
        if now < self.at + WORK_SECONDS or self.fate == "never ends":
            return TaskState.RUNNING
        if self.fate == "vanishes":
            return TaskState.NOT_FOUND
        return TaskState.SUCCEEDED if self.fate == "succeeds" else TaskState.FAILED

    def cost_nothing(self, now: float) -> bool:
        return self.fate == "fails unbilled" and self.state(now) is TaskState.FAILED


class Studio(Service):
    """The protocol: one request for each thing that can be asked."""

    name = title = "studio"
    default_base_url = "https://studio.example"
    default_model = default_edit_model = "studio-1"

    def __init__(self, kind: str) -> None:
        self.finds_by_trace_id = kind in KINDS[:2]  # type: ignore[misc]
        self.repeats_submit_by_key = kind == KINDS[2]  # type: ignore[misc]

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        return (yield from _asked("POST", "/submissions", {"prompt": request.prompt, "key": key or ""}))

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        return (yield from _asked("GET", "/image-tasks", {"id": image_task_id}))

    def find_by_trace_ids(self, trace_ids: Any) -> Flow[list[ImageTask]]:
        return (yield from _asked("GET", "/trace-ids", {"ids": list(trace_ids)}))

    def check_connection(self) -> Flow[str]:
        yield from ()
        return "fine"


def _asked(method: Any, path: str, body: dict[str, Any]) -> Flow[Any]:
    answer: Any = yield Request(method=method, path=path, body=body)
    if isinstance(answer, ImageTaskError):
        raise answer
    return answer
