from __future__ import annotations

from typing import Any

import pytest
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

from airflow_provider_imagetasks.hooks import connection_form
from airflow_provider_imagetasks.provider_info import get_provider_info
from airflow_provider_imagetasks.services import known_services
from airflow_provider_imagetasks.services.account import read_account
from airflow_provider_imagetasks.services.account_fields import ConnectionField
from airflow_provider_imagetasks.services.tasks_api import TasksApiService
from tests.installed_services import installed


@pytest.fixture(scope="module")
def form() -> dict[str, Any]:
    """What the Airflow UI is told of our connection type, by this version of Airflow itself."""
    found = [entry for entry in HookMetaService.hook_meta_data() if entry.connection_type == "imagetasks"]
    assert len(found) == 1
    return dict(found[0].model_dump())


def test_airflow_shows_every_extra_field_with_label_and_help_and_only_the_service_has_to_be_filled_in(
    form: dict[str, Any],
) -> None:
    assert set(form["extra_fields"]) == set(connection_form.fields())
    for name, field in form["extra_fields"].items():
        assert field["schema"]["title"] == connection_form.fields()[name]["label"]
        assert field["description"]
        assert name == "service" or "null" in field["schema"]["type"]
    assert tuple(form["extra_fields"]["service"]["schema"]["enum"]) == known_services()


def test_the_type_and_the_key_have_a_label_and_what_is_not_needed_is_hidden(form: dict[str, Any]) -> None:
    standard = form["standard_fields"]

    assert form["hook_name"] == "Image tasks"
    assert (standard["password"]["title"], standard["host"]["title"]) == ("API key", "Base URL")
    assert standard["login"]["hidden"] is standard["url_schema"]["hidden"] is True


def test_a_port_can_be_given_since_airflow_s_test_button_refuses_a_saved_connection_without_one(
    form: dict[str, Any],
) -> None:
    port = form["standard_fields"]["port"]

    assert not (port or {}).get("hidden")
    assert "443" in (port or {}).get("placeholder", "")


def test_what_a_user_leaves_blank_is_taken_as_not_given() -> None:
    known = {"conn_id": "c", "service": "acedatacloud", "default_base_url": "https://example.com", "host": None}

    blank = dict.fromkeys(connection_form.fields(), "")
    account = read_account(**known, requires_key=True, key="k", extra=blank)  # type: ignore[arg-type]

    assert (account.submit_rate, account.verify) == (None, True)


class Regional(TasksApiService):
    """Somebody's service, with fields of its own."""

    name, title, default_base_url = "regional", "Regional", "https://regional.example"
    connection_fields = {
        "region": ConnectionField(label="Region", description="where it draws.", is_secret=True),
        "seats": ConnectionField(label="Seats", description="how many it has.", kind="integer"),
        "webhook_secret": ConnectionField(label="Secret", description="what it signs with.", is_secret=True),
        "poll_interval": ConnectionField(label="Mine", description="which is everybody's."),
    }


def test_the_fields_that_a_service_adds_are_in_the_form_with_its_name_before_them() -> None:
    before = connection_form.fields()
    with installed(regional=lambda: Regional):
        fields = connection_form.fields()

    assert set(fields) == {*before, "region", "seats"}
    assert fields["region"]["description"] == "Regional: where it draws."
    assert fields["region"]["schema"] == {"type": ["string", "null"], "format": "password"}
    assert fields["seats"]["schema"] == {"type": ["integer", "null"]}
    assert fields["poll_interval"] == before["poll_interval"]
    shared = fields["webhook_secret"]
    assert shared["description"] == f"{before['webhook_secret']['description']} Regional: what it signs with."
    assert (shared["label"], shared["schema"]["format"]) == ("Webhook secret", "password")


def test_a_service_that_cannot_be_loaded_stops_no_command_of_airflow(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Any:
        raise ImportError("no module named easel")

    before = connection_form.fields()
    with installed(broken=broken, odd=lambda: object):
        form = get_provider_info()["connection-types"][0]["conn-fields"]

    assert set(form) == set(before)
    assert all(f"lacks the fields of the service '{name}'" in caplog.text for name in ("broken", "odd"))
