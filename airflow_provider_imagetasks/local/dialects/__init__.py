"""The dialects that the local service speaks: one module per family of services."""

from __future__ import annotations

from airflow_provider_imagetasks.local.dialects.acedatacloud_mcp_dialect import AceDataCloudMcpDialect
from airflow_provider_imagetasks.local.dialects.dialect import Dialect
from airflow_provider_imagetasks.local.dialects.gpt_image_mcp_dialect import GptImageMcpServer
from airflow_provider_imagetasks.local.dialects.jobs_api_dialect import AiGptImageDialect
from airflow_provider_imagetasks.local.dialects.kie_dialect import KieDialect
from airflow_provider_imagetasks.local.dialects.tasks_api_dialect import TASKS_API_VARIANTS, TasksApiDialect
from airflow_provider_imagetasks.local.service_state import ServiceState


def make_dialects(state: ServiceState) -> list[Dialect | GptImageMcpServer]:
    """Return every dialect, bound to one service's state."""
    return [
        *(TasksApiDialect(state, variant) for variant in TASKS_API_VARIANTS),
        AiGptImageDialect(state),
        KieDialect(state),
        AceDataCloudMcpDialect(state),
        GptImageMcpServer(state),
    ]
