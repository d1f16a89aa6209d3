"""What a service says of the connections to it, for every service."""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.exceptions import AuthenticationError
from airflow_provider_imagetasks.services import get_service, known_services, tiers_for
from airflow_provider_imagetasks.services.connection_contract import OLDEST_CALLBACK, Callback
from tests.flow_driver import drive
from tests.services.wire_examples import account

NOW = 1_790_000_000


def callback(body: bytes = b"{}") -> Callback:
    return Callback(headers={"x-name": "value"}, body=body, at=NOW)


@pytest.mark.parametrize(
    ("timestamp", "is_of"),
    [
        (str(NOW), True),
        (str(int(NOW - OLDEST_CALLBACK)), True),
        (str(int(NOW + OLDEST_CALLBACK)), True),
        (str(int(NOW - OLDEST_CALLBACK - 1)), False),
        (str(int(NOW + OLDEST_CALLBACK + 1)), False),
        *((text, False) for text in ("", "now", f"-{NOW}", f"{NOW}.5", f" {NOW}", "9" * 5000, "१७९०००००००")),
    ],
)
def test_a_signed_time_is_recent_or_it_is_not_believed(timestamp: str, is_of: bool) -> None:
    assert callback().is_of(timestamp) is is_of


@pytest.mark.parametrize("body", [b"", b"[1]", b"\xff", b"[" * 100_000, b"not JSON", b"5"])
def test_a_body_that_is_no_object_holds_nothing(body: bytes) -> None:
    assert callback(body).json() == {}
    assert callback(b'{"a": 1}').json() == {"a": 1}
    assert (callback().header("x-name"), callback().header("other")) == ("value", "")


ALWAYS_SIGN = ("fal", "replicate", "openai")


@pytest.mark.parametrize("name", ALWAYS_SIGN)
def test_where_a_service_signs_every_callback_none_is_believed_unsigned(name: str) -> None:
    assert type(drive(get_service(name).check_callback(callback(), account())).error) is AuthenticationError


@pytest.mark.parametrize("name", [name for name in known_services() if name not in ALWAYS_SIGN])
def test_without_a_key_to_check_with_no_callback_is_signed_and_with_one_none_is_believed_unsigned(name: str) -> None:
    service = get_service(name)

    assert drive(service.check_callback(callback(), account())).result is None
    refused = drive(service.check_callback(callback(), account(webhook_secret="hush"))).error
    assert type(refused) is AuthenticationError
    assert "hush" not in str(refused)


def test_a_tier_goes_by_the_name_of_its_service_and_may_be_named_at_another() -> None:
    kie, main = get_service("kie"), get_service("acedatacloud")

    assert list(tiers_for(kie)) == ["kie:default"]
    assert list(tiers_for(main)) == []
    assert list(tiers_for(main, " kie:default ", None, 5)) == ["kie:default"]
    assert "aigptimage:free" in tiers_for(kie, "aigptimage:gold")
    assert list(tiers_for(main, "20/10s", "nobody:free", "kie", ":", "")) == []


def test_only_its_own_variables_tell_a_server_of_the_account() -> None:
    mine = account(key="k", output_dir="/srv")
    told = {name: dict(get_service(name).server_environment(mine)) for name in known_services()}

    assert told.pop("gpt_image_mcp") == {"OPENAI_API_KEY": "k", "OPENAI_IMAGE_OUTPUT_DIR": "/srv"}
    assert told.pop("acedatacloud_mcp") == {"ACEDATACLOUD_API_TOKEN": "k"}
    assert set(map(len, told.values())) == {0}
