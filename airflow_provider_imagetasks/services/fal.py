"""fal.ai's queue: ``POST /<model>``, then the status and the result of a request by its owner, app and id.

Follows fal's pages "Inference API", "Cancel a request", "Webhooks" and "Data Retention & Storage". The model is a path,
``owner/app`` or ``owner/app/endpoint``; a request is asked for without the endpoint, so an image task's id is
``owner.app.<request id>``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    InvalidRequestError,
    ProtocolError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.callback_signatures import RememberedKeys
from airflow_provider_imagetasks.services.cancels import stop
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.services.fal_answers import (
    SERVICE,
    Asked,
    read_result,
    read_status,
    refusal,
)
from airflow_provider_imagetasks.services.fields import mapping, number, sequence, text
from airflow_provider_imagetasks.services.hosted_models import name_within, require_pictures
from airflow_provider_imagetasks.services.jobs_api import fields_of
from airflow_provider_imagetasks.services.rates import Rate, Window
from airflow_provider_imagetasks.services.refusals import object_in
from airflow_provider_imagetasks.services.wire import Flow, Request, Response
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask

LIFECYCLE_HEADER = "x-fal-object-lifecycle-preference"
_OPTION_HEADERS = "x-fal-"
_SEGMENT = r"\w[\w.-]*"
_APP = rf"(?:(?:workflows|comfy)/)?\w[\w-]*/{_SEGMENT}"
_OWN_NAMES = re.compile(r"(?:workflows|comfy)/")
"""How models begin that an account has named itself."""
_MODEL = re.compile(rf"({_APP})(?:/{_SEGMENT})*", re.ASCII)
_REQUEST_PATH = re.compile(rf"/({_APP})/requests/", re.ASCII)
_REQUEST_ID = r"\w[\w-]*"
_ID = re.compile(rf"((?:(?:workflows|comfy)\.)?\w[\w-]*)\.({_SEGMENT})\.({_REQUEST_ID})", re.ASCII)
_REMOVED = ("ok", "removed", "cancelled", "canceled")
"""Words for a request that was stopped before a runner had it; "cancellation requested" is not one."""
_LIST_ENDPOINTS = ("edit", "edit-image", "image-edit", "multi")
"""Endpoints, the last part of a model, that take a list of pictures; most others take one."""
KEYS_HOST = "https://rest.alpha.fal.ai"
KEYS_PATH = "/.well-known/jwks.json"
_HEADERS = ("request-id", "user-id", "timestamp", "signature")


class Fal(Service):
    """fal.ai. Its queue refuses no request for being one too many; what waits in it costs nothing."""

    name = SERVICE
    title = "fal"
    default_base_url = "https://queue.fal.run"
    console_url = "https://fal.ai/dashboard"
    key_scheme = "Key"
    default_model = default_edit_model = ""
    default_query_rate: ClassVar[Rate] = Rate((Window(10, 1),))
    requests_per_read = 2
    makes_edits = True
    takes_callback_url = True
    can_cancel = True

    def __init__(self) -> None:
        self._callback_keys = RememberedKeys()

    def needs_prompt(self, model: str) -> bool:
        """Whether a model takes pictures only with a text: its name does not say, and fal says so before it works."""
        return False

    def complete(self, request: ImageRequest, account: Account) -> ImageRequest:
        """Return the request as it is sent; the model has to be named."""
        completed = super().complete(request, account)
        if not _MODEL.fullmatch(completed.model or ""):
            within = name_within(completed.model or "")
            meant = f" (perhaps {within})" if _MODEL.fullmatch(within) else ""
            given = f"model is {completed.model!r}" if completed.model else "model is missing"
            raise InvalidRequestError(
                f"{given}; fal's are paths such as fal-ai/flux/dev{meant}. Give model, or default_model in the "
                "connection"
            )
        if not _OWN_NAMES.match(completed.model or ""):
            require_pictures("model", completed.model)
        _fields(completed)
        _headers(completed)
        return completed

    def results_life(self, request: ImageRequest) -> float | None:
        """Return the seconds for which the pictures can be fetched, where the request says so by fal's header."""
        value = next((each for name, each in request.options.items() if name.lower() == LIFECYCLE_HEADER), None)
        try:
            wanted = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            return None
        return number(mapping(wanted).get("expiration_duration_seconds"))

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        """Ask for a picture. There is no key by which fal would recognise a repetition."""
        asked = Request(
            method="POST",
            path=f"/{request.model}",
            body=_fields(request),
            headers=_headers(request),
            parameters={"fal_webhook": request.callback_url} if request.callback_url else {},
        )
        return (
            yield from exchange.submit(
                asked,
                lambda answer: self._accepted(answer, request),
                service=self.name,
                repeatable=False,
                how_to_look=self.how_to_look,
            )
        )

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        """Ask for the status of a request and, once it is completed, for its result."""
        path, asked = _place_of(image_task_id)
        if not path:
            yield from ()
            return self.not_found(image_task_id)
        request = Request(method="GET", path=f"{path}/status")
        status: ImageTask | Mapping[str, Any] = yield from exchange.read(
            request, lambda answer: read_status(answer, asked), service=self.name
        )
        if isinstance(status, ImageTask):
            return status
        request = Request(method="GET", path=path)
        return (yield from exchange.read(request, lambda answer: read_result(answer, asked, status), service=self.name))

    def cancel(self, image_task_id: str) -> Flow[str]:
        """Ask fal to stop a request: one that waits is removed, the runner of one that is worked on is told."""
        path, _asked = _place_of(image_task_id)
        request = Request(method="PUT", path=f"{path}/cancel") if path else None
        word = yield from stop(
            request, image_task_id, over=("already_completed",), service=self.name, title=self.title, refusal=refusal
        )
        if word in _REMOVED:
            return "fal removed it from its queue. It is not billed."
        return "fal was told to stop it. What was worked on by then may be billed."

    def check_connection(self) -> Flow[str]:
        """Ask for a request that cannot exist: "not found" means that the key is not refused."""
        yield from self.get_task(f"fal-ai.flux.{uuid.uuid4()}")
        return (
            "fal does not refuse the key. Whether it may use a model, and whether the account has a balance, shows "
            "only when a picture is submitted."
        )

    def check_callback(self, callback: Callback, account: Account) -> Flow[str | None]:
        """Return the request that a callback is signed for. fal signs all of them.

        :raises ServiceUnavailableError: the keys to check it with cannot be had.
        """
        if not (yield from is_signed(callback, self._callback_keys, account.base_url, self.default_base_url)):
            raise AuthenticationError("The signature of the callback is wrong or too old", service=self.name)
        request_id = text(callback.json().get("request_id"))
        if not request_id:
            raise ProtocolError("The callback names no request", service=self.name)
        return request_id

    def _accepted(self, answer: Response, request: ImageRequest) -> ImageTask:
        said = object_in(answer, service=self.name)
        request_id = text(said.get("request_id")) or ""
        place = _REQUEST_PATH.search(text(said.get("status_url") or said.get("response_url")) or "")
        if answer.status >= 400 and not (request_id and place):
            raise refusal(answer, said)
        asked = place or _MODEL.fullmatch(request.model or "")
        is_known = asked and re.fullmatch(_REQUEST_ID, request_id, re.ASCII)
        image_task_id = f"{asked[1].replace('/', '.')}.{request_id}" if asked and is_known else ""
        return self.submitted(image_task_id, request, answer.at, said)


