"""The dialects that the local service speaks: one module per family of services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_imagetasks.local.dialects.dialect import Dialect
from airflow_provider_imagetasks.local.dialects.jobs_api import JOBS_API_VARIANTS, JobsApiDialect
from airflow_provider_imagetasks.local.dialects.tasks_api import TASKS_API_VARIANTS, TasksApiDialect

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.state import ServiceState

__all__ = ["DIALECT_NAMES", "Dialect", "make_dialects"]

DIALECT_NAMES = tuple(variant.name for variant in (*TASKS_API_VARIANTS, *JOBS_API_VARIANTS))
"""The names of all dialects; each is also the service's name in a connection."""


def make_dialects(state: ServiceState) -> list[Dialect]:
    """Return every dialect, bound to one service's state."""
    return [
        *(TasksApiDialect(state, variant) for variant in TASKS_API_VARIANTS),
        *(JobsApiDialect(state, variant) for variant in JOBS_API_VARIANTS),
    ]
