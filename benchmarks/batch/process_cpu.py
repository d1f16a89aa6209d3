"""CPU time of whole process trees, what has ended in them included."""

from __future__ import annotations

from collections.abc import Iterable

import psutil

from dev.airflow_deployment import AirflowDeployment


def airflow_cpu_seconds(deployment: AirflowDeployment) -> float:
    """Return the user and system seconds that all processes of an Airflow have used up to now.

    A process that ended counts with its parent, once that has waited for it; until then by itself.
    """
    pids = (pid for process in deployment.components.values() for pid in process.all_processes())
    return cpu_seconds(pids)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the user and system seconds of processes, those that ended included, and of their ended children."""
    total = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
