"""All dialects, in the order in which the service's own page lists them."""

from __future__ import annotations

from airflow_provider_imagetasks.local.dialects.acedatacloud_apis_dialect import FURTHER_APIS
from airflow_provider_imagetasks.local.dialects.acedatacloud_mcp_dialect import AceDataCloudMcpDialect
from airflow_provider_imagetasks.local.dialects.dialect import Dialect
from airflow_provider_imagetasks.local.dialects.fal_dialect import FalDialect
from airflow_provider_imagetasks.local.dialects.gpt_image_mcp_dialect import GptImageMcpServer
from airflow_provider_imagetasks.local.dialects.jobs_api_dialect import AiGptImageDialect
from airflow_provider_imagetasks.local.dialects.kie_dialect import KIE_FAMILIES, KieDialect
from airflow_provider_imagetasks.local.dialects.openai_batches import OpenAIBatchesDialect
from airflow_provider_imagetasks.local.dialects.openai_responses import OpenAIDialect
from airflow_provider_imagetasks.local.dialects.replicate_dialect import ReplicateDialect
from airflow_provider_imagetasks.local.dialects.tasks_api_dialect import TasksApiDialect, XHuoApiDialect

KNOWN_DIALECTS: tuple[type[Dialect | GptImageMcpServer], ...] = (
    *(TasksApiDialect, *FURTHER_APIS, XHuoApiDialect, AiGptImageDialect, KieDialect, *KIE_FAMILIES),
    *(FalDialect, ReplicateDialect, OpenAIDialect, OpenAIBatchesDialect),
    *(AceDataCloudMcpDialect, GptImageMcpServer),
)
DIALECT_NAMES = tuple(kind.name for kind in KNOWN_DIALECTS)
"""A service's name, as in a connection, and behind a slash one of its further APIs'."""

DIALECT_PATHS = {
    "local": TasksApiDialect.prefix.strip("/"),
    **{kind.name: kind.prefix.strip("/") for kind in KNOWN_DIALECTS if "/" not in kind.name},
}
"""Under which path each ``service`` of a connection is spoken to."""

USUAL_MODELS = {
    kind.name: kind.usual_model for kind in KNOWN_DIALECTS if issubclass(kind, Dialect) and kind.usual_model
}
"""Which model a connection names, where the service has none of its own."""

WRITERS_OF_FILES = frozenset({GptImageMcpServer.name})
"""Those whose pictures are files in the output folder."""
