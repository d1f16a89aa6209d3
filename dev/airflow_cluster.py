"""A cluster of Airflow on loopback: PostgreSQL, Redis, an S3 server, Celery workers and several triggerers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dev.airflow_components import HOSTNAME_CALLABLE, cluster_components
from dev.airflow_deployment import AirflowDeployment
from dev.child_process import ChildProcess
from dev.component_hostname import VARIABLE
from dev.postgresql_server import PostgresqlServer
from dev.redis_server import RedisServer
from dev.s3_server import S3Server

START_TIMEOUT = 240
S3_CONNECTION = "cluster_s3"
ERROR_LINE = re.compile(r"^[\w.]*(Error|Exception): |\[(error|critical) ")
OUTPUT_VARIABLE = "IMAGETASKS_EXAMPLE_OUTPUT"
"""Where the example Dags put their pictures."""


class AirflowCluster:
    """An ``AirflowDeployment`` of many components, with the servers that it needs.

    The components have addresses of their own, so that the database says who did what; they share the machine's
    files, as tests want, and nothing here relies on that but Airflow's task logs.

    :param dag_folders: read beside the scratch one.
    :param environment: added to that of every component.
    :param bucket: made on the S3 server.
    :param workers: how many Celery workers, each of which runs ``concurrency`` tasks at a time.
    :param triggerers: how many triggerers.
    """

    def __init__(
        self,
        *,
        dag_folders: Mapping[str, Path],
        environment: Mapping[str, str],
        bucket: str = "pictures",
        workers: int = 2,
        concurrency: int = 2,
        triggerers: int = 2,
    ) -> None:
        self.postgresql = PostgresqlServer()
        self.redis = RedisServer()
        self.s3 = S3Server(bucket)
        self.airflow = AirflowDeployment(
            database_url=self.postgresql.url(),
            dag_folders=dag_folders,
            environment={**self._settings(), OUTPUT_VARIABLE: self.output_path, **environment},
            parallelism=workers * concurrency * 2,
            components=cluster_components(workers=workers, concurrency=concurrency, triggerers=triggerers),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def output_path(self) -> str:
        """The bucket as a folder for pictures."""
        return f"s3://{S3_CONNECTION}@{self.s3.bucket}"

    @property
    def processes(self) -> dict[str, ChildProcess]:
        """Every process that was started, servers first."""
        servers = (self.postgresql.process, self.redis.process, self.s3.process)
        return {**{server.name: server for server in servers}, **self.airflow.components}

    @property
    def workers(self) -> list[str]:
        """The names of the Celery workers."""
        return [name for name in self.airflow.components if name.startswith("worker-")]

    @property
    def triggerers(self) -> list[str]:
        """The names of the triggerers."""
        return [name for name in self.airflow.components if name.startswith("triggerer-")]

    def start(self) -> None:
        """Start the servers, then Airflow, and wait until all of it is healthy."""
        try:
            self.postgresql.create()
            self.redis.start()
            self.s3.start()
            self.airflow.start(timeout=START_TIMEOUT)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything; no process and no file is left."""
        self.airflow.stop()
        for server in (self.s3, self.redis, self.postgresql):
            server.remove()

    def revive(self) -> dict[str, str]:
        """Start the components that have ended, as a supervisor of processes does, and return what each said last."""
        ended = {
            name: _last_words(component)
            for name, component in self.airflow.components.items()
            if not component.is_running
        }
        for name in ended:
            # What it forked may outlive it, and would hold its ports.
            self.airflow.kill(name)
            self.airflow.launch(name)
        return ended

    def address(self, name: str) -> str:
        """Return the address of a component, by which the database knows it."""
        return self.airflow.components[name].environment[VARIABLE]

    def running_tasks(self, worker: str) -> list[dict[str, Any]]:
        """Return the task instances that a worker runs at this moment; those of its killed predecessor do not count."""
        noted = self.airflow.database.query(
            "SELECT dag_id, task_id, map_index, pid FROM task_instance"
            " WHERE state = 'running' AND hostname = :address ORDER BY dag_id, task_id, map_index",
            {"address": self.address(worker)},
        )
        alive = set(self.airflow.components[worker].remaining_processes())
        return [task for task in noted if task["pid"] in alive]

    def held_triggers(self, triggerer: str) -> int:
        """Return how many waits a triggerer holds at this moment; those of its predecessor do not count."""
        (row,) = self.airflow.database.query(
            "SELECT count(*) AS held FROM trigger JOIN job ON job.id = trigger.triggerer_id"
            " WHERE job.hostname = :address AND job.start_date >= :started_at",
            {"address": self.address(triggerer), "started_at": self.airflow.started_at(triggerer)},
        )
        return int(row["held"])

    def _settings(self) -> dict[str, str]:
        return {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": HOSTNAME_CALLABLE,
            VARIABLE: "127.0.0.1",
            "AIRFLOW__CELERY__BROKER_URL": self.redis.url,
            "AIRFLOW__CELERY__RESULT_BACKEND": self.postgresql.url("db+postgresql+psycopg2"),
            # How soon the work of a killed worker is given to another: minutes by default, seconds for a test.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
            f"AIRFLOW_CONN_{S3_CONNECTION.upper()}": self.s3.connection(),
        }


def _last_words(component: ChildProcess) -> str:
    """Return the last line that tells of an error, else the last one."""
    lines = [line.strip() for line in component.log_tail(400).splitlines() if line.strip()] or ["nothing"]
    return next((line for line in reversed(lines) if ERROR_LINE.search(line)), lines[-1])
