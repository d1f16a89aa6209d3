"""Uploads over both transports: a server reads the same form, and the same sequence of requests."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError, QuotaExceededError, UnknownOutcomeError
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest
from tests.driven_transports import KEY, TRANSPORTS, DrivenTransport, account, comparable
from tests.scripted_server import CutAfterReading, FormField, ReceivedRequest, Reply, ScriptedServer, Step

# What a form must not trip over: all bytes, line ends, and what looks like the end of the form.
BYTES = bytes(range(256)) + b"\r\n--\r\n\r\n--boundary--\r\n"
PHOTO = ImageFile(name="images.jpg", media_type="image/jpeg", content=BYTES)
OTHER = ImageFile(name="images.png", media_type="image/png", content=b"\x89PNG" + BYTES * 300)
MASK = ImageFile(name="mask.png", media_type="image/png", content=b"")
EDIT = ImageRequest(
    prompt='make it "winter"\r\nat 5 € & more; ü',
    model="gpt-image-2",
    options={"n": 2, "quality": "high", "extra": {"a": [1, None]}},
    images=[PHOTO, OTHER],
    mask=MASK,
)
ACCEPTED = Reply({"task_id": "task-1"})
SLOWLY = Reply({"error": {"code": "too_many_requests"}}, status=429, headers={"Retry-After": "3"})
USED_UP = Reply({"error": {"code": "used_up", "message": "no balance"}}, status=403)


def edit() -> Flow[Any]:
    return AceDataCloud().submit(EDIT, key="derived")


@pytest.fixture(params=TRANSPORTS)
def driven(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DrivenTransport:
    """Each transport in turn, in frozen time and without proxies."""
    monkeypatch.setenv("NO_PROXY", "*")
    one = DrivenTransport(request.param)
    one.freeze_time(monkeypatch)
    return one


def sorted_form(request: ReceivedRequest) -> tuple[list[FormField], list[FormField]]:
    """Return the texts by name, whose order means nothing, and the files in their order."""
    texts = [field for field in request.form if field.filename is None]
    return sorted(texts, key=lambda field: field.name), [field for field in request.form if field.filename is not None]


def test_a_form_arrives_as_it_was_meant(driven: DrivenTransport) -> None:
    with ScriptedServer(ACCEPTED) as server:
        task = driven.run(edit(), account(server.url))

    (request,) = server.requests
    texts, files = sorted_form(request)
    assert task.id == "task-1"
    assert (request.method, request.path) == ("POST", "/openai/images/edits")
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert [(field.name, field.content.decode()) for field in texts] == [
        ("async", "true"),
        ("extra", '{"a": [1, null]}'),
        ("model", "gpt-image-2"),
        ("n", "2"),
        ("prompt", EDIT.prompt),
        ("quality", "high"),
        ("size", "auto"),
        ("trace_id", "derived"),
    ]
    assert files == [
        FormField(name="image", content=PHOTO.content, filename="images.jpg", media_type="image/jpeg"),
        FormField(name="image", content=OTHER.content, filename="images.png", media_type="image/png"),
        FormField(name="mask", content=b"", filename="mask.png", media_type="image/png"),
    ]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param([ACCEPTED], None, id="accepted"),
        pytest.param([SLOWLY, SLOWLY, ACCEPTED], None, id="slowed down"),
        pytest.param([USED_UP], QuotaExceededError, id="refused"),
        pytest.param([CutAfterReading()], UnknownOutcomeError, id="cut"),
        pytest.param([SLOWLY, CutAfterReading(b"HTTP/1.1 2")], UnknownOutcomeError, id="slowed down, then cut"),
        pytest.param([Reply(b"<html>", status=502)], UnknownOutcomeError, id="a page"),
    ],
)
def test_both_transports_send_the_same_forms_one_after_the_other(
    script: list[Step], expected: type[ImageTaskError] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr("random.uniform", lambda low, high: low)
    seen = {}
    for kind in TRANSPORTS:
        driven = DrivenTransport(kind)
        driven.freeze_time(monkeypatch)
        with ScriptedServer(*script) as server:
            outcome = comparable(driven.outcome(edit(), account(server.url)))
        assert len(server.requests) == len(script)
        forms = [sorted_form(request) for request in server.requests]
        assert all(form == forms[0] for form in forms)
        if expected:
            assert outcome[0] is expected
        seen[kind] = (outcome, forms, driven.pauses)

    assert seen["requests"] == seen["aiohttp"]
