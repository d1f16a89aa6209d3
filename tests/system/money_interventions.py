"""What somebody or something does to the Dag, to the wait and to the triggerers while tasks are under way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress

from dev.airflow_deployment import AirflowDeployment
from dev.child_process import ChildProcess
from dev.ports import choose_port
from tests.system import killing
from tests.system.money_cases import Event, wait_of
from tests.system.money_director import ENDED, Director, Play, Scene

FROZEN_FOR = 40.0
FROZEN_AT_MOST = 90.0
"""Seconds until which another triggerer that is slow may take the waits of a frozen one over."""
THAWED_ALONE_FOR = 5.0
"""Seconds in which a thawed task goes on before what supervises it does, and may end it."""
MISLEADING = ("cancelled", "canceled", "on_kill", "[error", "Traceback", "lost", "not found")
"""What must not stand in the log of a wait that nothing is wrong with."""


class Interventions:
    """Plays in which the tasks are only half of the story.

    :param director: what performs them.
    :param second_triggerer: another one beside the deployment's own; started when it is needed.
    """

    def __init__(self, director: Director, second_triggerer: ChildProcess) -> None:
        self.director = director
        self._second_triggerer = second_triggerer
        self.logs: dict[tuple[str, str, str], str] = {}
        """Of the sensors, by store, service and the event's name."""

    def change_dag(self, scene: Scene) -> Play:
        """Change a Dag when the first tries of its tasks are about to be killed, then let them be."""
        marks = [self.director.mark(scene, event.name) for event in scene.events]
        while not all(mark.exists() for mark in marks):
            yield
        self.director.change(scene)
        for mark in marks:
            killing.release(mark)

    def thaw(self, scene: Scene, event: Event) -> Play:
        """Let a frozen start go on when the next one has ended, and see then what became of the submission."""
        yield from self.director.ended(scene, event.name)
        task, supervisor = killing.frozen_processes(self.director.mark(scene, event.name))
        os.kill(task, signal.SIGCONT)
        thaw_at = time.monotonic() + THAWED_ALONE_FOR
        while killing.is_alive(task) and time.monotonic() < thaw_at:
            yield
        os.kill(supervisor, signal.SIGCONT)
        while killing.is_alive(task):
            yield
        yield
        yield from self.director.submission(scene, event)

    def thaw_all(self, scenes: Sequence[Scene]) -> None:
        """Leave nothing frozen, whatever went wrong."""
        marks = [self.director.mark(scene, event.name) for scene in scenes for event in scene.events]
        for process in (process for mark in marks if mark.exists() for process in killing.frozen_processes(mark)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    def wait(self, scene: Scene, event: Event) -> Play:
        """See a wait to its end, and after it what became of the submission."""
        director, sensor = self.director, wait_of(event)
        clears = event.clears
        while clears:
            while director.state(scene, sensor) not in {"deferred", *ENDED}:
                yield
            if clears == event.clears:
                director.mark_failed(scene, sensor)
            director.clear(scene, sensor)
            clears -= 1
            yield
        yield from director.ended(scene, sensor)
        if event.name == "status_broken":
            yield from self._mended(scene, sensor)
        key = scene.store, scene.service, event.name
        self.logs[key] = director.log(scene, sensor)
        assert director.state(scene, sensor) == "success", self.logs[key]
        struck = director.mark(scene, sensor).exists()
        assert struck == (event.name == "killed_on_resume"), f"{scene.dag_id} {sensor}: killed is {struck}"
        yield from director.submission(scene, event)

    def _mended(self, scene: Scene, sensor: str) -> Play:
        """Clear a sensor whose status route is broken until that is over."""
        director = self.director
        ended = director.state(scene, sensor)
        assert ended == "failed", f"{scene.dag_id} {sensor}: {ended}\n{director.log(scene, sensor)}"
        while director.state(scene, sensor) == "failed":
            log = director.log(scene, sensor)
            assert "It may have been billed." in log, log
            director.clear(scene, sensor)
            yield
            yield from director.ended(scene, sensor)

    def disturb_triggerers(self, scenes: Sequence[Scene]) -> Play:
        """Freeze one of two triggerers, the one that has the waits; later kill both, and start one again."""
        deployment = self.director.deployment
        while len(self._triggerers_of("triggerer_frozen", scenes)) < len(scenes):
            over = [scene.dag_id for scene in scenes if self.director.state(scene, "triggerer_frozen_wait") in ENDED]
            assert not over, f"the waits of {over} were over before all others had begun"
            yield
        (first,) = set(self._triggerers_of("triggerer_frozen", scenes))
        self._second_triggerer.start()
        while len(_alive_triggerers(deployment)) < 2:
            yield
        deployment.component("triggerer").send_signal(signal.SIGSTOP)
        frozen_at = time.monotonic()
        taken_over: set[int] = set()
        while time.monotonic() < frozen_at + (FROZEN_FOR if taken_over else FROZEN_AT_MOST):
            yield
            taken_over = set(self._triggerers_of("triggerer_frozen", scenes)) - {first}
        deployment.component("triggerer").send_signal(signal.SIGCONT)
        log = self._second_triggerer.log_tail()
        assert taken_over, f"the other triggerer did not take the waits over; the end of its log:\n{log}"
        while self._triggerers_of("triggerer_frozen", scenes):
            yield
        assert len(self._triggerers_of("triggerer_killed", scenes)) == len(scenes), "the wait was over too early"
        deployment.kill("triggerer")
        self._second_triggerer.kill()
        deployment.start_component("triggerer")

    def _triggerers_of(self, event_name: str, scenes: Sequence[Scene]) -> list[int]:
        """Return for each deferred sensor of an event which triggerer has it."""
        return [
            row["triggerer_id"]
            for scene in scenes
            for row in self.director.deployment.database.trigger_rows(scene.dag_id)
            if row["task_id"] == f"{event_name}_wait" and row["triggerer_id"] is not None
        ]


def make_second_triggerer(deployment: AirflowDeployment) -> ChildProcess:
    """Return another triggerer for a deployment, not started; whoever starts it stops it."""
    return ChildProcess(
        "second triggerer",
        [deployment.python, "-m", "airflow", "triggerer"],
        environment={**deployment.environment, "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(choose_port())},
        log_path=deployment.home / "component-logs" / "second-triggerer.log",
        folder=deployment.home,
    )


def _alive_triggerers(deployment: AirflowDeployment) -> list[int]:
    rows = deployment.database.query("SELECT id FROM job WHERE job_type = 'TriggererJob' AND state = 'running'")
    return [row["id"] for row in rows]
