"""AI GPT Image, the service whose documents the jobs family follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from airflow_provider_imagetasks.services.jobs_api import JobsApiService
from airflow_provider_imagetasks.services.rates import Rate, Tier, Window


def _tier(per_second: int, per_minute: int, query_second: int, query_minute: int, active: int) -> Tier:
    return Tier(
        submit=Rate((Window(per_second, 1), Window(per_minute, 60))),
        query=Rate((Window(query_second, 1), Window(query_minute, 60))),
        active=active,
    )


TIERS = {
    "free": _tier(1, 10, 2, 60, 1),
    "basic": _tier(5, 180, 20, 1000, 5),
    "standard": _tier(10, 600, 50, 3000, 15),
    "pro": _tier(20, 1200, 100, 6000, 30),
    "ultra": _tier(50, 3000, 200, 12000, 80),
    "enterprise": _tier(100, 6000, 500, 30000, 300),
}
"""As its rate-limit page gives them."""


class AiGptImage(JobsApiService):
    """AI GPT Image at aigptimage.com. The same ``X-Request-ID`` again returns the first image task."""

    name = "aigptimage"
    title = "AI GPT Image"
    default_base_url = "https://aigptimage.com"
    default_model = "gpt-image-2-text-to-image"
    default_edit_model = "gpt-image-2-image-to-image"
    console_url = "https://aigptimage.com"
    tiers: ClassVar[Mapping[str, Tier]] = TIERS
    default_query_rate = TIERS["free"].query
    repeats_submit_by_key = True
