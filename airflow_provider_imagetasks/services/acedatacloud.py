"""AceDataCloud, the service whose documents the Tasks API family follows, with all its image APIs behind one token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from airflow_provider_imagetasks.services import acedatacloud_apis
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.several_apis import SeveralApis
from airflow_provider_imagetasks.services.tasks_api import TasksApiService
from airflow_provider_imagetasks.tasks import ImageRequest

CREDIT = 0.095215
"""US dollars."""
PRICES = {
    "gpt-image-1": 0.019,
    "gpt-image-1.5": 0.052,
    "nano-banana": 0.14 * CREDIT,
    "nano-banana-2-lite": 0.14 * CREDIT,
    "nano-banana-2": 0.28 * CREDIT,
    "nano-banana-pro": 0.35 * CREDIT,
}
"""By model, from the published list and guides, which give those of other models in several ways, or not at all."""


class OpenAiImages(TasksApiService):
    """AceDataCloud's OpenAI images API at api.acedata.cloud."""

    name = "acedatacloud"
    title = "AceDataCloud"
    default_base_url = "https://api.acedata.cloud"
    console_url = "https://platform.acedata.cloud"

    def price_of(self, request: ImageRequest) -> float | None:
        """Return the published price of one picture in US dollars."""
        return PRICES.get(request.model or "")


class AceDataCloud(SeveralApis, OpenAiImages):
    """AceDataCloud: OpenAI images, and by a model like ``flux/flux-2-pro`` its other image APIs."""

    further_apis: ClassVar[Mapping[str, type[Service]]] = {
        "flux": acedatacloud_apis.Flux,
        "nano-banana": acedatacloud_apis.NanoBanana,
        "seedream": acedatacloud_apis.Seedream,
        "qwen-image": acedatacloud_apis.QwenImage,
        "midjourney": acedatacloud_apis.Midjourney,
    }
