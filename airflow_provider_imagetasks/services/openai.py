"""OpenAI itself: single pictures as background responses that call the image generation tool, ``POST /responses``.

Follows OpenAI's guides "Background mode", "Image generation" and "Webhooks" and the reference of its Responses API.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_provider_imagetasks.exceptions import AuthenticationError, InvalidRequestError, ProtocolError
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.account_fields import ConnectionField
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.callback_signatures import fits, is_complete, key_in
from airflow_provider_imagetasks.services.cancels import stop
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.services.fields import mapping, text
from airflow_provider_imagetasks.services.openai_answers import (
    KEY_NAME,
    PROMPT_NOTE,
    TOOL,
    read_response,
    require_own_key,
)
from airflow_provider_imagetasks.services.openai_batches import BATCH_ID, OpenAIBatches
from airflow_provider_imagetasks.services.openai_errors import SERVICE, refusal_of
from airflow_provider_imagetasks.services.openai_prices import picture_price
from airflow_provider_imagetasks.services.provider_batches import ProviderBatches
from airflow_provider_imagetasks.services.rates import Rate, Tier, Window
from airflow_provider_imagetasks.services.refusals import object_in
from airflow_provider_imagetasks.services.wire import Flow, Request, Response
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest, ImageTask, prompt_excerpt

RESPONSES_PATH = "/responses"
RESPONSE_MODEL = "gpt-6-luna"
"""The model that calls the tool, where ``options["response"]`` names none: the cheapest that can."""
RESPONSE_OPTION = "response"
"""The option that holds the fields of the response itself; all others are the image generation tool's."""
_OWN_FIELDS = frozenset({"input", "tools", "tool_choice", "background", "store", "stream", "max_tool_calls"})
_MOST_METADATA = 14
"""Of the sixteen pairs that OpenAI keeps, two are this package's."""
_QUERIES = Rate((Window(10, 1),))
"""OpenAI publishes no ceiling for status questions."""
_ID = re.compile(r"resp_\w[\w-]*", re.ASCII)


class OpenAIService(Service):
    """OpenAI. A response makes one picture, and is kept for thirty days."""

    name = SERVICE
    title = "OpenAI"
    default_base_url = "https://api.openai.com/v1"
    console_url = "https://platform.openai.com/logs"
    default_model = "gpt-image-2"
    default_edit_model = "gpt-image-2"
    default_query_rate: ClassVar[Rate] = _QUERIES
    tiers: ClassVar[Mapping[str, Tier]] = {
        f"tier-{number}": Tier(submit=Rate((Window(pictures, 60),)), query=_QUERIES, active=None)
        for number, pictures in enumerate((5, 20, 50, 150, 250), start=1)
    }
    records_hold_pictures = True
    makes_edits = True
    takes_files = True
    can_cancel = True
    provider_batches: ClassVar[ProviderBatches | None] = OpenAIBatches()
    has_account_webhook = True
    results_live_for = 30 * 86_400.0
    connection_fields: ClassVar[Mapping[str, ConnectionField]] = {
        "webhook_secret": ConnectionField(
            label="Webhook secret",
            description="the key (whsec_...) by which it signs the calls of its webhook.",
            is_secret=True,
        ),
    }

    def complete(self, request: ImageRequest, account: Account) -> ImageRequest:
        """Return the request as it is sent; what the response itself may not be told is refused."""
        completed = super().complete(request, account)
        _body(completed, None)
        return completed

    def check_image_count(self, request: ImageRequest) -> None:
        """Refuse a request for several pictures: a response makes one."""
        super().check_image_count(request)
        count = self.image_count_of(request)
        if count > 1:
            raise InvalidRequestError(
                f"options asks for {count} pictures, but a response of OpenAI makes one. For each picture, use one row "
                "of an ImageBatchOperator, or one mapped task (.expand)"
            )

    def price_of(self, request: ImageRequest) -> float | None:
        """Return the published price of one picture in US dollars, without the tokens of the texts around it."""
        return picture_price(request)

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        """Ask for a picture.

        OpenAI documents no key by which it would know a repetition, and no list of responses. ``key`` goes out as
        ``metadata``, by which a person finds it on OpenAI's page of logs.
        """
        return (
            yield from exchange.submit(
                Request(method="POST", path=RESPONSES_PATH, body=_body(request, key)),
                lambda answer: self._accepted(answer, request, key),
                service=self.name,
                repeatable=False,
                how_to_look=self.how_to_look,
            )
        )

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        """Ask for one response, with the picture in it once it is there; or for a batch."""
        if BATCH_ID.fullmatch(image_task_id):
            return (yield from OpenAIBatches().read(image_task_id))
        if not _ID.fullmatch(image_task_id):
            yield from ()
            return self.not_found(image_task_id)
        request = Request(method="GET", path=f"{RESPONSES_PATH}/{image_task_id}")
        return (
            yield from exchange.read(request, lambda answer: read_response(answer, image_task_id), service=self.name)
        )

    def cancel(self, image_task_id: str) -> Flow[str]:
        """Ask OpenAI to stop a response, or a batch."""
        if BATCH_ID.fullmatch(image_task_id):
            return (yield from OpenAIBatches().cancel(image_task_id))
        path = f"{RESPONSES_PATH}/{image_task_id}/cancel"
        request = Request(method="POST", path=path) if _ID.fullmatch(image_task_id) else None
        yield from stop(
            request,
            image_task_id,
            over=("completed", "failed", "incomplete"),
            service=self.name,
            title=self.title,
            refusal=refusal_of,
        )
        return "OpenAI was told to stop it. What was done by then may be billed."

    def check_connection(self) -> Flow[str]:
        """Ask for a response that cannot exist: "not found" means that the key is good, and may read responses."""
        yield from self.get_task(f"resp_{uuid.uuid4().hex}")
        return (
            "OpenAI accepts the key. Whether it may use a model, and whether the account has a balance, shows only "
            "when a picture is submitted."
        )

    def check_callback(self, callback: Callback, account: Account) -> Flow[str | None]:
        """Return what a call of OpenAI's webhook is signed for: a response, or a batch.

        :raises AuthenticationError: also where the connection has no ``webhook_secret``, which OpenAI tells once.
        """
        yield from ()
        if account.webhook_secret is None:
            what = "OpenAI signs what its webhook calls: put its secret into the connection's webhook_secret"
            raise AuthenticationError(what, service=self.name)
        if not (is_complete(callback) and fits(callback, key_in(account.webhook_secret, service=self.name))):
            raise AuthenticationError("The signature of the callback is wrong or too old", service=self.name)
        own_id = text(mapping(callback.json().get("data")).get("id"))
        if not own_id:
            raise ProtocolError("The callback names no response", service=self.name)
        return own_id

    def _accepted(self, answer: Response, request: ImageRequest, key: str | None) -> ImageTask:
        said = object_in(answer, service=self.name)
        own_id = text(said.get("id")) or ""
        if answer.status >= 400 and not own_id:
            raise refusal_of(answer, said)
        require_own_key(said, key)
        return self.submitted(own_id if _ID.fullmatch(own_id) else "", request, answer.at, said)


