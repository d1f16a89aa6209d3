"""The dialects that the local service speaks: one module per family of services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_imagetasks.local.dialects.acedatacloud_mcp import VARIANT as ACEDATACLOUD_MCP
from airflow_provider_imagetasks.local.dialects.acedatacloud_mcp import AceDataCloudMcpDialect
from airflow_provider_imagetasks.local.dialects.aigptimage import AiGptImageDialect
from airflow_provider_imagetasks.local.dialects.dialect import Dialect
from airflow_provider_imagetasks.local.dialects.gpt_image_mcp import GptImageMcpServer
from airflow_provider_imagetasks.local.dialects.kie import KieDialect
from airflow_provider_imagetasks.local.dialects.tasks_api import TASKS_API_VARIANTS, TasksApiDialect

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.state import ServiceState

__all__ = ["DIALECT_NAMES", "Dialect", "make_dialects"]

_JOBS_API_DIALECTS = (AiGptImageDialect, KieDialect)

DIALECT_NAMES = (
    *(variant.name for variant in TASKS_API_VARIANTS),
    *(kind.service for kind in _JOBS_API_DIALECTS),
    ACEDATACLOUD_MCP.name,
    GptImageMcpServer.name,
)
"""The names of all dialects; each is also the service's name in a connection."""


def make_dialects(state: ServiceState) -> list[Dialect | GptImageMcpServer]:
    """Return every dialect, bound to one service's state."""
    return [
        *(TasksApiDialect(state, variant) for variant in TASKS_API_VARIANTS),
        *(kind(state) for kind in _JOBS_API_DIALECTS),
        AceDataCloudMcpDialect(state),
        GptImageMcpServer(state),
    ]
