"""Callbacks signed by https://www.standardwebhooks.com, as several services sign theirs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from typing import Any

from airflow_provider_imagetasks.local.options import ServiceOptions


def webhook_key(options: ServiceOptions) -> str:
    """Return the key of callbacks, ``whsec_`` and base64: the secret that is set, or one made of it."""
    secret = options.webhook_secret or "nobody's secret"
    if secret.startswith("whsec_"):
        return secret
    return f"whsec_{base64.b64encode(hashlib.sha256(secret.encode()).digest()).decode()}"


def signing_headers(body: dict[str, Any], options: ServiceOptions) -> dict[str, str]:
    """Return the headers that sign the body of a callback."""
    message_id, timestamp = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    # As the sender of callbacks writes it.
    content = f"{message_id}.{timestamp}.".encode() + json.dumps(body).encode()
    key = base64.b64decode(webhook_key(options).removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {"Webhook-Id": message_id, "Webhook-Timestamp": timestamp, "Webhook-Signature": f"v1,{signature}"}


def signed_event(kind: str, about: str, *, at: float, options: ServiceOptions) -> tuple[dict[str, Any], dict[str, str]]:
    """Return OpenAI's event, and the headers that sign it.

    :param kind: what happened, ``response.completed`` or the like.
    :param about: the id of the response or batch.
    :param at: Unix seconds.
    """
    body = {
        "id": f"evt_{uuid.uuid4().hex}",
        "object": "event",
        "created_at": int(at),
        "type": kind,
        "data": {"id": about},
    }
    return body, signing_headers(body, options)
