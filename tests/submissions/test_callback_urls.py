"""The URL by which a service wakes a task: off by default, signed, and masked by Airflow's logs."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.submissions.callback_urls import (
    CallbackPlace,
    callback_secret,
    callback_url_of,
    read_token,
    sign,
    webhook_url_of,
)
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot

SECRET = "a secret of sufficient length"
PLACE = CallbackPlace(conn_id="kie", dag_id="kites", run_id="a run/é", task_id="group.submit", map_index=7)
SLOT = SubmissionSlot(dag_id="kites", run_id="a run/é", task_id="group.submit", map_index=7, max_tries=2, try_number=1)
ACCOUNT = Account(conn_id="kie", service="kie", base_url="https://api.kie.ai", key="a key")


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__CALLBACK_BASE_URL", "https://airflow.example.com/team/")
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__CALLBACK_SECRET", SECRET)


def test_a_token_says_which_submission_it_is_about_and_is_the_same_on_every_try() -> None:
    assert read_token(sign(PLACE, SECRET), SECRET) == PLACE
    assert sign(PLACE, SECRET) == sign(replace(PLACE), SECRET)


def test_a_token_says_which_iteration_of_a_loop_and_is_that_of_earlier_versions_outside_of_loops() -> None:
    regions = [f"01980000-0000-7000-8000-000000000000/{index}" for index in range(2)]
    places = [replace(PLACE, region=region) for region in regions]

    assert [read_token(sign(place, SECRET), SECRET) for place in places] == places
    assert b"region" not in base64.urlsafe_b64decode(sign(PLACE, SECRET).partition(".")[0] + "==")


def test_airflow_s_logs_mask_a_token() -> None:
    from airflow._shared.logging.structlog import JWT_PATTERN

    assert JWT_PATTERN.sub("***", f"POST /imagetasks/callback/{sign(PLACE, SECRET)} HTTP/1.1") == (
        "POST /imagetasks/callback/*** HTTP/1.1"
    )


@pytest.mark.parametrize(
    "token",
    [
        "",
        "eyJ",
        sign(PLACE, "another secret of some length"),
        sign(PLACE, SECRET)[:-1],
        "A" + sign(PLACE, SECRET),
        sign(replace(PLACE, map_index=8), SECRET).partition(".")[0] + "." + sign(PLACE, SECRET).partition(".")[2],
        sign(PLACE, SECRET) + "é",
        sign(PLACE, SECRET) + "x" * 5000,
    ],
)
def test_a_token_that_is_not_ours_is_not_read(token: str) -> None:
    assert read_token(token, SECRET) is None


@pytest.mark.usefixtures("set_up")
def test_the_url_lies_under_the_base_url() -> None:
    url = callback_url_of(SLOT, ACCOUNT, get_service("kie"))

    assert url == f"https://airflow.example.com/team/imagetasks/callback/{sign(PLACE, SECRET)}"


@pytest.mark.parametrize("missing", ["BASE_URL", "SECRET"])
@pytest.mark.usefixtures("set_up")
def test_callbacks_are_off_unless_both_options_are_set(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.delenv(f"AIRFLOW__IMAGETASKS__CALLBACK_{missing}")

    assert callback_url_of(SLOT, ACCOUNT, get_service("kie")) is None
    assert callback_secret() is None


@pytest.mark.parametrize(("option", "value"), [("BASE_URL", "airflow.example.com"), ("SECRET", "short")])
@pytest.mark.usefixtures("set_up")
def test_an_option_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, option: str, value: str) -> None:
    monkeypatch.setenv(f"AIRFLOW__IMAGETASKS__CALLBACK_{option}", value)

    with pytest.raises(InvalidRequestError, match=f"callback_{option.lower()}"):
        callback_url_of(SLOT, ACCOUNT, get_service("kie"))


@pytest.mark.usefixtures("set_up")
def test_a_service_that_calls_one_url_for_all_is_told_one_that_names_the_connection() -> None:
    url = webhook_url_of(replace(ACCOUNT, conn_id="mine"), get_service("openai")) or ""
    base, _, token = url.rpartition("/")
    place = read_token(token, SECRET)

    assert base == "https://airflow.example.com/team/imagetasks/callback"
    assert place is not None
    assert (place.conn_id, place.is_of_account, PLACE.is_of_account) == ("mine", True, False)
    assert webhook_url_of(ACCOUNT, get_service("kie")) is None
    assert callback_url_of(SLOT, ACCOUNT, get_service("openai")) is None


def test_without_callbacks_there_is_no_webhook_either() -> None:
    assert webhook_url_of(ACCOUNT, get_service("openai")) is None
