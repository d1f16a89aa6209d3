"""A connection's API key is replaced while rows of a batch are unclear: the other account does not pay for them too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_imagetasks.batch.batch_ledger import BatchLedger
from airflow_provider_imagetasks.exceptions import UnknownOutcomeError
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.local.dialects.known_dialects import DIALECT_PATHS
from tests.image_batch import ImageBatch, Killed
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer
from tests.task_runner import TaskRunner

TELLS = pytest.mark.parametrize("service_name", ["acedatacloud", "aigptimage"], indirect=True)
BY_KEY = pytest.mark.parametrize("service_name", ["aigptimage"], indirect=True)
ROWS = ["a kite", "a boat", "a tree", "a hill"]


class TwoAccounts:
    """A service that keeps what each account submits apart, and the batch of a connection whose key can be replaced."""

    def __init__(self, services: dict[str, LocalImageService], service_name: str, output_folder: str) -> None:
        self.services = services
        self._path = DIALECT_PATHS[service_name]
        self.server = ScriptedServer(otherwise=self._answer)
        first = next(iter(services.values()))
        self.connection = {**json.loads(first.connection(service_name)), "host": self.server.url}
        self.connection["extra"] |= {"allow_private_hosts": True, "query_rate": "50/s"}
        runner = TaskRunner(connections={"imagetasks_default": self.connection})
        self.batch = ImageBatch(runner, first, output_folder, arguments={"poll_interval": 1, "timeout": 60})

    def start(self, key: str, *prompts: str, **how: Any) -> Any:
        self.connection["password"] = key
        return self.batch.start(*(prompts or ROWS), **how)

    def start_killed(self, key: str, monkeypatch: pytest.MonkeyPatch, *prompts: str, **how: Any) -> None:
        """Start a try that is killed when its first group was answered, before the ids are written down."""

        def killed(*_arguments: Any) -> None:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(BatchLedger, "settle", killed)
            assert isinstance(self.start(key, *prompts, **how).error, Killed)

    def pass_minutes(self, minutes: int) -> None:
        """Move what is on record into the past."""
        for segment in Path(urlsplit(self.batch.output_folder).path).rglob("intents-*"):
            head, *lines = map(json.loads, segment.read_text().splitlines())
            moved = [head, *({**line, "at": line["at"] - minutes * 60} for line in lines)]
            segment.write_text("".join(f"{json.dumps(line)}\n" for line in moved))

    def paid(self, key: str) -> list[str]:
        return sorted(entry["prompt"] for entry in self.services[key].stats()["created"])

    def _answer(self, request: ReceivedRequest) -> Reply:
        service = self.services[request.headers["Authorization"].removeprefix("Bearer ")]
        hop = ("host", "connection", "content-length")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in hop}
        url = f"{service.url}/{self._path}{request.target}"
        answer = requests.request(request.method, url, data=request.content, headers=headers, timeout=30)
        return Reply(answer.content, status=answer.status_code, headers={"Content-Type": "application/json"})


@pytest.fixture
def accounts(service_name: str, output_folder: str) -> Iterator[TwoAccounts]:
    with LocalImageService(latency=0) as first, LocalImageService(latency=0) as second:
        two = TwoAccounts({"first": first, "second": second}, service_name, output_folder)
        with two.server:
            yield two


@TELLS
def test_what_the_first_may_have_taken_is_not_submitted_to_the_second(
    accounts: TwoAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.start_killed("first", monkeypatch, max_active_tasks=2)
    failed = accounts.start("second")

    assert isinstance(failed.error, UnknownOutcomeError)
    assert accounts.paid("first") == ["a boat", "a kite"]
    assert accounts.paid("second") == ["a hill", "a tree"]
    unknown = [row["error"] for row in accounts.batch.rows if row["error"]]
    assert [error["billed"] for error in unknown] == ["unknown", "unknown"]
    assert all("the API key of connection 'imagetasks_default' was replaced" in error["message"] for error in unknown)


@TELLS
def test_with_the_key_as_it_was_they_are_found(accounts: TwoAccounts, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts.start_killed("first", monkeypatch, max_active_tasks=2)

    assert accounts.start("first").state == "success"
    assert accounts.paid("first") == sorted(ROWS)


@BY_KEY
def test_the_hour_of_a_key_does_not_begin_anew_when_it_goes_out_again(
    accounts: TwoAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.start_killed("first", monkeypatch, "a kite")
    accounts.pass_minutes(50)
    accounts.start_killed("first", monkeypatch, "a kite")
    accounts.pass_minutes(50)
    failed = accounts.start("first", "a kite", try_number=3)

    assert isinstance(failed.error, UnknownOutcomeError)
    assert accounts.paid("first") == ["a kite"]
