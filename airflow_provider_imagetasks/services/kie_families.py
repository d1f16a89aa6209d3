"""What all of kie.ai's APIs have in common, and its families beside the market: 4o Image, Flux Kontext, Midjourney.

Follows kie.ai's "Get Task Details", "4o Image API", "Flux Kontext API" and "Midjourney API" pages. A family has routes
and names of its own for one thing: a record's state is ``successFlag``, and what was asked for ``paramJson``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services.fields import (
    LONGEST_PROMPT,
    moment,
    text,
    whole_number,
)
from airflow_provider_imagetasks.services.jobs_api import RESULT_FIELDS, JobsApiService, fields_of, object_of
from airflow_provider_imagetasks.services.model_outputs import addresses_named
from airflow_provider_imagetasks.services.rates import Rate, Tier, Window
from airflow_provider_imagetasks.services.refusals import CONTENT_POLICY_CODES, STATUSES
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageRequest, ImageTask, TaskState

LIMITS = Tier(submit=Rate((Window(20, 10),)), query=Rate((Window(8, 1),)), active=100)
"""As the start page gives them, status requests a little below its ten a second."""


class KieApi(JobsApiService):
    """kie.ai. A record is not there for a moment after its creation: code 422 on a status query means that."""

    name = "kie"
    title = "kie.ai"
    default_base_url = "https://api.kie.ai"
    console_url = "https://kie.ai/logs"
    tiers: ClassVar[Mapping[str, Tier]] = {"default": LIMITS}
    default_query_rate = LIMITS.query
    takes_callback_url = True
    # Of its pages, which disagree, the one that says the least.
    results_live_for = 24 * 3600.0
    not_found_codes = frozenset({404, 422})
    error_codes: ClassVar[Mapping[int, type[ImageTaskError]]] = {
        **STATUSES,
        433: QuotaExceededError,
        455: ServiceUnavailableError,
        **dict.fromkeys((451, 505), InvalidRequestError),
        # 408 is the service's word that nothing came of it in ten minutes, which may have been charged.
        **dict.fromkeys((408, 501, 531, 550), ImageTaskFailedError),
    }
    refusing_codes = frozenset({455, 501, 531, 550})


class Family(KieApi):
    """A family with routes of its own, whose requests have their fields without ``input`` around them."""

    model_field: ClassVar[str | None] = None
    """The field that names the model."""
    images_field: ClassVar[str]
    """Where a request has the pictures to edit: a list, or a single one where ``most_edit_images`` is 1."""
    result_field: ClassVar[str] = "response"
    """Where a record has what was made."""

    def _body(self, request: ImageRequest) -> dict[str, Any]:
        model = {self.model_field: request.model} if self.model_field and request.model else {}
        return {**model, **fields_of(request, self.images_field, takes_one=self.most_edit_images == 1)}

    def _task_in(self, record: Mapping[str, Any], image_task_id: str) -> ImageTask:
        """Return the image task of a record: 0 is running, 1 done, 2 and 3 failed; another flag means running."""
        flag, word = whole_number(record.get("successFlag")), text(record.get("status"))
        if flag is None:
            raise ProtocolError("The record has no successFlag", service=self.name, image_task_id=image_task_id)
        state = {1: TaskState.SUCCEEDED, 2: TaskState.FAILED, 3: TaskState.FAILED}.get(flag, TaskState.RUNNING)
        images: tuple[GeneratedImage, ...] = ()
        error: ImageTaskError | None = None
        if state is TaskState.FAILED:
            error = self._failure(record, image_task_id)
        elif state is TaskState.SUCCEEDED:
            urls = addresses_named(RESULT_FIELDS, object_of(record.get(self.result_field)), are_fields=True)
            images = tuple(GeneratedImage(index=index, url=url) for index, url in enumerate(urls))
            if not images:
                what, state = "The image task finished without a picture", TaskState.FAILED
                error = ImageTaskFailedError(what, service=self.name, image_task_id=image_task_id, code="no_images")
        asked, times = object_of(record.get("paramJson")), (record.get("createTime"), record.get("completeTime"))
        created_at, finished_at = map(moment, times)
        return ImageTask(
            id=text(record.get("taskId")) or image_task_id,
            service=self.name,
            state=state,
            raw_state=word or str(flag),
            model=text(asked.get(self.model_field)) if self.model_field else None,
            prompt=text(asked.get("prompt"), most=LONGEST_PROMPT),
            images=images,
            image_count_requested=self.image_count(asked),
            created_at=created_at,
            finished_at=finished_at if state.is_final else None,
            duration=finished_at - created_at if state.is_final and created_at and finished_at else None,
            error=error,
            raw=record,
        )

    def _failure(self, record: Mapping[str, Any], image_task_id: str) -> ImageTaskError:
        reason, code = text(record.get("errorMessage")) or "no reason given", text(record.get("errorCode"))
        facts: dict[str, Any] = {"service": self.name, "image_task_id": image_task_id, "code": code}
        if code and code.lower() in CONTENT_POLICY_CODES:
            return ContentPolicyError(f"The service refused it by its content policy: {reason}", **facts)
        return ImageTaskFailedError(f"The service reports that the image task failed: {reason}", **facts)


class FourOImage(Family):
    """4o Image: one model, which is not named; ``nVariants`` pictures (1, 2 or 4) from a prompt, pictures or both."""

    create_path, record_path = "/api/v1/gpt4o-image/generate", "/api/v1/gpt4o-image/record-info"
    default_model = default_edit_model = ""
    images_field, most_edit_images = "filesUrl", 5

    def needs_prompt(self, model: str) -> bool:
        """Whether a model wants a text beside pictures."""
        return False


class FluxKontext(Family):
    """Flux Kontext: ``flux-kontext-pro`` or ``flux-kontext-max``."""

    create_path, record_path = "/api/v1/flux/kontext/generate", "/api/v1/flux/kontext/record-info"
    model_field, default_model, default_edit_model = "model", "flux-kontext-pro", "flux-kontext-pro"
    images_field, most_edit_images = "inputImage", 1


class Midjourney(Family):
    """Midjourney: four pictures for each request. The model is its version, as in ``mj/7``."""

    create_path, record_path = "/api/v1/mj/generate", "/api/v1/mj/record-info"
    model_field, default_model, default_edit_model = "version", "", ""
    images_field, images_per_request = "fileUrls", 4
    result_field = "resultInfoJson"

    def _body(self, request: ImageRequest) -> dict[str, Any]:
        return {"taskType": "mj_img2img" if request.is_edit else "mj_txt2img", **super()._body(request)}
