"""Answers that repeat the key: what comes out of either transport never holds it."""

from __future__ import annotations

import base64
import gzip
import json
from urllib.parse import quote

import pytest

from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.wire import Response
from tests.driven_transports import SUBMISSION, DrivenTransport
from tests.scripted_server import Reply, ScriptedServer

KEY = "sk-no/body+may=see?this"
BASE64_KEY = base64.b64encode(KEY.encode()).decode()


def with_key(base_url: str, key: str = KEY) -> Account:
    return Account(conn_id="mine", service="acedatacloud", base_url=base_url, key=key)


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(KEY, id="plain"),
        pytest.param(f"Bearer {KEY}", id="as the header"),
        pytest.param(quote(KEY, safe=""), id="in a URL"),
        pytest.param(quote(KEY, safe="").lower(), id="in a URL, lower case"),
        pytest.param(BASE64_KEY, id="base64"),
        pytest.param(BASE64_KEY.rstrip("="), id="base64 without padding"),
        pytest.param(KEY.replace("/", "\\/"), id="as PHP writes JSON"),
    ],
)
@pytest.mark.parametrize("status", [200, 401])
def test_an_answer_that_repeats_the_key_comes_without_it(driven: DrivenTransport, told: str, status: int) -> None:
    body = f'{{"error": {{"code": "invalid_token", "message": "no account has {told}, sorry"}}}}'.encode()
    with ScriptedServer(Reply(body, status=status), Reply(body, status=status)) as server:
        answer = driven.ask(SUBMISSION, with_key(server.url))
        error = driven.outcome(AceDataCloud().get_task("task-1"), with_key(server.url))

    assert isinstance(answer, Response)
    assert told.encode() not in answer.content
    assert answer.json()["error"]["message"] == f"no account has {'Bearer ' if 'Bearer' in told else ''}***, sorry"
    assert "no account has" in error.message
    assert KEY not in str(error)


def test_the_headers_of_an_answer_come_without_the_key_too(driven: DrivenTransport) -> None:
    moved = Reply(b"", status=302, headers={"Location": f"https://login.example/{quote(KEY, safe='')}/x", "X-You": KEY})
    with ScriptedServer(moved, moved) as server:
        answer = driven.ask(SUBMISSION, with_key(server.url))
        error = driven.outcome(AceDataCloud().get_task("task-1"), with_key(server.url))

    assert isinstance(answer, Response)
    assert (answer.headers["location"], answer.headers["x-you"]) == ("https://login.example/***/x", "***")
    assert "https://login.example/***/x" in error.message


def test_a_compressed_answer_comes_without_the_key_too(driven: DrivenTransport) -> None:
    body = gzip.compress(json.dumps({"told": KEY}).encode())
    with ScriptedServer(Reply(body, headers={"Content-Encoding": "gzip"})) as server:
        answer = driven.ask(SUBMISSION, with_key(server.url))

    assert isinstance(answer, Response)
    assert answer.json() == {"told": "***"}


def test_a_placeholder_for_a_key_leaves_answers_as_they_are(driven: DrivenTransport) -> None:
    with ScriptedServer(Reply({"id": "local-1", "local": True})) as server:
        answer = driven.ask(SUBMISSION, with_key(server.url, "local"))

    assert isinstance(answer, Response)
    assert answer.json() == {"id": "local-1", "local": True}
