"""Signatures of callbacks by https://www.standardwebhooks.com: HMAC-SHA256 over message id, time and body."""

from __future__ import annotations

import base64
import hmac

from airflow_provider_imagetasks.exceptions import AuthenticationError
from airflow_provider_imagetasks.services.connection_contract import Callback, is_same


def is_complete(callback: Callback) -> bool:
    """Whether a callback came a moment ago and has all that a signature needs."""
    told = callback.header("webhook-id") and callback.header("webhook-signature") and callback.body
    return bool(told) and callback.is_of(callback.header("webhook-timestamp"))


def fits(callback: Callback, key: bytes) -> bool:
    """Whether one of the signatures of a callback was made with a key."""
    message_id, timestamp = callback.header("webhook-id"), callback.header("webhook-timestamp")
    content = f"{message_id}.{timestamp}.".encode("utf-8", "replace") + callback.body
    wanted = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return any(is_same(wanted, each.removeprefix("v1,")) for each in callback.header("webhook-signature").split())


def key_in(secret: str, *, service: str) -> bytes:
    """Return the key that a secret holds, ``whsec_`` and base64.

    :param service: its name, for the message.
    :raises AuthenticationError: it holds none.
    """
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise AuthenticationError("The webhook secret is no key like whsec_ and base64", service=service)
    return key
