from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.core_api.datamodels.connections import ConnectionBody
from airflow.models.connection import Connection as StoredConnection
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, Connection
from airflow.secrets.base_secrets import BaseSecretsBackend
from airflow.secrets.local_filesystem import load_connections_dict

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.hooks import connection as connections
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.account_fields import ConnectionField
from airflow_provider_imagetasks.services.rates import Rate, Tier, Window
from airflow_provider_imagetasks.services.tasks_api import TasksApiService
from tests.installed_services import installed

FIELDS = {"conn_type": "imagetasks", "password": "key", "extra": {"service": "acedatacloud"}}


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connection 'known', and the asynchronous look-ups made of it."""
    monkeypatch.setenv("AIRFLOW_CONN_KNOWN", json.dumps(FIELDS))
    made: list[str] = []
    real = connections.get_async_connection

    async def counted(conn_id: str) -> Any:
        made.append(conn_id)
        return await real(conn_id)

    monkeypatch.setattr(connections, "get_async_connection", counted)
    return made


async def test_one_look_up_serves_all_who_ask_for_five_minutes(
    look_ups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = await asyncio.gather(*(connections.aread_connection("known") for _ in range(10)))

    assert len(set(map(id, accounts))) == 1
    assert look_ups == ["known"]
    real = connections.time.monotonic
    monkeypatch.setattr(connections.time, "monotonic", lambda: real() + 301)
    await connections.aread_connection("known")
    assert len(look_ups) == 2


async def test_a_failure_is_not_remembered(look_ups: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequestError):
        await connections.aread_connection("later")
    monkeypatch.setenv("AIRFLOW_CONN_LATER", json.dumps(FIELDS))

    assert (await connections.aread_connection("later")).key == "key"


async def test_a_connection_that_only_the_blocking_way_finds_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KNOWN", json.dumps(FIELDS))
    known = BaseHook.get_connection("known")

    async def not_found(conn_id: str) -> Any:
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(connections, "get_async_connection", not_found)
    monkeypatch.setattr(BaseHook, "get_connection", lambda _conn_id: known)
    assert (await connections.aread_connection("known")).key == "key"


async def test_who_is_cancelled_does_not_take_the_look_up_from_the_others(look_ups: list[str]) -> None:
    first = asyncio.create_task(connections.aread_connection("known"))
    second = asyncio.create_task(connections.aread_connection("known"))
    await asyncio.sleep(0)
    first.cancel()

    assert (await second).service == "acedatacloud"
    assert look_ups == ["known"]


@pytest.mark.parametrize("extra", ["{", "[]", '"text"'])
def test_an_extra_that_is_no_object_is_named(extra: str) -> None:
    connection = Connection(conn_id="known", conn_type="imagetasks", extra=extra)

    with pytest.raises(InvalidRequestError, match="Extra"):
        connections.account_from(connection, "known")


URIS = {
    "imagetasks://:a-key@gw.example/": "https://gw.example",
    "imagetasks://:a-key@gw.example:8443/": "https://gw.example:8443",
    "imagetasks://:a-key@gw.example:8443/v1": "https://gw.example:8443/v1",
    "imagetasks://:a-key@gw.example/https": "https://gw.example",
    "imagetasks://:a-key@localhost:8750/http": "http://localhost:8750",
    "imagetasks://:a-key@localhost:8750/http%2Facedatacloud": "http://localhost:8750/acedatacloud",
    "imagetasks://http://:a-key@localhost:8750/acedatacloud": "http://localhost:8750/acedatacloud",
    "imagetasks://https://:a-key@gw.example/v1/images": "https://gw.example/v1/images",
    "imagetasks://:a-key@https%3A%2F%2Fgw.example%3A8443%2Fv1/": "https://gw.example:8443/v1",
    "imagetasks://:a-key@https%3A%2F%2Fgw.example%2Fv1:8443/": "https://gw.example:8443/v1",
    "imagetasks://:a-key@[2001:db8::1]/": "https://[2001:db8::1]",
    "imagetasks://:a-key@[::1]:8750/http": "http://[::1]:8750",
    "imagetasks://http://:a-key@[::1]:8750/acedatacloud": "http://[::1]:8750/acedatacloud",
    "imagetasks://:a-key@/": "https://api.acedata.cloud",
}
PARTS: list[tuple[dict[str, Any], str]] = [
    ({"host": "gw.example"}, "https://gw.example"),
    ({"host": "gw.example", "port": 8443}, "https://gw.example:8443"),
    ({"host": "gw.example:8443"}, "https://gw.example:8443"),
    ({"host": "gw.example:8443", "port": 8443}, "https://gw.example:8443"),
    ({"host": "gw.example/v1", "port": 8443}, "https://gw.example:8443/v1"),
    ({"host": "https://gw.example/v1/", "port": 8443}, "https://gw.example:8443/v1"),
    ({"host": "https://gw.example:8443/v1"}, "https://gw.example:8443/v1"),
    ({"host": "http://localhost", "port": 8750}, "http://localhost:8750"),
    ({"host": "localhost", "port": 8750, "schema": "http"}, "http://localhost:8750"),
    ({"host": "localhost", "port": 8750, "schema": "HTTP/kie"}, "http://localhost:8750/kie"),
    ({"host": "http://localhost", "port": 8750, "schema": "https"}, "http://localhost:8750"),
    ({"host": "https://gw.example/a", "schema": "/b/c/"}, "https://gw.example/a/b/c"),
    ({"host": " gw.example ", "schema": " "}, "https://gw.example"),
    ({"host": "::1", "port": 8443}, "https://[::1]:8443"),
    ({"host": "[::1]", "port": 8443}, "https://[::1]:8443"),
    ({"host": "[::1]:8443"}, "https://[::1]:8443"),
    ({"host": "http://::1", "port": 8750, "schema": "kie"}, "http://[::1]:8750/kie"),
    ({"host": "http://[::1]:8750/kie"}, "http://[::1]:8750/kie"),
    ({"host": "", "port": 8443, "schema": "https"}, "https://api.acedata.cloud"),
]


def from_environment(value: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW_CONN_WRITTEN", value)
    return BaseHook.get_connection("written")


def from_file(name: str, text: str, folder: Path) -> Any:
    (folder / name).write_text(text)
    return load_connections_dict(str(folder / name))["written"]


def backend() -> BaseSecretsBackend:
    return BaseSecretsBackend()


def from_form(fields: Mapping[str, Any]) -> StoredConnection:
    body = ConnectionBody(connection_id="written", **{**fields, "extra": json.dumps(fields["extra"])})
    return StoredConnection(
        **{name: value for name, value in body.model_dump(by_alias=True).items() if value is not None}
    )


URI_WAYS: dict[str, Callable[[str, Path, pytest.MonkeyPatch], Any]] = {
    "an environment variable": lambda uri, _folder, patch: from_environment(uri, patch),
    "a secrets backend": lambda uri, _folder, _patch: backend().deserialize_connection("written", uri),
    "connections add --conn-uri": lambda uri, _folder, _patch: StoredConnection(conn_id="written", uri=uri),
    "a .env file": lambda uri, folder, _patch: from_file("c.env", f"written={uri}\n", folder),
    "a .json file": lambda uri, folder, _patch: from_file("c.json", json.dumps({"written": uri}), folder),
    "a .yaml file": lambda uri, folder, _patch: from_file("c.yaml", f"written: '{uri}'\n", folder),
}
FIELD_WAYS: dict[str, Callable[[dict[str, Any], Path, pytest.MonkeyPatch], Any]] = {
    "an environment variable": lambda fields, _folder, patch: from_environment(json.dumps(fields), patch),
    "an environment variable, all as text": lambda fields, _folder, patch: from_environment(
        json.dumps({**fields, "extra": json.dumps(fields["extra"]), "port": str(fields.get("port") or "")}), patch
    ),
    "a secrets backend": lambda fields, _folder, _patch: backend().deserialize_connection(
        "written", json.dumps(fields)
    ),
    "connections add --conn-json": lambda fields, _folder, _patch: StoredConnection.from_json(
        json.dumps(fields), conn_id="written"
    ),
    "connections add --conn-host": lambda fields, _folder, _patch: StoredConnection(
        conn_id="written", **{**fields, "extra": json.dumps(fields["extra"])}
    ),
    "the form, and the REST API": lambda fields, _folder, _patch: from_form(fields),
    "the form's Test button": lambda fields, _folder, patch: from_environment(from_form(fields).get_uri(), patch),
    "a .json file": lambda fields, folder, _patch: from_file("c.json", json.dumps({"written": fields}), folder),
    "a .yaml file": lambda fields, folder, _patch: from_file("c.yaml", json.dumps({"written": fields}), folder),
    "Connection": lambda fields, _folder, _patch: Connection(
        conn_id="written", **{**fields, "extra": json.dumps(fields["extra"])}
    ),
}


@pytest.mark.parametrize("uri", URIS)
@pytest.mark.parametrize("way", URI_WAYS)
def test_a_base_url_is_the_same_in_every_way_to_write_a_uri(
    way: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = URI_WAYS[way](f"{uri}?service=acedatacloud&download_hosts=a.example%2Cb.example", tmp_path, monkeypatch)
    account = connections.account_from(written, "written")

    assert (account.base_url, account.key) == (URIS[uri], "a-key")
    assert account.download_hosts == ("a.example", "b.example")


@pytest.mark.parametrize(("parts", "base_url"), PARTS)
@pytest.mark.parametrize("way", FIELD_WAYS)
def test_a_base_url_is_the_same_in_every_way_to_write_its_parts(
    way: str, parts: Mapping[str, Any], base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"service": "acedatacloud", "download_hosts": ["a.example"]}
    fields = {"conn_type": "imagetasks", "password": "a-key", "extra": extra, **parts}
    account = connections.account_from(FIELD_WAYS[way](fields, tmp_path, monkeypatch), "written")

    assert (account.base_url, account.key, account.download_hosts) == (base_url, "a-key", ("a.example",))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"host": "gw.example:8443", "port": 8080}, "Host \\(8443\\) and another in Port \\(8080\\)"),
        ({"host": "https://[::1]:8443/v1", "port": 8080}, "Host \\(8443\\) and another in Port \\(8080\\)"),
        ({"host": "gw.example", "schema": "ftp://x"}, None),
        ({"host": "gw.example", "schema": "v1?key=a-key-of-mine"}, "must not have a query"),
        ({"host": "http://gw.example", "port": 8080}, "allow_private_hosts"),
        ({"host": "me:a-key-of-mine@gw.example", "port": 8443}, "one port in Host|user name"),
    ],
)
def test_parts_that_do_not_fit_together_are_named(parts: dict[str, Any], said: str | None) -> None:
    connection = Connection(
        conn_id="mine", conn_type="imagetasks", password="a-key", extra='{"service": "acedatacloud"}', **parts
    )
    if said is None:
        assert connections.account_from(connection, "mine").base_url == "https://gw.example/ftp://x"
        return
    with pytest.raises(InvalidRequestError, match=said) as caught:
        connections.account_from(connection, "mine")
    assert "a-key-of-mine" not in caught.value.message


class Regional(TasksApiService):
    """Somebody's service, with a field and limits of its own."""

    name, title, default_base_url = "regional", "Regional", "https://regional.example"
    connection_fields = {"region": ConnectionField(label="Region", description="where it draws.")}
    tiers = {"small": Tier(submit=Rate((Window(1, 60),)), query=Rate((Window(1, 5),)), active=2)}


def test_a_service_of_somebody_else_reads_fields_and_limits_of_its_own() -> None:
    def account(**extra: Any) -> Account:
        given = json.dumps({"service": "regional", **extra})
        connection = Connection(conn_id="mine", conn_type="imagetasks", password="a-key", extra=given)
        return connections.account_from(connection, "mine")

    with installed(regional=lambda: Regional):
        found = account(region="eu", submit_rate="regional:small", query_rate="kie:default")
        assert (found.further_field("region"), found.max_active_tasks) == ("eu", 2)
        assert (str(found.submit_rate), str(found.query_rate)) == ("1/60s", "8/1s")
        with pytest.raises(InvalidRequestError, match="or as one of regional:small"):
            account(query_rate="regional:large")
