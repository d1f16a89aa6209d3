from __future__ import annotations

import io
import time
from urllib.parse import urljoin

import pytest
import requests
from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def url_of(tasks_api, prompt, **body):
    return tasks_api.record(tasks_api.submitted(prompt, **body))["response"]["data"][0]["url"]


def fetched(url, **options):
    return requests.get(url, timeout=10, **options)


@pytest.mark.parametrize("target", ["http://10.0.0.1/x.png?a=b", "http://[::1]:1/x", "file:///etc/hosts"])
def test_a_download_can_be_sent_anywhere(service, tasks_api, target):
    response = fetched(url_of(tasks_api, f"a kite [file-redirect={target},times=1]"), allow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (302, target)
    assert service.stats()["files_redirected"] == 1
    assert fetched(response.url).headers["Content-Type"] == "image/png"


def test_a_download_can_be_sent_on_to_the_picture(service, tasks_api):
    url = url_of(tasks_api, "a kite [file-redirect]")
    first = fetched(url, allow_redirects=False)
    assert urljoin(url, first.headers["Location"]) != url
    assert fetched(url).content.startswith(PNG_SIGNATURE)
    assert service.stats()["files_redirected"] == 2


def test_a_download_can_be_sent_round_for_ever(tasks_api):
    url = url_of(tasks_api, "a kite [file-redirect-loop]")
    with pytest.raises(requests.TooManyRedirects) as raised:
        fetched(url)
    assert len({hop.url for hop in raised.value.response.history}) > 20


def test_a_file_can_be_announced_as_huge(tasks_api):
    with fetched(url_of(tasks_api, "a kite [file-huge=1]"), stream=True) as response:
        assert int(response.headers["Content-Length"]) == 50_000_000_000
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            _ = response.content
    assert fetched(response.url).content.startswith(PNG_SIGNATURE)


def test_a_file_can_be_endless_and_stops_with_its_reader(service, tasks_api):
    with fetched(url_of(tasks_api, "a kite [file-endless]"), stream=True) as response:
        assert "Content-Length" not in response.headers
        received = 0
        for piece in response.iter_content(64 * 1024):
            received += len(piece)
            if received > 1024 * 1024:
                break
    started = time.monotonic()
    assert requests.get(f"{service.url}/health", timeout=10).ok
    assert time.monotonic() - started < 1


def test_a_small_file_can_hold_a_giant_picture(service, tasks_api):
    content = fetched(url_of(tasks_api, "a kite [file-bomb]")).content
    assert len(content) < 1_000_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(content))
    assert service.stats()["files_hostile"] == 1


@pytest.mark.parametrize(
    ("directive", "media_type", "beginning", "inside"),
    [
        ("[file-svg]", "image/svg+xml", b"<svg", b"<script>"),
        ("[file-fake-png]", "image/png", PNG_SIGNATURE, b"<html>"),
        ("[file-type=text/html]", "text/html", PNG_SIGNATURE, b"IDAT"),
        ("[file-type=application/octet-stream,times=1]", "application/octet-stream", PNG_SIGNATURE, b"IDAT"),
    ],
)
def test_a_file_can_be_something_else_than_it_says(tasks_api, directive, media_type, beginning, inside):
    response = fetched(url_of(tasks_api, f"a kite {directive}"))
    assert response.headers["Content-Type"] == media_type
    assert response.content.startswith(beginning)
    assert inside in response.content


@pytest.mark.parametrize("address", ["http://169.254.169.254/latest", "file:///etc/hosts", "ftp://example.com/x", "x"])
def test_a_result_can_have_any_address(tasks_api, kie, address):
    assert url_of(tasks_api, f"a kite [result-url={address}]") == address
    task_id = kie.submitted(f"a kite [result-url={address}]")
    kie.query(task_id)
    assert address in kie.record(task_id)["resultJson"]


def test_a_mishap_can_pass_and_the_picture_comes(tasks_api):
    url = url_of(tasks_api, "a kite [file-bomb=1]", output_format="webp")
    assert fetched(url).content.startswith(PNG_SIGNATURE)
    assert fetched(url).content.startswith(b"RIFF")
