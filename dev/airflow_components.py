"""The processes that a deployment of Airflow consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dev.component_hostname import VARIABLE, component_hostname
from dev.ports import choose_ports


@dataclass(frozen=True)
class Component:
    """One process of Airflow.

    :param name: what the rig calls it.
    :param arguments: of the ``airflow`` command.
    :param health_name: what the health endpoint calls it; None where that does not know it (the api-server answers it).
    :param environment: settings of this process alone.
    """

    name: str
    arguments: tuple[str, ...]
    health_name: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


STANDALONE = (
    Component("api-server", ("api-server",)),
    Component("scheduler", ("scheduler",), "scheduler"),
    Component("triggerer", ("triggerer",), "triggerer"),
    Component("dag-processor", ("dag-processor",), "dag_processor"),
)
"""One machine on Airflow's own executor."""

HOSTNAME_CALLABLE = f"{component_hostname.__module__}.{component_hostname.__qualname__}"


def cluster_components(*, workers: int, concurrency: int, triggerers: int) -> Sequence[Component]:
    """Return Celery workers and triggerers, each with an address and ports of its own, beside the rest.

    :param workers: how many Celery workers; the first is ``worker-1``.
    :param concurrency: how many tasks each of them runs at a time.
    :param triggerers: how many triggerers; the first is ``triggerer-1``.
    """
    ports = iter(choose_ports(workers + triggerers))
    found = [
        Component("api-server", ("api-server",), environment=_on("127.0.0.2")),
        Component("scheduler", ("scheduler",), "scheduler", _on("127.0.0.3")),
        Component("dag-processor", ("dag-processor",), "dag_processor", _on("127.0.0.4")),
    ]
    for number in range(1, triggerers + 1):
        own = {"AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(next(ports)), **_on(f"127.0.0.{20 + number}")}
        # The health endpoint knows the triggerer that reported last, whichever that is.
        found.append(Component(f"triggerer-{number}", ("triggerer",), "triggerer", own))
    for number in range(1, workers + 1):
        own = {"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(next(ports)), **_on(f"127.0.0.{10 + number}")}
        command = ("celery", "worker", "--celery-hostname", f"worker-{number}", "--concurrency", str(concurrency))
        found.append(Component(f"worker-{number}", command, environment=own))
    return found


def _on(address: str) -> dict[str, str]:
    return {VARIABLE: address}
