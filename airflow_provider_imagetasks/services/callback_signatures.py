"""Signatures of callbacks: by https://www.standardwebhooks.com, and the keys that services publish for theirs.

The former are HMAC-SHA256 over message id, time and body.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Hashable, Sequence

from airflow_provider_imagetasks.exceptions import AuthenticationError, ImageTaskError
from airflow_provider_imagetasks.services.connection_contract import Callback, is_same
from airflow_provider_imagetasks.services.wire import Flow

KEPT_SECONDS = 86_400.0
"""For which keys are good without being asked for again."""
ASKED_AGAIN_SECONDS = 60.0
"""After which they are asked for again because of a signature that none of them made, as they may have been changed, or
because they could not be had."""
MOST_KEYS = 32
"""Keys of an account: who sends a callback has them tried one after the other."""


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
        raise AuthenticationError("The webhook secret must be whsec_ followed by base64", service=service)
    return key


class RememberedKeys:
    """The keys of each account, asked for as seldom as can be."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[float, Sequence[bytes]]] = {}
        self._failed: dict[Hashable, tuple[float, ImageTaskError]] = {}

    def one_fits(
        self, whose: Hashable, at: float, ask: Callable[[], Flow[Sequence[bytes]]], fits: Callable[[bytes], bool]
    ) -> Flow[bool]:
        """Tell whether one of the keys fits a signature.

        :param whose: by what they are remembered.
        :param at: Unix seconds now.
        :param ask: makes the flow that asks the service for them.
        :raises ImageTaskError: they cannot be had, or could not a moment ago.
        """
        asked_at, keys = self._known.get(whose, (0.0, ()))
        if at - asked_at < KEPT_SECONDS and any(map(fits, keys)):
            yield from ()
            return True
        if at - asked_at < ASKED_AGAIN_SECONDS:
            return False
        failed_at, failure = self._failed.get(whose, (0.0, None))
        if failure is not None and at - failed_at < ASKED_AGAIN_SECONDS:
            raise failure.with_traceback(None)
        try:
            keys = (yield from ask())[:MOST_KEYS]
        except ImageTaskError as error:
            self._failed[whose] = at, error
            raise
        self._known[whose] = at, keys
        return any(map(fits, keys))
