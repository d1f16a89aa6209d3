"""AI GPT Image, the service whose documents the jobs family follows."""

from __future__ import annotations

from airflow_provider_imagetasks.services.jobs_api import JobsApiService
from airflow_provider_imagetasks.services.rates import TIERS


class AiGptImage(JobsApiService):
    """AI GPT Image at aigptimage.com. The same ``X-Request-ID`` again returns the first image task."""

    name = "aigptimage"
    title = "AI GPT Image"
    default_base_url = "https://aigptimage.com"
    default_model = "gpt-image-2-text-to-image"
    default_edit_model = "gpt-image-2-image-to-image"
    console_url = "https://aigptimage.com"
    default_query_rate = TIERS["aigptimage:free"].query
    repeats_submit_by_key = True
