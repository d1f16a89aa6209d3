"""Operators that end or freeze their own process at a point, once. The tests copy this file beside their Dags."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
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
    :param spoilt: characters with which the prompts of the first tries end, one for each.
    """

    def __init__(self, *, killed: str | None, marks: str, held: bool = False, spoilt: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spoilt = spoilt
        self.killed = killed
        self.marks = marks
        self.held = held

    def execute(self, context: Any) -> str:
        self.prompt += self.spoilt[context["ti"].try_number - 1 :][:1]
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


def _frozen_before(_strike: Callable[..., None], task: KilledSubmitOperator, _context: Any) -> None:
    """Freeze this process, and what supervises it, as where a whole machine stands still, until the test thaws them."""
    mark, submit = mark_of(task.marks, task.dag_id, task.task_id), ImageTaskHook.submit_completed

    def frozen(*arguments: Any, **named: Any) -> Any:
        processes = os.getpid(), os.getppid()
        mark.write_text(" ".join(map(str, processes)))
        for process in reversed(processes):
            os.kill(process, signal.SIGSTOP)
        return submit(*arguments, **named)

    ImageTaskHook.submit_completed = frozen  # type: ignore[method-assign]


def frozen_processes(mark: Path) -> list[int]:
    """Return the ids of what stands frozen at a mark: the task's process, then its supervisor's."""
    return [int(number) for number in mark.read_text().split()]


def is_alive(process: int) -> bool:
    """Whether a process is there and has not ended."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


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
    "frozen before the POST": _frozen_before,
    "before the POST": lambda strike, _task, _context: setattr(ImageTaskHook, "submit_completed", strike),
    "after acceptance": _after_acceptance,
    "before the record": lambda strike, _task, _context: _strike_after(ImageTaskHook, "submit_completed", strike),
    "before XCom": lambda strike, _task, context: setattr(type(context["ti"]), "xcom_push", strike),
    "after XCom": lambda strike, _task, _context: _strike_after(SubmissionLedger, "finish", strike),
}
