"""Replicate's predictions: of official models, of versions of any model, and of deployments.

Follows Replicate's pages "HTTP API", "Prediction lifecycle", "Data retention", "Rate limits" and "Verify webhooks".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from airflow_provider_imagetasks.exceptions import AuthenticationError, InvalidRequestError, ProtocolError
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.account_fields import ConnectionField
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.bounds import bounded
from airflow_provider_imagetasks.services.callback_signatures import RememberedKeys, fits, is_complete, key_in
from airflow_provider_imagetasks.services.cancels import stop
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.services.fields import mapping, sequence, text, whole_number
from airflow_provider_imagetasks.services.hosted_models import name_within, require_pictures
from airflow_provider_imagetasks.services.jobs_api import fields_of
from airflow_provider_imagetasks.services.rates import Rate, Tier, Window
from airflow_provider_imagetasks.services.refusals import object_in
from airflow_provider_imagetasks.services.replicate_answers import (
    SERVICE,
    read_prediction,
    refusal,
    task_of,
)
from airflow_provider_imagetasks.services.wire import Flow, Request, Response
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, plain_name, told

PREDICTIONS_PATH = "/v1/predictions"
PAGE_SIZE = 100
MOST_LISTED = 10_000
FILTERS = ("created_after", "created_before", "source", "limit")
_NAME = r"\w[\w.-]*"
_OFFICIAL = re.compile(rf"(deployments/)?({_NAME}/{_NAME})", re.ASCII)
_VERSION = re.compile(rf"(?:{_NAME}/{_NAME}:\w+|[0-9a-f]{{64}})", re.ASCII)
_ID = re.compile(r"\w[\w.-]*", re.ASCII)
_IMAGE_LISTS = ("image_input", "input_images", "images", "image_urls")
_SINGLE_IMAGES = ("image", "input_image", "image_url")
_IMAGES_FIELDS = {
    "black-forest-labs/flux-kontext": "input_image",
    "black-forest-labs/flux-2": "input_images",
    "openai/gpt-image": "input_images",
    **dict.fromkeys(("google/nano-banana", "bytedance/seedream"), "image_input"),
}
"""Where models take pictures, by how their names begin; others take one as ``image``."""
_REQUESTS_A_MINUTE = Rate((Window(3_000, 60),))


class Replicate(Service):
    """Replicate. What a prediction made is deleted an hour after."""

    name = SERVICE
    title = "Replicate"
    default_base_url = "https://api.replicate.com"
    console_url = "https://replicate.com/predictions"
    default_model = default_edit_model = ""
    default_query_rate: ClassVar[Rate] = Rate((Window(50, 1),))
    tiers: ClassVar[Mapping[str, Tier]] = {
        "default": Tier(submit=Rate((Window(600, 60),)), query=_REQUESTS_A_MINUTE, active=None),
        "low-credit": Tier(submit=Rate((Window(1, 1), Window(6, 60))), query=_REQUESTS_A_MINUTE, active=None),
    }
    batch_size = PAGE_SIZE
    batch_leaves_out = True
    makes_edits = True
    takes_callback_url = True
    can_cancel = True
    results_live_for = 3_600.0
    connection_fields: ClassVar[Mapping[str, ConnectionField]] = {
        "webhook_secret": ConnectionField(
            label="Webhook secret",
            description="the key (whsec_...) by which it signs callbacks. Empty: it is asked for it.",
            is_secret=True,
        ),
    }

    def __init__(self) -> None:
        self._callback_keys = RememberedKeys()

    def needs_prompt(self, model: str) -> bool:
        """Whether a model takes pictures only with a text: its name does not say, and it fails at once without."""
        return False

    def complete(self, request: ImageRequest, account: Account) -> ImageRequest:
        """Return the request as it is sent; the model has to be named."""
        completed = super().complete(request, account)
        model = completed.model or ""
        if not (_VERSION.fullmatch(model) or _OFFICIAL.fullmatch(model)):
            within = name_within(model)
            meant = f" (perhaps {within})" if _OFFICIAL.fullmatch(within) or _VERSION.fullmatch(within) else ""
            given = f"model is {completed.model!r}" if completed.model else "model is missing"
            raise InvalidRequestError(
                f"{given}; Replicate's are owner/name for an official model, owner/name:version for any other, and "
                f"deployments/owner/name{meant}. Give model, or default_model in the connection"
            )
        if not (_VERSION.fullmatch(model) or model.startswith("deployments/")):
            require_pictures("model", model)
        self._submission(completed)
        return completed

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        """Ask for a picture. There is no key by which Replicate would recognise a repetition."""
        return (
            yield from exchange.submit(
                self._submission(request),
                lambda answer: self._accepted(answer, request),
                service=self.name,
                repeatable=False,
                how_to_look=self.how_to_look,
            )
        )

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        """Ask for one prediction."""
        if not _ID.fullmatch(image_task_id):
            yield from ()
            return self.not_found(image_task_id)
        request = Request(method="GET", path=f"{PREDICTIONS_PATH}/{image_task_id}")
        return (
            yield from exchange.read(request, lambda answer: read_prediction(answer, image_task_id), service=self.name)
        )

    def read_batch(self, image_task_ids: Sequence[str]) -> Flow[dict[str, ImageTask]]:
        """Ask for the latest hundred predictions of the account, and return which of these are among them.

        That is one request in place of as many as there are ids; older ones are left out.
        """
        if len(image_task_ids) == 1:
            return {image_task_ids[0]: (yield from self.read_one(image_task_ids[0]))}
        page = yield from self._page({})
        wanted = frozenset(image_task_ids)
        found = _listed(record for record in page["results"] if text(record.get("id")) in wanted)
        # What a list tells in part only, its record tells: also whether what was stopped had made something.
        return {task.id: task for task in found if not task.state.is_final or "output" in task.raw}

    def list_tasks(self, **filters: Any) -> Flow[list[ImageTask]]:
        """Ask for the account's predictions, the newest first.

        :param filters: ``created_after`` and ``created_before`` (ISO-8601), ``source`` (``web``), ``limit``.
        """
        unknown = sorted(set(filters) - set(FILTERS))
        if unknown:
            raise InvalidRequestError(f"Replicate has no filter {', '.join(unknown)}; it has {', '.join(FILTERS)}")
        most = min(whole_number(filters.pop("limit", None)) or PAGE_SIZE, MOST_LISTED)
        parameters = {name: str(value) for name, value in filters.items() if value is not None}
        found: dict[str, ImageTask] = {}
        while len(found) < most:
            page = yield from exchange.patiently(lambda asked=parameters: self._page(asked))  # type: ignore[misc]
            known = len(found)
            found |= {task.id: task for task in _listed(page["results"])}
            cursor = parse_qs(urlsplit(text(page.get("next"), most=4_000) or "").query).get("cursor")
            if not cursor or len(found) == known:
                break
            parameters = {**parameters, "cursor": cursor[0]}
        return list(found.values())[:most]

    def cancel(self, image_task_id: str) -> Flow[str]:
        """Ask Replicate to stop a prediction."""
        path = f"{PREDICTIONS_PATH}/{image_task_id}/cancel"
        request = Request(method="POST", path=path) if _ID.fullmatch(image_task_id) else None
        word = yield from stop(
            request, image_task_id, over=("succeeded", "failed"), service=self.name, title=self.title, refusal=refusal
        )
        if word == "aborted":
            return "Replicate stopped it before it ran. It is not billed."
        return "Replicate was told to stop it. The time that it ran is billed."

    def check_connection(self) -> Flow[str]:
        """Ask whose key it is."""
        request = Request(method="GET", path="/v1/account")
        found = yield from exchange.patiently(lambda: exchange.read(request, self._record, service=self.name))
        whose = text(found.get("username")) or "an account without a name"
        return f"Replicate accepts the key of {whose}. Missing credit shows only when a picture is submitted."

    def check_callback(self, callback: Callback, account: Account) -> Flow[str | None]:
        """Return the prediction that a callback is signed for. Replicate signs all of them.

        Where the connection does not have the key, Replicate is asked for it once a day.

        :raises ImageTaskError: the key cannot be had.
        """
        is_good = is_complete(callback)
        if is_good and account.webhook_secret is not None:
            is_good = fits(callback, key_in(account.webhook_secret, service=self.name))
        elif is_good:
            is_good = yield from self._callback_keys.one_fits(
                account, callback.at, self._ask_for_key, partial(fits, callback)
            )
        if not is_good:
            raise AuthenticationError("The signature of the callback is wrong or too old", service=self.name)
        prediction_id = text(callback.json().get("id"))
        if not prediction_id:
            raise ProtocolError("The callback names no prediction", service=self.name)
        return prediction_id

    def _ask_for_key(self) -> Flow[Sequence[bytes]]:
        request = Request(method="GET", path="/v1/webhooks/default/secret")
        found = yield from exchange.read(request, self._record, service=self.name)
        return [key_in(text(found.get("key")) or "", service=self.name)]

    def _record(self, answer: Response) -> Mapping[str, Any]:
        said = object_in(answer, service=self.name)
        if answer.status >= 400:
            raise refusal(answer, said)
        return said

    def _page(self, parameters: Mapping[str, str]) -> Flow[Mapping[str, Any]]:
        request = Request(method="GET", path=PREDICTIONS_PATH, parameters=parameters)
        page = yield from exchange.read(request, self._record, service=self.name)
        if not isinstance(page.get("results"), list):
            raise ProtocolError("The list of predictions has no 'results'", service=self.name, billed="unknown")
        return {**page, "results": [mapping(record) for record in sequence(page["results"])]}

    def _submission(self, request: ImageRequest) -> Request:
        model = request.model or ""
        own = {name: value for name, value in request.options.items() if plain_name(name) != "cancelafter"}
        after = next((value for name, value in request.options.items() if name not in own), None)
        field = next((name for name in (*_IMAGE_LISTS, *_SINGLE_IMAGES) if name in own), None)
        usual = (
            field for start, field in _IMAGES_FIELDS.items() if model.removeprefix("deployments/").startswith(start)
        )
        field = field or next(usual, _SINGLE_IMAGES[0])
        takes_one = field in _SINGLE_IMAGES
        body: dict[str, Any] = {"input": fields_of(replace(request, options=own), field, takes_one=takes_one)}
        if request.callback_url:
            body |= {"webhook": request.callback_url, "webhook_events_filter": ["completed"]}
        path = PREDICTIONS_PATH
        if _VERSION.fullmatch(model):
            body["version"] = model
        elif found := _OFFICIAL.fullmatch(model):
            path = f"/v1/{'deployments' if found[1] else 'models'}/{found[2]}/predictions"
        if after is not None and not re.fullmatch(r"[\w.]{1,20}", str(after), re.ASCII):
            raise InvalidRequestError(f"Cancel-After is {told(after)[:80]}; write it like 90s or 5m")
        return Request(method="POST", path=path, body=body, headers={"Cancel-After": str(after)} if after else {})

    def _accepted(self, answer: Response, request: ImageRequest) -> ImageTask:
        said = object_in(answer, service=self.name)
        own_id = text(said.get("id")) or ""
        if answer.status >= 400 and not own_id:
            raise refusal(answer, said)
        return self.submitted(own_id if _ID.fullmatch(own_id) else "", request, answer.at, said)


def _listed(records: Iterable[Mapping[str, Any]]) -> Iterator[ImageTask]:
    """Yield the image tasks of a list; one that cannot be read is not there, and the others are."""
    for record in records:
        own_id = text(record.get("id"))
        if own_id and text(record.get("status")):
            yield bounded(task_of(record, own_id))
