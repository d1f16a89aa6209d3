"""A local image service: a double that speaks the services' REST dialects and draws its own pictures.

It serves to try the provider without an API key and to test Dags without a network. No image model is asked:
what it answers has the shape of the real services, what it draws is a small landscape with the prompt on it.

Start it with ``python -m airflow_provider_imagetasks.local``, or inside a test process::

    with LocalImageService(latency=0.1) as service:
        requests.post(f"{service.url}/...", json=...)

Nothing in this package imports Airflow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.image_service import LocalImageService
    from airflow_provider_imagetasks.local.task_table import TaskSummary

__all__ = ["LocalImageService", "TaskSummary"]

_HOMES = {"LocalImageService": "image_service", "TaskSummary": "task_table"}


def __getattr__(name: str) -> Any:
    # Late, since pytest imports this package for its plugin in every run where it is installed.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
