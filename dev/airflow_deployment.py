"""A real Airflow in a folder of its own: every component a child process, started and stopped as one."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from dev.airflow_components import STANDALONE, Component
from dev.airflow_settings import (
    AirflowLogin,
    AirflowPorts,
    airflow_settings,
    database_file,
    inherited_environment,
    sqlite_url,
    write_password_file,
)
from dev.child_process import ChildProcess, stop_together
from dev.metadata_database import MetadataDatabase, copy_database
from dev.ports import choose_port, choose_ports
from dev.rest_api import AirflowRestApi, wait_until

SCRATCH_BUNDLE = "scratch"
USUAL_API_PORT = 8080


class AirflowStartError(Exception):
    """A component of Airflow ended, or was not ready in time; the message holds the ends of the logs."""


class DagImportError(Exception):
    """A Dag file cannot be imported; the message holds the traceback."""


class AirflowDeployment:
    """A whole Airflow (api-server, scheduler with LocalExecutor, triggerer, dag-processor) on loopback.

    ``python`` is the interpreter of the environment to run, so one rig serves several Airflow versions.
    ``dag_folders`` are read beside ``dags_folder``, a scratch one that ``write_dag`` fills. ``environment`` is
    added to every component's (connections as ``AIRFLOW_CONN_...``, settings as ``AIRFLOW__...``).
    ``database_template`` is where a freshly migrated database is kept, and taken from the next time.
    ``database_url`` is an empty database on a server, for tests in which much happens at once: SQLite lets one process
    write at a time, and at times stands still for a minute. A file in the folder by default.
    ``components`` are the processes that it consists of; those of one machine by default.
    ``callback_secret`` has services call this Airflow back.
    """

    def __init__(
        self,
        *,
        python: str = sys.executable,
        dag_folders: Mapping[str, Path] | None = None,
        environment: Mapping[str, str] | None = None,
        parallelism: int = 4,
        prefer_usual_port: bool = False,
        database_template: Path | None = None,
        database_url: str | None = None,
        components: Sequence[Component] = STANDALONE,
        callback_secret: str | None = None,
    ) -> None:
        self.python = python
        self.home = Path(tempfile.mkdtemp(prefix="airflow-home-")).resolve()
        self.dags_folder = self.home / "dags"
        self.dags_folder.mkdir()
        self.login = AirflowLogin()
        self._database_template = None if database_url else database_template
        database_url = database_url or sqlite_url(self.home)
        api_port = choose_port(USUAL_API_PORT if prefer_usual_port else None)
        self.url = f"http://127.0.0.1:{api_port}"
        settings = airflow_settings(
            self.home,
            AirflowPorts(api_port, *choose_ports(2)),
            self.login,
            database_url,
            {SCRATCH_BUNDLE: self.dags_folder, **(dag_folders or {})},
            parallelism,
        )
        if callback_secret is not None:
            settings["AIRFLOW__IMAGETASKS__CALLBACK_BASE_URL"] = self.url
            settings["AIRFLOW__IMAGETASKS__CALLBACK_SECRET"] = callback_secret
        self.environment = {**inherited_environment(), **settings, **(environment or {})}
        self.api = AirflowRestApi(self.url, self.login.user, self.login.password)
        self.database = MetadataDatabase(database_url)
        self._layout = {component.name: component for component in components}
        self._components = {
            each.name: self._child(each.name, *each.arguments, environment=each.environment) for each in components
        }
        self._started_at: dict[str, datetime] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *, timeout: float = 240) -> None:
        """Create the database, start every component and wait until all are healthy: half a minute, or on a busy
        machine several.
        """
        atexit.register(self.stop)
        deadline = time.monotonic() + timeout
        try:
            write_password_file(self.home, self.login)
            self._create_database(timeout)
            for name in self._components:
                self.launch(name)
            self.wait_until_healthy(timeout=max(deadline - time.monotonic(), 1))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every component and remove the folder; no process is left, however the components behave."""
        # Short, because nothing is worth finishing: a triggerer stopped just after its start may never end by itself.
        stop_together(self._components.values(), grace=3)
        self.api.close()
        shutil.rmtree(self.home, ignore_errors=True)
        atexit.unregister(self.stop)

    def start_component(self, name: str, *, timeout: float = 60) -> None:
        """Start a component that was killed or stopped, and wait until it works."""
        self.launch(name)
        self.wait_until_healthy(name, timeout=timeout)

    def kill(self, name: str) -> None:
        """End a component and all its processes without notice, as a crash of its machine would."""
        self._components[name].kill()

    def stop_component(self, name: str, *, grace: float = 15) -> None:
        """Ask a component to end, as a deployment of a new version would."""
        self._components[name].stop(grace)

    def component(self, name: str) -> ChildProcess:
        """Return the child process of a component."""
        return self._components[name]

    @property
    def components(self) -> Mapping[str, ChildProcess]:
        """The child process of each component."""
        return self._components

    def started_at(self, name: str) -> datetime:
        """Return when a component was last started."""
        return self._started_at[name]

    def write_dag(self, dag_id: str, source: str, *, timeout: float = 60) -> None:
        """Write a Dag file into the scratch folder and wait until Airflow knows this version of the Dag."""
        self.wait_for_dag(dag_id, parsed_after=self.put_dag(dag_id, source), timeout=timeout)

    def put_dag(self, dag_id: str, source: str) -> datetime:
        """Write a Dag file into the scratch folder, and return when: Airflow knows it once it was parsed after that."""
        path = self.dags_folder / f"{dag_id}.py"
        written_at = datetime.now(UTC)
        # In one step, so that no half-written file is parsed.
        draft = path.with_suffix(".draft")
        draft.write_text(source)
        draft.replace(path)
        return written_at

    def wait_for_dag(self, dag_id: str, *, parsed_after: datetime | None = None, timeout: float = 60) -> None:
        """Wait until Airflow knows a Dag; when the file of its name cannot be imported, raise at once."""

        def is_known() -> bool:
            for failed in self.api.import_errors():
                is_recent = parsed_after is None or _moment(failed["timestamp"]) >= parsed_after
                if Path(failed["filename"]).stem == dag_id and is_recent:
                    raise DagImportError(f"{failed['filename']} cannot be imported:\n{failed['stack_trace']}")
            dag = self.api.dag(dag_id)
            if dag is None or dag["is_stale"] or not dag["last_parsed_time"]:
                return False
            return parsed_after is None or _moment(dag["last_parsed_time"]) >= parsed_after

        wait_until(is_known, timeout=timeout, what=f"the Dag {dag_id} known to Airflow")

    def wait_until_healthy(self, *names: str, timeout: float = 60) -> None:
        """Wait until the named components, or all of them, have reported since their start."""
        wanted = names or tuple(self._components)
        deadline = time.monotonic() + timeout
        while not self._are_healthy(wanted):
            ended = [name for name in wanted if not self._components[name].is_running]
            if ended:
                raise AirflowStartError(f"ended at start: {', '.join(ended)}\n{self.component_logs(*ended)}")
            if time.monotonic() >= deadline:
                raise AirflowStartError(f"Airflow not healthy within {timeout:g} s\n{self.component_logs(*wanted)}")
            time.sleep(0.25)

    def component_logs(self, *names: str, lines: int = 40) -> str:
        """Return the ends of the components' own logs."""
        return "\n".join(
            f"--- {name} ---\n{self._components[name].log_tail(lines)}" for name in names or self._components
        )

    def _child(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> ChildProcess:
        return ChildProcess(
            name,
            [self.python, "-m", "airflow", *arguments],
            environment={**self.environment, **(environment or {})},
            log_path=self.home / "component-logs" / f"{name}.log",
            folder=self.home,
        )

    def launch(self, name: str) -> None:
        """Start a component without waiting until it works."""
        self._started_at[name] = datetime.now(UTC)
        self._components[name].start()

    def _create_database(self, timeout: float) -> None:
        if self._database_template is not None and self._database_template.exists():
            copy_database(self._database_template, database_file(self.home))
            return
        migration = self._child("migration", "db", "migrate")
        migration.start()
        if migration.wait(timeout) != 0:
            raise AirflowStartError(f"airflow db migrate failed\n{migration.log_tail()}")
        if self._database_template is not None:
            copy_database(database_file(self.home), self._database_template)

    def _are_healthy(self, names: tuple[str, ...]) -> bool:
        try:
            health = self.api.health()
        except (requests.RequestException, ValueError):
            return False
        for name in names:
            health_name = self._layout[name].health_name
            if health_name is None:
                continue
            report = health[health_name]
            heartbeat = report.get(f"latest_{health_name}_heartbeat")
            # A killed predecessor counts as healthy until its heartbeat is old.
            if report["status"] != "healthy" or _moment(heartbeat) < self._started_at[name]:
                return False
        return True


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
