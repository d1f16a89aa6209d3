"""fal's page "Webhooks", "Signature Verification": ED25519 by published keys."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from airflow_provider_imagetasks.exceptions import AuthenticationError, ServiceUnavailableError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.services.fal import Fal
from tests.flow_driver import NOW, DrivenFlow, drive, response

FAL = Account(conn_id="fal", service="fal", base_url="https://queue.fal.run", key="k")
LOCAL = replace(FAL, base_url="http://127.0.0.1:8750/fal")
ONE, TWO = (Ed25519PrivateKey.from_private_bytes(letter * 32) for letter in (b"1", b"2"))
BODY = json.dumps({"request_id": "r-1", "status": "OK"}).encode()


def keys(*signers: Ed25519PrivateKey) -> Any:
    public = (base64.urlsafe_b64encode(one.public_key().public_bytes_raw()).decode().rstrip("=") for one in signers)
    return response({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": each} for each in public]})


def signed(body: bytes = BODY, *, at: float = NOW, by: Ed25519PrivateKey = ONE) -> Callback:
    lines = ("r-1", "user|1", f"{int(at)}", hashlib.sha256(body).hexdigest())
    headers = {"request-id": lines[0], "user-id": lines[1], "timestamp": lines[2]}
    headers["signature"] = by.sign("\n".join(lines).encode()).hex()
    return Callback(headers={f"x-fal-webhook-{name}": value for name, value in headers.items()}, body=body, at=at)


def checked(service: Fal, callback: Callback, *answers: Any, account: Account = FAL) -> DrivenFlow:
    return drive(service.check_callback(callback, account), *answers, now=callback.at)


def test_the_keys_are_asked_for_without_the_account_s_own_once_a_day() -> None:
    service = Fal()
    first = checked(service, signed(), keys(TWO, ONE))
    again = checked(service, signed(at=NOW + 3_600))
    next_day = checked(service, signed(at=NOW + 90_000), keys(ONE))

    assert [driven.result for driven in (first, again, next_day)] == ["r-1"] * 3
    (request,) = first.requests
    assert (request.host, request.path) == ("https://rest.alpha.fal.ai", "/.well-known/jwks.json")
    assert request.sends_key is False
    assert again.requests == []
    assert len(next_day.requests) == 1


def test_behind_another_base_url_the_keys_are_asked_for_there() -> None:
    assert checked(Fal(), signed(), keys(ONE), account=LOCAL).requests[0].host is None


def test_changed_keys_are_noticed_and_whoever_forges_makes_nobody_ask_more_than_once_a_minute() -> None:
    service = Fal()
    checked(service, signed(), keys(ONE))
    soon = checked(service, signed(at=NOW + 30, by=TWO))
    later = checked(service, signed(at=NOW + 61, by=TWO), keys(TWO))
    forged = checked(service, signed(at=NOW + 90, by=Ed25519PrivateKey.generate()))

    assert type(soon.error) is type(forged.error) is AuthenticationError
    assert later.result == "r-1"


@pytest.mark.parametrize("published", [{}, {"keys": None}, {"keys": [5, {"x": "%%"}, {"x": "aGk"}, {"crv": "P-256"}]}])
def test_odd_keys_sign_nothing(published: Any) -> None:
    assert type(checked(Fal(), signed(), response(published)).error) is AuthenticationError


def test_keys_that_cannot_be_had_leave_the_callback_to_polling() -> None:
    assert type(checked(Fal(), signed(), response({}, status=503)).error) is ServiceUnavailableError