def _fields(request: ImageRequest) -> dict[str, Any]:
    """Return the input of a model.

    :raises InvalidRequestError: the pictures are given twice, or are more than the model takes.
    """
    own = {name: value for name, value in request.options.items() if not _is_header(name)}
    field = next((name for name in ("image_url", "image_urls") if name in own), None)
    if field is None:
        takes_list = len(request.images) > 1 or (request.model or "").rpartition("/")[2] in _LIST_ENDPOINTS
        field = "image_urls" if takes_list else "image_url"
    return fields_of(replace(request, options=own), field, takes_one=field == "image_url")


def _headers(request: ImageRequest) -> dict[str, str]:
    """Return the options that are fal's headers: ``X-Fal-Queue-Priority`` and its like."""
    headers = {}
    for name, value in request.options.items():
        if not _is_header(name) or value is None:
            continue
        said = value if isinstance(value, str) else json.dumps(value)
        if not (re.fullmatch(r"[\w-]+", name, re.ASCII) and said.isascii() and said.isprintable()):
            raise InvalidRequestError(f"options holds {name[:80]!r}, which cannot be sent as a header")
        headers[name] = said
    return headers


def _is_header(name: Any) -> bool:
    return str(name).lower().startswith(_OPTION_HEADERS)


def _place_of(image_task_id: str) -> tuple[str, Asked]:
    """Return where a request is asked for, and what it is; an empty place for an id that fal never gave."""
    found = _ID.fullmatch(image_task_id)
    model = f"{found[1].replace('.', '/')}/{found[2]}" if found else ""
    return f"/{model}/requests/{found[3]}" if found else "", Asked(id=image_task_id, model=model)


def is_signed(callback: Callback, keys: RememberedKeys, base_url: str, own_base_url: str) -> Flow[bool]:
    """Tell whether a callback was signed a moment ago by one of the published keys.

    What is signed is the id, the user, the time and the SHA-256 of the body, each on a line of its own.

    :param base_url: the account's; where it is not fal's own, the keys are asked for below it.
    :param own_base_url: fal's, which has the keys on another host.
    :raises ServiceUnavailableError: the keys cannot be had.
    """
    request_id, user_id, timestamp, said = (callback.header(f"x-fal-webhook-{name}") for name in _HEADERS)
    signature = _from_hex(said)
    if not callback.is_of(timestamp) or not request_id or not callback.body or not signature:
        yield from ()
        return False
    lines = (request_id, user_id, timestamp, hashlib.sha256(callback.body).hexdigest())
    fits = partial(_fits, signature=signature, message="\n".join(lines).encode("utf-8", "replace"))
    host = KEYS_HOST if base_url == own_base_url else None
    # Whoever publishes a key needs none to hand it out.
    request = Request(method="GET", path=KEYS_PATH, host=host, sends_key=False)
    return (
        yield from keys.one_fits(
            base_url, callback.at, lambda: exchange.read(request, _published, service=SERVICE), fits
        )
    )


def _published(answer: Response) -> Sequence[bytes]:
    if answer.status != 200:
        what = f"The keys of fal's callbacks cannot be had (HTTP {answer.status})"
        raise ServiceUnavailableError(what, service=SERVICE)
    found = (_from_jwk(mapping(key)) for key in sequence(mapping(answer.json()).get("keys")))
    return [key for key in found if key is not None]


def _from_hex(said: str) -> bytes | None:
    try:
        return bytes.fromhex(said) if said.isascii() else None
    except ValueError:
        return None


def _from_jwk(key: Mapping[str, Any]) -> bytes | None:
    """Return the 32 bytes of a public key; https://www.rfc-editor.org/rfc/rfc8037."""
    said = key.get("x")
    if not isinstance(said, str) or key.get("crv", "Ed25519") != "Ed25519":
        return None
    try:
        found = base64.urlsafe_b64decode(said + "=" * (-len(said) % 4))
    except ValueError:
        return None
    return found if len(found) == 32 else None


def _fits(key: bytes, *, signature: bytes, message: bytes) -> bool:
    # Airflow brings it along; only who is called back needs it.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True
