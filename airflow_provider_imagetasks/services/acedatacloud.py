"""AceDataCloud, the service whose documents the Tasks API family follows, with all its image APIs behind one token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.fields import address, options_named, sequence
from airflow_provider_imagetasks.services.several_apis import SeveralApis
from airflow_provider_imagetasks.services.tasks_api import TasksApiService
from airflow_provider_imagetasks.services.wire import Call, Request
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageRequest

LONGEST_SEQUENCE = 15
"""Pictures of a sequence of Seedream's, at most, where ``max_images`` sets no other bound."""
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


class FurtherApi(TasksApiService):
    """One of these APIs. It takes pictures by their URLs only."""

    takes_files = False
    has_action: ClassVar[bool] = False
    """Whether a request says by ``action`` whether it is to ``generate`` or to ``edit``."""

    def _submission(self, request: ImageRequest, trace_id: str | None) -> Call:
        action = {"action": "edit" if request.is_edit else "generate"} if self.has_action else {}
        body = {**action, **self._body(request, trace_id)}
        if request.is_edit:
            images = list(request.images)
            body[self.images_field] = images[0] if self.most_edit_images == 1 else images
        return Request(method="POST", path=self.edits_path if request.is_edit else self.generations_path, body=body)


class Flux(FurtherApi):
    """Flux; only the models ``flux-kontext-...`` edit."""

    generations_path = edits_path = "/flux/images"
    tasks_path = "/flux/tasks"
    default_model, default_edit_model = "flux-dev", "flux-kontext-pro"
    images_field, most_edit_images = "image_url", 1
    has_action = True


class NanoBanana(FurtherApi):
    """Google's Nano Banana, with the resolutions, proportions and references that the OpenAI images API leaves out."""

    generations_path = edits_path = "/nano-banana/images"
    tasks_path = "/nano-banana/tasks"
    default_model = default_edit_model = "nano-banana"
    images_field = "image_urls"
    has_action = True


class Seedream(FurtherApi):
    """ByteDance's Seedream. Told to make a sequence, the model decides how many pictures that are."""

    generations_path = edits_path = "/seedream/images"
    tasks_path = "/seedream/tasks"
    default_model = default_edit_model = "doubao-seedream-5-0-260128"
    images_field, most_edit_images = "image", 10

    def image_count_of(self, request: ImageRequest) -> int:
        """Return for how many pictures a request may be billed; those that it is given count towards a sequence."""
        count = super().image_count_of(request)
        modes = options_named(("sequential_image_generation",), request.options)
        if any(options_named(("max_images",), request.options)) or not any(_is_auto(mode) for _, mode in modes):
            return count
        return count * max(1, LONGEST_SEQUENCE - len(request.images))


class QwenImage(FurtherApi):
    """Alibaba's Qwen Image. Its records say what they cost."""

    generations_path = edits_path = "/qwen-image/images"
    tasks_path = "/qwen-image/tasks"
    default_model = default_edit_model = "qwen-image-3.0"
    images_field, most_edit_images = "image_urls", 3


class Midjourney(FurtherApi):
    """Midjourney: one picture of four, and with ``split_images`` each of the four as well; never the thumbnail."""

    generations_path, edits_path, tasks_path = "/midjourney/imagine", "/midjourney/edits", "/midjourney/tasks"
    model_field, default_model, default_edit_model = "version", "", ""
    images_field, most_edit_images = "image_url", 1

    def image_count(self, asked: Mapping[str, Any]) -> int:
        """Return how many pictures a request asks for: the whole, and its parts where they are asked for."""
        return super().image_count(asked) * (5 if str(asked.get("split_images")).lower() in ("true", "1") else 1)

    def _pictures(self, response: Mapping[str, Any]) -> tuple[GeneratedImage, ...]:
        whole = address(response.get("raw_image_url")) or address(response.get("image_url"))
        known = enumerate(filter(None, [whole, *map(address, sequence(response.get("sub_image_urls")))]))
        return tuple(GeneratedImage(index=index, url=url) for index, url in known) or super()._pictures(response)


def _is_auto(mode: Any) -> bool:
    return str(mode).strip().lower() == "auto"


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
        "flux": Flux,
        "nano-banana": NanoBanana,
        "seedream": Seedream,
        "qwen-image": QwenImage,
        "midjourney": Midjourney,
    }
