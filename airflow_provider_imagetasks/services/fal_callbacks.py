"""Signatures of fal's callbacks: ED25519, by keys that fal publishes. Follows its page "Webhooks"."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from airflow_provider_imagetasks.exceptions import ServiceUnavailableError
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.callback_keys import RememberedKeys
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.services.fal_answers import SERVICE
from airflow_provider_imagetasks.services.fields import mapping, sequence
from airflow_provider_imagetasks.services.wire import Flow, Request, Response

KEYS_HOST = "https://rest.alpha.fal.ai"
KEYS_PATH = "/.well-known/jwks.json"
_HEADERS = ("request-id", "user-id", "timestamp", "signature")


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
