"""Answers that repeat the key: what comes out of either transport never holds it."""

from __future__ import annotations

import base64
import gzip
import json
from html import escape
from urllib.parse import quote, quote_plus

import pytest

from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.wire import Response
from tests.driven_transports import SUBMISSION, DrivenTransport, account
from tests.scripted_server import Reply, ScriptedServer

KEY = "sk-no/body+may=see?this"
BASE64_KEY = base64.b64encode(KEY.encode()).decode()


AS_TOLD = {
    "plain": KEY,
    "as the header": f"Bearer {KEY}",
    "in a URL": quote(KEY, safe=""),
    "in a URL, lower case": quote(KEY, safe="").lower(),
    "base64": BASE64_KEY,
    "base64 without padding": BASE64_KEY.rstrip("="),
    "as PHP writes JSON": KEY.replace("/", "\\/"),
    "in a path": quote(KEY),
    "base64 as in URLs": base64.urlsafe_b64encode(KEY.encode()).decode(),
}


@pytest.mark.parametrize("told", AS_TOLD.values(), ids=AS_TOLD)
@pytest.mark.parametrize("status", [200, 401])
def test_an_answer_that_repeats_the_key_comes_without_it_also_compressed(driven: DrivenTransport, told, status) -> None:
    body = f'{{"error": {{"code": "invalid_token", "message": "no account has {told}, sorry"}}}}'.encode()
    compressed = Reply(gzip.compress(body), status=status, headers={"Content-Encoding": "gzip"})
    with ScriptedServer(Reply(body, status=status), compressed) as server:
        answer = driven.ask(SUBMISSION, account(server.url, key=KEY))
        error = driven.outcome(AceDataCloud().get_task("task-1"), account(server.url, key=KEY))

    assert isinstance(answer, Response)
    assert told.encode() not in answer.content
    assert answer.json()["error"]["message"] == f"no account has {'Bearer ' if 'Bearer' in told else ''}***, sorry"
    assert "no account has" in error.message
    assert "***" in error.message
    assert KEY not in str(error)


AROUND = (("", ":"), (":", ""), ("api:", ""), ("Bearer ", ""), ("x", "y"), ("xy", "z"))
ODD_KEY = 'sk-"nobody"&<may>\\see/this+at all'


@pytest.mark.parametrize(
    "told",
    [
        json.dumps(ODD_KEY),
        json.dumps(ODD_KEY).replace("/", "\\/"),
        escape(ODD_KEY),
        escape(ODD_KEY, quote=False),
        quote_plus(ODD_KEY),
        *(base64.b64encode(f"{before}{ODD_KEY}{after}".encode()).decode() for before, after in AROUND),
        *(base64.urlsafe_b64encode(f"{before}{ODD_KEY}{after}".encode()).decode() for before, after in AROUND),
    ],
)
def test_nothing_is_left_of_a_key_whichever_signs_it_has_and_wherever_in_base64_it_stands(
    driven: DrivenTransport, told: str
) -> None:
    with ScriptedServer(Reply(f"<p>no account has {told}</p>".encode(), status=401)) as server:
        answer = driven.ask(SUBMISSION, account(server.url, key=ODD_KEY))

    assert isinstance(answer, Response)
    assert b"***" in answer.content
    # In base64, a part of the first and the last character may also be of what is around it.
    assert len(answer.content) < 50


def test_the_headers_of_an_answer_come_without_the_key_too_but_a_placeholder_leaves_answers_as_they_are(
    driven: DrivenTransport,
) -> None:
    moved = Reply(b"", status=302, headers={"Location": f"https://login.example/{quote(KEY, safe='')}/x", "X-You": KEY})
    with ScriptedServer(moved, moved, Reply({"id": "local-1", "local": True})) as server:
        answer = driven.ask(SUBMISSION, account(server.url, key=KEY))
        error = driven.outcome(AceDataCloud().get_task("task-1"), account(server.url, key=KEY))
        local = driven.ask(SUBMISSION, account(server.url, key="local"))

    assert isinstance(answer, Response)
    assert isinstance(local, Response)
    assert (answer.headers["location"], answer.headers["x-you"]) == ("https://login.example/***/x", "***")
    assert "https://login.example/***/x" in error.message
    assert local.json() == {"id": "local-1", "local": True}
