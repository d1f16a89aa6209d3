from __future__ import annotations

import time

import requests

from tests.hostile_files import file, once
from tests.local.clients import seen


def url_of(tasks_api, prompt):
    return tasks_api.urls(tasks_api.submitted(prompt))[0]


def test_pictures_need_no_key_and_a_key_that_comes_along_is_noticed(service, tasks_api):
    url = url_of(tasks_api, "a red kite")
    first, second = (requests.get(url, headers=headers, timeout=10) for headers in ({}, {"Authorization": "Bearer x"}))
    assert first.content == second.content == requests.get(url_of(tasks_api, "a red kite"), timeout=10).content
    stats = service.stats()
    assert (stats["files_served"], stats["files_with_authorization"]) == (3, 1)


def test_pictures_that_are_not_ready_or_were_not_asked_for_are_not_there(service, tasks_api):
    never, ready = tasks_api.submitted("a kite [never]"), tasks_api.submitted("a kite")
    for path in (f"{never}/0.png", f"{ready}/1.png", f"{ready}/0.jpeg", "unknown/0.png"):
        assert requests.get(f"{service.url}/files/{path}", timeout=10).status_code == 404
    assert service.stats()["files_refused"] == 4


def test_downloads_can_fail_the_first_times_and_be_slow(tasks_api):
    url = url_of(
        tasks_api, "a kite [file-404=1] [file-500=1,status=503] [file-html=1] [file-truncated=1] [file-slow=0.3]"
    )
    started = time.monotonic()
    assert [seen(lambda: requests.get(url, timeout=10)) for _ in range(5)] == [404, 503, "page 200", "half", 200]
    assert time.monotonic() - started >= 0.3


def test_something_else_can_answer_downloads_until_the_next_reset(service, tasks_api):
    service.answer_downloads(once(file(b"<svg/>", "image/svg+xml")))
    url = url_of(tasks_api, "a kite")
    response = requests.get(url, timeout=10)
    assert (response.content, response.headers["Content-Type"]) == (b"<svg/>", "image/svg+xml")
    assert requests.get(url, timeout=10).content.startswith(b"\x89PNG")

    service.answer_downloads(file(b"<svg/>"))
    service.reset()
    assert requests.get(url_of(tasks_api, "a kite"), timeout=10).content.startswith(b"\x89PNG")


def test_the_front_page_shows_thumbnails_and_does_not_believe_prompts(service, tasks_api):
    task_id = tasks_api.submitted("<script>alert(1)</script> \ud800")
    path = f"/thumbnails/{task_id}/0.png"
    page = requests.get(service.url, timeout=10).text
    assert "<script>" not in page
    for dialect in ("/acedatacloud", "/xhuoapi/v1", "/aigptimage", "/kie"):
        assert f"{service.url}{dialect}" in page
    assert "double" in page
    assert path in page
    assert requests.get(f"{service.url}{path}", timeout=10).headers["Content-Type"] == "image/png"
    assert service.stats()["files_served"] == 0
