"""Signatures by Standard Webhooks, as OpenAI's and Replicate's documents show them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace

import pytest

from airflow_provider_imagetasks.exceptions import AuthenticationError, ServiceUnavailableError
from airflow_provider_imagetasks.services.callback_signatures import (
    MOST_KEYS,
    RememberedKeys,
    fits,
    is_complete,
    key_in,
)
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.services.wire import Flow
from tests.flow_driver import NOW, DrivenFlow, drive

# The example of https://github.com/standard-webhooks/standard-webhooks.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CALLBACK = Callback(
    headers={
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    body=b'{"test": 2432232314}',
    at=1614265330.0,
)


def test_a_signature_fits_the_key_it_was_made_with_and_no_other() -> None:
    assert is_complete(CALLBACK)
    assert fits(CALLBACK, key_in(SECRET, service="any"))
    assert not fits(CALLBACK, b"another")
    assert not fits(replace(CALLBACK, body=CALLBACK.body + b" "), key_in(SECRET, service="any"))


def test_one_of_several_signatures_is_enough_as_while_a_key_is_changed() -> None:
    both = {**CALLBACK.headers, "webhook-signature": f"v1,old= {CALLBACK.headers['webhook-signature']}"}

    assert fits(replace(CALLBACK, headers=both), key_in(SECRET, service="any"))


@pytest.mark.parametrize("missing", [*CALLBACK.headers, "body"])
def test_without_all_its_parts_a_callback_is_not_looked_at(missing: str) -> None:
    headers = {name: value for name, value in CALLBACK.headers.items() if name != missing}

    assert not is_complete(replace(CALLBACK, headers=headers, body=b"" if missing == "body" else CALLBACK.body))


def test_a_secret_is_base64_with_or_without_its_prefix() -> None:
    assert key_in(SECRET, service="any") == key_in(SECRET.removeprefix("whsec_"), service="any")
    assert key_in("whsec_" + base64.b64encode(b"a key").decode(), service="any") == b"a key"
    for odd in ("", "whsec_", "no key!"):
        with pytest.raises(AuthenticationError, match="whsec_") as caught:
            key_in(odd, service="any")
        assert caught.value.service == "any"


class Publisher:
    """Publishes keys; ``asked`` counts how often."""

    def __init__(self, *keys: bytes) -> None:
        self.keys: Sequence[bytes] | None = keys
        self.asked, self.tried = 0, 0

    def ask(self) -> Flow[Sequence[bytes]]:
        yield from ()
        self.asked += 1
        if self.keys is None:
            raise ServiceUnavailableError("The keys cannot be had", service="any")
        return self.keys

    def fits(self, key: bytes) -> bool:
        self.tried += 1
        return key == b"good"

    def checked(self, known: RememberedKeys, at: float) -> DrivenFlow:
        return drive(known.one_fits("me", at, self.ask, self.fits))


def test_keys_that_cannot_be_had_are_asked_for_once_a_minute_however_many_callbacks_come() -> None:
    known, publisher = RememberedKeys(), Publisher()
    publisher.keys = None
    errors = [publisher.checked(known, NOW + second).error for second in range(50)]
    asked_meanwhile = publisher.asked
    publisher.keys = [b"good"]

    assert {type(error) for error in errors} == {ServiceUnavailableError}
    assert asked_meanwhile == 1
    assert publisher.checked(known, NOW + 61).result is True


def test_keys_that_are_known_go_on_while_new_ones_cannot_be_had() -> None:
    known, publisher = RememberedKeys(), Publisher(b"good")
    publisher.checked(known, NOW)
    publisher.keys = None

    assert publisher.checked(known, NOW + 3_600).result is True
    assert publisher.asked == 1


@pytest.mark.parametrize("count", [MOST_KEYS, 100_000])
def test_a_callback_has_few_keys_tried(count: int) -> None:
    publisher = Publisher(*[b"another"] * count)

    assert publisher.checked(RememberedKeys(), NOW).result is False
    assert publisher.tried == MOST_KEYS
