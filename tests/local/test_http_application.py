from __future__ import annotations

import time

import pytest
import requests

from tests.hostile_files import file, once


def url_of(tasks_api, prompt):
    return tasks_api.urls(tasks_api.submitted(prompt))[0]


def test_pictures_need_no_key_and_a_key_that_comes_along_is_noticed(service, tasks_api):
    url = url_of(tasks_api, "a red kite")
    assert requests.get(url, timeout=10).ok
    assert requests.get(url, headers={"Authorization": "Bearer secret"}, timeout=10).ok
    stats = service.stats()
    assert (stats["files_served"], stats["files_with_authorization"]) == (2, 1)


def test_a_picture_is_the_same_every_time(tasks_api):
    assert len({requests.get(url_of(tasks_api, "a red kite"), timeout=10).content for _ in range(2)}) == 1


def test_pictures_that_are_not_ready_or_were_not_asked_for_are_not_there(service, tasks_api):
    never, ready = tasks_api.submitted("a kite [never]"), tasks_api.submitted("a kite")
    for path in (f"{never}/0.png", f"{ready}/1.png", f"{ready}/0.jpeg", "unknown/0.png"):
        assert requests.get(f"{service.url}/files/{path}", timeout=10).status_code == 404
    assert service.stats()["files_refused"] == 4


def test_downloads_can_fail_the_first_times(tasks_api):
    url = url_of(tasks_api, "a kite [file-404=1] [file-500=1,status=503] [file-html=1]")
    responses = [requests.get(url, timeout=10) for _ in range(4)]
    assert [response.status_code for response in responses] == [404, 503, 200, 200]
    assert responses[2].headers["Content-Type"].startswith("text/html")
    assert responses[3].headers["Content-Type"] == "image/png"


def test_a_download_can_end_in_the_middle(tasks_api):
    url = url_of(tasks_api, "a kite [file-truncated=1]")
    with requests.get(url, stream=True, timeout=10) as response:
        promised = int(response.headers["Content-Length"])
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            _ = response.content
    assert len(requests.get(url, timeout=10).content) == promised


def test_a_download_can_be_slow(tasks_api):
    url = url_of(tasks_api, "a kite [file-slow=0.3]")
    started = time.monotonic()
    assert requests.get(url, timeout=10).content.startswith(b"\x89PNG")
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("address", ["http://169.254.169.254/latest", "file:///etc/hosts", "ftp://example.com/x", "x"])
def test_a_result_can_have_any_address(tasks_api, kie, address):
    assert url_of(tasks_api, f"a kite [result-url={address}]") == address
    task_id = kie.submitted(f"a kite [result-url={address}]")
    kie.query(task_id)
    assert address in kie.record(task_id)["resultJson"]


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
    page = requests.get(service.url, timeout=10).text
    assert "<script>" not in page
    for dialect in ("/acedatacloud", "/xhuoapi/v1", "/aigptimage", "/kie"):
        assert f"{service.url}{dialect}" in page
    path = f"/thumbnails/{task_id}/0.png"
    assert "double" in page
    assert path in page
    assert requests.get(f"{service.url}{path}", timeout=10).headers["Content-Type"] == "image/png"
    assert service.stats()["files_served"] == 0