def _body(request: ImageRequest, key: str | None) -> dict[str, Any]:
    """Return the body of a submission.

    :raises InvalidRequestError: the option for the response itself is not what it can be told.
    """
    options = dict(request.options)
    # The tool has no such field; a request for several pictures was refused.
    options.pop("n", None)
    asked = options.pop(RESPONSE_OPTION, None)
    response = dict(_checked(asked)) if asked is not None else {}
    tool: dict[str, Any] = {**options, "type": TOOL, "model": request.model}
    if isinstance(request.mask, ImageFile):
        tool["input_image_mask"] = {"image_url": _data_url(request.mask)}
    notes = {KEY_NAME: key, PROMPT_NOTE: prompt_excerpt(request.prompt)}
    return {
        "model": RESPONSE_MODEL,
        **response,
        "input": _input(request),
        "tools": [tool],
        "tool_choice": {"type": TOOL},
        # Each call of the tool is paid for.
        "max_tool_calls": 1,
        "background": True,
        "store": True,
        "metadata": {**(response.get("metadata") or {}), **{name: note for name, note in notes.items() if note}},
    }


def _checked(asked: Any) -> Mapping[str, Any]:
    """Return the fields for the response itself.

    :raises InvalidRequestError: they are no object, or hold what this package says itself.
    """
    if not isinstance(asked, Mapping):
        raise InvalidRequestError(
            f"options[{RESPONSE_OPTION!r}] must be a dict of fields of the response, such as "
            '{"model": "gpt-6-luna", "instructions": "..."}'
        )
    if own := sorted(_OWN_FIELDS & asked.keys()):
        raise InvalidRequestError(
            f"options[{RESPONSE_OPTION!r}] holds {', '.join(own)}, which are always set: remove them"
        )
    metadata = asked.get("metadata")
    if metadata is not None and not (isinstance(metadata, Mapping) and len(metadata) <= _MOST_METADATA):
        raise InvalidRequestError(
            f"options[{RESPONSE_OPTION!r}] holds metadata that must be a dict of at most {_MOST_METADATA} texts"
        )
    return asked


def _input(request: ImageRequest) -> Any:
    """Return what the model is told: the prompt, and the pictures that it is about."""
    if not request.is_edit:
        return request.prompt
    urls = (_data_url(image) if isinstance(image, ImageFile) else image for image in request.images)
    pictures = ({"type": "input_image", "image_url": url} for url in urls)
    return [{"role": "user", "content": [{"type": "input_text", "text": request.prompt}, *pictures]}]


def _data_url(file: ImageFile) -> str:
    return f"data:{file.media_type};base64,{base64.b64encode(file.content).decode()}"
