"""Operators that end their own task process at a chosen point, once. The tests copy this file beside their Dags."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.operators.image_task import ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from airflow_provider_imagetasks.submissions.ledger import SubmissionLedger


class KilledSubmitOperator(ImageTaskSubmitOperator):
    """Submits as ever, and is killed at the point that ``killed`` names.

    :param marks: folder where the kill is noted, so that it strikes once.
    :param held: whether the process stops at that point, alive, until the test lets it die.
    """

    def __init__(self, *, killed: str | None, marks: str, held: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.killed = killed
        self.marks = marks
        self.held = held

    def execute(self, context: Any) -> str:
        mark = mark_of(self.marks, self.dag_id, self.task_id)
        if self.killed and not mark.exists():

            def strike(*_arguments: Any, **_named: Any) -> None:
                die(mark, held=self.held)

            POINTS[self.killed](strike, self, context)
        return super().execute(context)


class KilledSensor(ImageTaskSensor):
    """Waits as ever, and is killed when it resumes after its deferral.

    :param killed: whether it is.
    :param marks: folder where the kill is noted, so that it strikes once.
    """

    def __init__(self, *, killed: bool, marks: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.killed = killed
        self.marks = marks

    def execute_complete(self, context: Any, *arguments: Any, **named: Any) -> Any:
        mark = mark_of(self.marks, self.dag_id, self.task_id)
        if self.killed and not mark.exists():
            die(mark)
        return super().execute_complete(context, *arguments, **named)


def mark_of(folder: str, dag_id: str, task_id: str) -> Path:
    """Where a kill is noted."""
    return Path(folder) / f"{dag_id}.{task_id}"


def release(mark: Path) -> None:
    """Let a held process die."""
    mark.with_name(f"{mark.name}.released").touch()


def die(mark: Path, *, held: bool = False) -> None:
    """End this process without notice."""
    mark.touch()
    while held and not mark.with_name(f"{mark.name}.released").exists():
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


def _after_acceptance(strike: Callable[..., None], task: KilledSubmitOperator, _context: Any) -> None:
    """Die as soon as the service counts an image task, while this process waits for the answer."""
    root = "/".join(ImageTaskHook(str(task.conn_id)).account.base_url.split("/")[:3])

    def watch() -> None:
        with requests.Session() as session:
            session.trust_env = False
            while task.prompt not in {entry["prompt"] for entry in session.get(f"{root}/stats").json()["created"]}:
                time.sleep(0.1)
        strike()

    threading.Thread(target=watch, daemon=True).start()


def _strike_after(owner: type, name: str, strike: Callable[..., None]) -> None:
    original = getattr(owner, name)

    def struck(*arguments: Any, **named: Any) -> None:
        original(*arguments, **named)
        strike()

    setattr(owner, name, struck)


POINTS: dict[str, Callable[[Callable[..., None], KilledSubmitOperator, Any], None]] = {
    "before the POST": lambda strike, _task, _context: setattr(ImageTaskHook, "submit_completed", strike),
    "after acceptance": _after_acceptance,
    "before the record": lambda strike, _task, _context: _strike_after(ImageTaskHook, "submit_completed", strike),
    "before XCom": lambda strike, _task, context: setattr(type(context["ti"]), "xcom_push", strike),
    "after XCom": lambda strike, _task, _context: _strike_after(SubmissionLedger, "finish", strike),
}
