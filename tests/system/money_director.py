"""Plays events on many tasks of a real Airflow at once, and sees what came of each."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from dev.airflow_deployment import AirflowDeployment
from dev.child_process import ChildProcess
from dev.local_image_service import LocalImageServiceProcess
from dev.rest_api import FINISHED_RUN_STATES, RestApiError, TaskInstance
from tests.system import killing, money_clears
from tests.system.money_cases import Event, changed_prompt_of, dag_source, prompt_of
from tests.system.money_observations import ERRORS, Life, Observation
from tests.system.money_table import LEDGER_PATH, NOTHING

ENDED = frozenset({"success", "failed", "upstream_failed"})
MOST_LIVES = 4
LOOK_EVERY = 2.0

Play = Generator[None, None, None]
"""Acts, yields until the next look, and so on."""


@dataclass(frozen=True)
class Scene:
    """One Dag: the events of one service under one store."""

    dag_id: str
    store: str
    service: str
    events: Sequence[Event]
    ledger_path: str | None


@dataclass
class Director:
    """Runs the Dags of some scenes, and for each of their events a play, all at once."""

    deployment: AirflowDeployment
    image_service: LocalImageServiceProcess
    marks: Path
    observations: dict[tuple[str, str, str], Observation] = field(default_factory=dict)
    """By store, service and the event's name."""

    def __post_init__(self) -> None:
        self.api = self.deployment.api
        self._runs: dict[str, str] = {}
        self._tasks: dict[tuple[str, str], TaskInstance] = {}
        self._ended: dict[tuple[str, str], str] = {}
        self._created: list[tuple[str, str]] = []
        self._commands: dict[tuple[str, str], ChildProcess] = {}

    def begin(self, scenes: Iterable[Scene]) -> None:
        """Write the Dags and start a run of each; those of before are not looked at any more."""
        shutil.copy(killing.__file__, self.deployment.dags_folder / "killing.py")
        self._runs.clear()
        begun = list(scenes)
        # All at once, since each takes Airflow a while to parse.
        written = {scene.dag_id: self._put(scene) for scene in begun}
        for dag_id, moment in written.items():
            self.deployment.wait_for_dag(dag_id, parsed_after=moment, timeout=180)
        for scene in begun:
            self._runs[scene.dag_id] = self.api.trigger_dag(scene.dag_id)

    def change(self, scene: Scene) -> None:
        """Write the Dag of a scene as it is after it was changed."""
        self.deployment.wait_for_dag(scene.dag_id, parsed_after=self._put(scene, changed=True))

    def _put(self, scene: Scene, *, changed: bool = False) -> datetime:
        source = dag_source(
            scene.dag_id,
            scene.service,
            scene.events,
            marks=str(self.marks),
            ledger_path=scene.ledger_path,
            changed=changed,
        )
        return self.deployment.put_dag(scene.dag_id, source)

    def perform(self, plays: Iterable[Play], *, timeout: float) -> None:
        """Look at everything again and again, and let each play go on, until all are over."""
        going, deadline = list(plays), time.monotonic() + timeout
        while going:
            if time.monotonic() >= deadline:
                states = {f"{dag_id} {task_id}": task.state for (dag_id, task_id), task in self._tasks.items()}
                unfinished = {name: state for name, state in states.items() if state != "success"}
                logs = self.deployment.component_logs("scheduler", "triggerer")
                raise AssertionError(f"{len(going)} plays are not over after {timeout:g} s: {unfinished}\n{logs}")
            self._look()
            going = [play for play in going if next(play, StopIteration) is not StopIteration]
            time.sleep(LOOK_EVERY)

    def submission(self, scene: Scene, event: Event) -> Play:
        """See what becomes of a submission: Clear it while it fails, and as often as the event says."""
        lives: list[Life] = []
        wanted = 1 if event.waits else 1 + event.clears
        while not lives or (len(lives) < MOST_LIVES and (lives[-1].state != "success" or len(lives) < wanted)):
            if lives:
                self.clear(scene, event.name)
                yield
            if not lives and event.ended_early:
                yield from self._accepted(scene, event)
                self.mark_failed(scene, event.name)
            elif not lives and event.name == "cleared_while_running":
                yield from self._accepted(scene, event)
                self.clear(scene, event.name)
                yield
            yield from self.ended(scene, event.name)
            lives.append(self._life(scene, event, lives))
        struck = self.mark(scene, event.name).exists()
        assert struck == (event.killed is not None), f"{scene.dag_id} {event.name}: killed is {struck}"
        self.observations[scene.store, scene.service, event.name] = Observation(tuple(lives))

    def ended(self, scene: Scene, task_id: str) -> Play:
        """Go on when a task has ended, its retries included."""
        while self.state(scene, task_id) not in ENDED or self._is_as_before_the_clear(scene, task_id):
            if (scene.dag_id, task_id) in self._tasks and self._is_forgotten(scene, task_id):
                self.clear(scene, task_id)
            yield

    def state(self, scene: Scene, task_id: str) -> str | None:
        """Return the state of a task as of the last look."""
        task = self._tasks.get((scene.dag_id, task_id))
        return task.state if task else None

    def clear(self, scene: Scene, task_id: str) -> None:
        """Clear a task, and see that the last look does not count any more."""
        before = self._tasks.pop((scene.dag_id, task_id), None)
        run_id = self._runs[scene.dag_id]
        further: dict[str, Any] = {}
        if before is not None and before.state in ENDED:
            self._ended[scene.dag_id, task_id] = before.raw["id"]
            # What has a store for the state of tasks also knows this argument.
            if scene.store not in (LEDGER_PATH, NOTHING):
                further = {"prevent_running_task": True}
        way = next((event.way for event in scene.events if event.name == task_id), "")
        try:
            if way:
                command = money_clears.clear(self.deployment, way, scene.dag_id, run_id, task_id)
                if command is not None:
                    self._commands[scene.dag_id, task_id] = command
                return
            self.api.clear(scene.dag_id, run_id, [task_id], **further)
        except RestApiError as error:
            # A busy SQLite may fail a Clear that was done: its repetition must not end the start that came of it.
            if not further or error.status != HTTPStatus.CONFLICT:
                raise

    def mark_failed(self, scene: Scene, task_id: str) -> None:
        """Mark a task failed, as a person does in the UI."""
        path = f"/dags/{scene.dag_id}/dagRuns/{self._runs[scene.dag_id]}/taskInstances/{task_id}"
        self.api.request("PATCH", path, json={"new_state": "failed"})
        self._tasks.pop((scene.dag_id, task_id), None)

    def created(self, scene: Scene, event: Event) -> list[str]:
        """Return the ids of the image tasks that the service created for an event, in order."""
        prompts = (prompt_of(scene.dag_id, event), changed_prompt_of(scene.dag_id, event))
        return [image_task_id for prompt, image_task_id in self._created if prompt in prompts]

    def log(self, scene: Scene, task_id: str) -> str:
        """Return the log of a task's last try."""
        return self.api.task_log(scene.dag_id, self._runs[scene.dag_id], self._tasks[scene.dag_id, task_id])

    def mark(self, scene: Scene, task_id: str) -> Path:
        """Where the kill of a task's process is noted."""
        return killing.mark_of(str(self.marks), scene.dag_id, task_id)

    def _is_as_before_the_clear(self, scene: Scene, task_id: str) -> bool:
        """Say whether a cleared task has not begun anew: Airflow gives each try an id of its own."""
        task = self._tasks[scene.dag_id, task_id]
        return task.raw["id"] == self._ended.get((scene.dag_id, task_id))

    def _is_forgotten(self, scene: Scene, task_id: str) -> bool:
        """Say whether a Clear met the end of its run: the scheduler then leaves the task as it is, never started."""
        command = self._commands.get((scene.dag_id, task_id))
        if command is not None and command.is_running:
            return False
        assert command is None or not command.return_code, command.log_tail()
        state = self.state(scene, task_id)
        if state is not None and not (state in ENDED and self._is_as_before_the_clear(scene, task_id)):
            return False
        run_id = self._runs[scene.dag_id]
        if self.api.run_state(scene.dag_id, run_id) not in FINISHED_RUN_STATES:
            return False
        # The last look may be long ago, and a Clear of what runs by now is another event.
        now = {task.task_id: task.state for task in self.api.task_instances(scene.dag_id, run_id)}
        return now[task_id] == state

    def _accepted(self, scene: Scene, event: Event) -> Play:
        while not self.created(scene, event):
            yield

    def _look(self) -> None:
        if not self.deployment.component("scheduler").is_running:
            # On SQLite, which locks no rows, a Clear at the wrong moment ends it; what supervises it starts it again.
            self.deployment.start_component("scheduler")
        for dag_id, run_id in self._runs.items():
            for task in self.api.task_instances(dag_id, run_id):
                self._tasks[dag_id, task.task_id] = task
        # After the tasks, so that what an ended task submitted is counted.
        self._created = [(entry["prompt"], entry["id"]) for entry in self.image_service.stats()["created"]]

    def _life(self, scene: Scene, event: Event, before: list[Life]) -> Life:
        task = self._tasks[scene.dag_id, event.name]
        counted = sum(len(life.created) for life in before)
        created = tuple(self.created(scene, event)[counted:])
        run_id = self._runs[scene.dag_id]
        if task.state == "success":
            handed_on = self.api.xcom(scene.dag_id, run_id, event.name)
            pushed = self.api.xcom(scene.dag_id, run_id, event.name, key="image_task")
            assert pushed["id"] == handed_on
            return Life(created, "success", handed_on)
        log = self.log(scene, event.name)
        marked = not before and event.ended_early
        error = "marked" if marked else next((name for name in ERRORS if name in log), log[-500:])
        return Life(created, str(task.state), None, error, log)
