"""kie.ai: the jobs family with callbacks, more codes, and errors inside HTTP 200 (kie.ai's "Get Task Details")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.fields import number
from airflow_provider_imagetasks.services.jobs_api import JobsApiService
from airflow_provider_imagetasks.services.rates import TIERS
from airflow_provider_imagetasks.services.refusals import STATUSES
from airflow_provider_imagetasks.services.wire import Flow, Request, Response
from airflow_provider_imagetasks.tasks import ImageRequest

CREDIT_PATH = "/api/v1/chat/credit"
PRICES = {"1K": 0.03, "2K": 0.05, "4K": 0.08}
"""By the resolution of a GPT Image 2 picture, in US dollars."""


class Kie(JobsApiService):
    """kie.ai. A record is not there for a moment after its creation: code 422 on a status query means that."""

    name = "kie"
    title = "kie.ai"
    default_base_url = "https://api.kie.ai"
    default_model = "gpt-image-2-text-to-image"
    default_edit_model = "gpt-image-2-image-to-image"
    console_url = "https://kie.ai/logs"
    default_query_rate = TIERS["kie:default"].query
    takes_callback_url = True
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

    def price_of(self, request: ImageRequest) -> float | None:
        """Return the published price of one picture in US dollars."""
        is_known = (request.model or "").startswith("gpt-image-2-")
        return PRICES.get(str(request.options.get("resolution", "1K"))) if is_known else None

    def check_connection(self) -> Flow[str]:
        """Ask for the account's credits."""
        request = Request(method="GET", path=CREDIT_PATH)
        balance = yield from exchange.patiently(lambda: exchange.read(request, self._credits, service=self.name))
        return f"{self.title} accepts the key. The account has {balance:g} credits."

    def _credits(self, response: Response) -> float:
        envelope, code = self._envelope(response)
        if code != 200:
            raise self._refusal(response, envelope, code)
        balance = number(envelope.get("data"))
        if balance is None:
            raise ProtocolError("The answer to the credit query has no number in 'data'", service=self.name)
        return balance
