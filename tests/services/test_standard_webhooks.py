"""Signatures by Standard Webhooks, as OpenAI's and Replicate's documents show them."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from airflow_provider_imagetasks.exceptions import AuthenticationError
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.services.standard_webhooks import fits, is_complete, key_in

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
