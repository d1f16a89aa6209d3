"""AceDataCloud, the service whose documents the Tasks API family follows."""

from __future__ import annotations

from airflow_provider_imagetasks.services.tasks_api import TasksApiService


class AceDataCloud(TasksApiService):
    """AceDataCloud: OpenAI images and the Tasks API at api.acedata.cloud."""

    name = "acedatacloud"
    title = "AceDataCloud"
    default_base_url = "https://api.acedata.cloud"
    console_url = "https://platform.acedata.cloud"
