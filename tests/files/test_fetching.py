"""Fetching results, as the download operator does it: only from where it may be, byte for byte, within bounds."""

from __future__ import annotations

import asyncio
import base64
import gzip
import ipaddress
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_imagetasks.exceptions import (
    DownloadError,
    ImageTaskError,
    ResultExpiredError,
    UnsafeResultError,
)
from airflow_provider_imagetasks.files import addresses, fetching, pictures
from airflow_provider_imagetasks.services.inline_ids import inline_id, task_from_inline_id
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState
from tests.files.hostile_addresses import SIGNED, UNSENDABLE, forbidden_addresses, mutated
from tests.files.result_server import PNG, TASK_ID, Download, ResultServer, redirect, serving
from tests.scripted_server import CutAfterReading, ReceivedRequest, Reply, ScriptedServer

pytestmark = pytest.mark.usefixtures("no_proxy")
FORBIDDEN_PORT = 22_001
AT_A_TIME = 40


@pytest.fixture
def results() -> Iterator[ResultServer]:
    with serving(ResultServer()) as server:
        yield server


@pytest.fixture
def download(results: ResultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0)
    return Download(results, f"file://{tmp_path}/pictures")


@pytest.fixture
def connections(results: ResultServer, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every connection that is tried to anything but the server, none of which is made; names lead inside."""
    tried: list[Any] = []
    own = int(results.url.rpartition(":")[2])
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def watched(self: socket.socket, address: Any) -> None:
        if self.family == socket.AF_UNIX or address[1] == own:
            return connect(self, address)
        tried.append(address)
        raise ConnectionRefusedError("nobody is to be asked here")

    def getaddrinfo(host: Any, port: Any, family: int = 0, kind: int = 0, proto: int = 0, flags: int = 0) -> Any:
        name = str(host).rstrip(".").lower()
        if name.endswith(".test") or name == "localhost":
            host = "127.0.0.1"
        # Numbers in whichever form the system itself reads as an address; it is asked for no name.
        return look_up(host, port, family, kind, proto, flags | socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket.socket, "connect", watched)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return tried


def slices(found: list[str]) -> list[list[str]]:
    return [found[start : start + AT_A_TIME] for start in range(0, len(found), AT_A_TIME)]


def inline(urls: list[str]) -> str:
    images = tuple(GeneratedImage(index=index, url=url) for index, url in enumerate(urls))
    return inline_id(ImageTask(id="", service="acedatacloud", state=TaskState.SUCCEEDED, images=images))


def tried(way: str, urls: list[str], download: Download) -> Any:
    """Have the download operator fetch from these addresses, and return what it raised."""
    results = download.results
    if way == "inline id":
        return download.run(inline(urls)).error
    if way == "directly":
        results.results = urls
    else:
        results.results = [f"{{url}}/{number}" for number in range(len(urls))]
        results.answer = lambda request: redirect(urls[int(request.target.strip("/"))])
    return download.run().error


WAYS = ("directly", "by redirect", "inline id")
FORBIDDEN = forbidden_addresses(FORBIDDEN_PORT)


@pytest.mark.parametrize("way", WAYS)
def test_no_spelling_of_a_forbidden_address_is_connected_to(
    way: str, download: Download, connections: list[Any]
) -> None:
    assert len(FORBIDDEN[::3]) >= 300
    for urls in slices(FORBIDDEN[::3]):
        error = tried(way, urls, download)
        assert isinstance(error, ImageTaskError), error
        assert error.billed == "yes"
        assert ("save", "return_value") not in download.runner.xcoms
    assert connections == []


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", WAYS)
def test_no_mutation_of_a_forbidden_address_is_connected_to(
    way: str, download: Download, connections: list[Any]
) -> None:
    for urls in slices([*FORBIDDEN, *mutated(FORBIDDEN, 2000, seed=1)]):
        error = tried(way, urls, download)
        assert isinstance(error, ImageTaskError), error
    # A mutation may be an address of somebody else's.
    assert [peer for peer in connections if not ipaddress.ip_address(peer[0]).is_global] == []


@pytest.mark.parametrize("way", ["directly", "by redirect", "by a redirect within the host", "inline id"])
def test_a_signed_address_goes_out_byte_for_byte(way: str, download: Download, results: ResultServer) -> None:
    expected = {**{target: target for target in SIGNED}, **UNSENDABLE}
    assert len(expected) >= 40
    urls = [f"{results.url}{target}" for target in expected]
    if way.startswith("by"):
        places = list(expected) if "within" in way else urls
        urls = [f"{{url}}/first/{number}" for number in range(len(expected))]
        results.answer = lambda request: (
            redirect(places[int(request.target.rpartition("/")[2])]) if request.target.startswith("/first/") else None
        )
    results.results = urls

    outcome = download.run(inline(urls) if way == "inline id" else TASK_ID)

    assert outcome.state == "success", outcome.error
    assert sorted(target for target in results.targets if not target.startswith("/first/")) == sorted(expected.values())


def test_a_signed_address_goes_through_a_proxy_byte_for_byte(
    download: Download, results: ResultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The proxy has a name, and an address that results may not come from.
    download.fields = {"download_hosts": ["cdn.test"]}
    with ScriptedServer(otherwise=lambda _request: Reply(PNG)) as proxy:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("http_proxy", proxy.url.replace("127.0.0.1", "localhost"))
        results.results = [f"http://cdn.test{target}" for target in SIGNED]
        outcome = download.run()

    assert outcome.state == "success", outcome.error
    assert sorted(request.target for request in proxy.requests) == sorted(results.results)


def test_what_lies_at_the_proxy_itself_is_not_fetched_from_it(
    download: Download, results: ResultServer, connections: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,proxy.test")
    monkeypatch.setenv("http_proxy", f"http://proxy.test:{FORBIDDEN_PORT}")
    results.results = [f"http://proxy.test:{FORBIDDEN_PORT}/a.png"]

    error = download.run().error

    assert isinstance(error, UnsafeResultError)
    assert "proxy.test, which leads to 127.0.0.1" in error.message
    assert connections == []


def test_a_proxy_that_cannot_be_used_is_named_and_nothing_is_called_unbilled(
    download: Download, results: ResultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    download.fields = {"download_hosts": ["cdn.test"]}
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("http_proxy", "socks5://me:secret@proxy.test:1080")
    results.results = ["http://cdn.test/a.png"]

    error = download.run().error

    assert type(error).__mro__[1] is DownloadError
    assert "socks5:// proxy for cdn.test" in error.message
    assert (error.billed, error.retryable) == ("yes", False)
    assert "secret" not in str(error)


def test_whom_it_is_connected_to_is_asked_before_a_request_leaves(
    download: Download, results: ResultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would be where a library reads a host that nobody here takes for an address."""
    with ScriptedServer(otherwise=lambda _request: Reply(PNG)) as inside:
        port = inside.url.rpartition(":")[2]

        async def resolve(_self: Any, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
            return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

        monkeypatch.setattr(addresses.GuardedResolver, "resolve", resolve)
        results.results = [f"http://cdn.test:{port}/a.png"]
        error = download.run().error

    assert isinstance(error, UnsafeResultError)
    assert "cdn.test, which leads to 127.0.0.1" in error.message
    assert inside.requests == []


@pytest.mark.parametrize("length", [8_300, 60_000])
def test_a_redirect_with_a_long_location_is_followed(download: Download, results: ResultServer, length: int) -> None:
    long = f"/a.png?X-Amz-Security-Token={'x' * length}"
    results.results = ["{url}/first"]
    results.answer = lambda request: redirect(long) if request.target == "/first" else None

    assert download.run().state == "success"
    assert results.targets == ["/first", long]


def test_a_redirect_to_another_place_of_the_host_is_followed(download: Download, results: ResultServer) -> None:
    places = {
        "/a/b/first?x=1": "?y=2",
        "/a/b/first?y=2": "third",
        "/a/b/third": "../fourth?",
        "/a/fourth?": "//{host}/z",
    }
    results.results = ["{url}/a/b/first?x=1"]

    def answer(request: ReceivedRequest) -> Reply | None:
        to = places.get(request.target)
        return redirect(to.replace("{host}", results.url.partition("//")[2])) if to else None

    results.answer = answer
    assert download.run().state == "success"
    assert results.targets == [*places, "/z"]


def pausing_with(sleep: Callable[[float], Any]) -> Any:
    """What fetching uses of asyncio, with other pauses."""
    return SimpleNamespace(sleep=sleep, to_thread=asyncio.to_thread, timeout=asyncio.timeout)


PACKED = {
    "gzip": gzip.compress(PNG),
    "x-gzip": gzip.compress(PNG),
    "deflate": zlib.compress(PNG),
    "GZIP": gzip.compress(PNG),
    "identity, gzip": gzip.compress(PNG),
    "gzip,aws-chunked": gzip.compress(PNG[:40]) + gzip.compress(PNG[40:]),
    "deflate, ": zlib.compress(PNG, wbits=-zlib.MAX_WBITS),
    # Stored as it is, in pieces: the first byte is that of an AVIF, too.
    "Deflate": b"\0" + struct.pack("<HH", 20, 0xFFFF - 20) + PNG[:20] + zlib.compress(PNG[20:], wbits=-zlib.MAX_WBITS),
}


@pytest.mark.parametrize("coding", PACKED)
@pytest.mark.parametrize("held", [16, fetching.HELD_BYTES], ids=["on disk", "in memory"])
def test_a_picture_that_was_packed_for_the_way_is_unpacked(
    download: Download, results: ResultServer, coding: str, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "HELD_BYTES", held)
    results.results = ["{url}/a.png"]
    results.answer = lambda _request: Reply(PACKED[coding], headers={"Content-Encoding": coding})

    assert download.run().state == "success"
    assert download.files[0]["bytes"] == len(PNG)


@pytest.mark.parametrize("first", ["aws-chunked", "identity"])
def test_a_picture_may_be_said_to_be_packed_in_several_lines(
    download: Download, results: ResultServer, first: str
) -> None:
    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: {first}\r\nContent-Encoding: gzip\r\n\r\n"
    results.results = ["{url}/a.png"]
    results.answer = lambda _request: CutAfterReading(head.encode() + gzip.compress(PNG))

    assert download.run().state == "success"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "sk-a-secret"])
@pytest.mark.parametrize("body", [b"\x0b\x02\x80packed\x03", b"\x28\xb5\x2f\xfd packed", b"\x1f\x8b", b"\x89"])
def test_how_a_picture_is_packed_is_said_where_nobody_unpacks_it(
    download: Download, results: ResultServer, coding: str, body: bytes
) -> None:
    results.results = ["{url}/a.png?sig=secret"]
    results.answer = lambda _request: Reply(body, headers={"Content-Encoding": coding})

    outcome = download.run()

    assert isinstance(outcome.error, UnsafeResultError)
    assert f"was not requested and cannot be unpacked ({coding.replace('sk-a-secret', 'unknown')})" in str(
        outcome.error
    )
    assert outcome.state == "failed"


@pytest.mark.parametrize("coding", ["gzip", "aws-chunked", "utf-8", "br", "gzip, gzip", "identity", ""])
def test_a_picture_that_is_only_called_packed_is_taken_as_it_is(
    download: Download, results: ResultServer, coding: str
) -> None:
    results.results = ["{url}/a.png"]
    results.answer = lambda _request: Reply(PNG, headers={"Content-Encoding": coding})

    assert download.run().state == "success"


def test_what_unpacks_without_end_is_cut_off_and_refused(
    download: Download, results: ResultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LARGEST_BYTES", 100_000)
    results.results = ["{url}/a.png"]
    results.answer = lambda _request: Reply(gzip.compress(bytes(2_000_000)), headers={"Content-Encoding": "gzip"})

    error = download.run().error

    assert isinstance(error, UnsafeResultError)
    assert "100,000 bytes" in error.message


@pytest.mark.parametrize(
    "content", [gzip.compress(PNG)[:-9], gzip.compress(PNG)[:20] + bytes(40)], ids=["cut", "broken"]
)
def test_what_cannot_be_unpacked_may_be_mended_by_a_retry(
    download: Download, results: ResultServer, content: bytes
) -> None:
    results.results = ["{url}/a.png"]
    results.answer = lambda _request: Reply(content, headers={"Content-Encoding": "gzip"})

    outcome = download.run()

    assert outcome.state == "up_for_retry"
    assert len(results.fetched) == fetching.ATTEMPTS


@pytest.mark.parametrize("member", [b"", bytes(300)], ids=["empty", "short"])
def test_a_body_of_short_members_without_number_holds_no_event_loop(
    download: Download, results: ResultServer, member: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.0

    class Timed(fetching._Body):
        def parts(self, chunk: bytes) -> Iterator[bytes]:
            nonlocal seconds
            began = time.thread_time()
            try:
                yield from super().parts(chunk)
            finally:
                seconds = max(seconds, time.thread_time() - began)

    monkeypatch.setattr(fetching, "_Body", Timed)
    packed = gzip.compress(member)
    content = packed * (3_000_000 // len(packed)) + gzip.compress(PNG)
    results.results = ["{url}/a.png"]
    results.answer = lambda _request: Reply(content, headers={"Content-Encoding": "gzip"})

    outcome = download.run()

    assert "too many short members" in str(outcome.error)
    assert seconds < 0.3


@pytest.mark.parametrize("length", [1, 3, 7])
@pytest.mark.parametrize("content", [PNG, gzip.compress(PNG)], ids=["whole", "packed"])
def test_the_first_bytes_decide_whether_it_is_packed_in_however_small_pieces_they_come(
    length: int, content: bytes
) -> None:
    body = fetching._Body("gzip")
    pieces = [content[start : start + length] for start in range(0, len(content), length)]

    assert b"".join(part for piece in pieces for part in body.parts(piece)) == PNG
    assert body.is_whole


def test_a_result_that_a_proxy_has_repacked_is_stored(download: Download, results: ResultServer) -> None:
    results.results = ["{url}/a.png"]
    results.answer = lambda _request: Reply(PNG, status=203)

    assert download.run().state == "success"


@pytest.mark.parametrize("status", [204, 206, 300, 302, 304])
def test_an_answer_that_is_neither_a_picture_nor_a_failure_is_asked_for_once(
    download: Download, results: ResultServer, status: int
) -> None:
    results.results = ["{url}/a.png"]
    results.answer = lambda _request: Reply(b"" if status in (204, 304) else PNG, status=status)

    outcome = download.run()

    assert outcome.state == "failed"
    assert f"answered HTTP {status}, which is no picture" in str(outcome.error)
    assert len(results.fetched) == 1


def test_what_lies_behind_the_end_of_what_is_packed_is_left_out_and_not_kept() -> None:
    body = fetching._Body("gzip")
    pieces = [gzip.compress(PNG), *[bytes(1000)] * 5]

    unpacked = b"".join(part for piece in pieces for part in body.parts(piece))

    assert unpacked == PNG
    assert body.is_whole
    assert body._unpacking is not None
    assert not body._unpacking.unused_data


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://cdn.example/@user/pic@2x.png?sig=1", "https://cdn.example/@user/pic@2x.png"),
        ("https://user:secret@cdn.example/a@10.0.0.5/x.png#part", "https://cdn.example/a@10.0.0.5/x.png"),
        ("https://user:secret@cdn.example?sig=1", "https://cdn.example"),
    ],
)
def test_an_address_is_shown_with_its_own_host_and_without_what_may_be_secret(url: str, expected: str) -> None:
    assert fetching.shown(url) == expected


@pytest.mark.parametrize(("wanted", "pauses"), [("12", [12.0]), ("999999999", [60.0]), ("-5", [0.5]), ("soon", [0.5])])
@pytest.mark.parametrize("status", [429, 503])
def test_a_store_is_left_alone_for_as_long_as_it_wants_but_not_for_ever(
    download: Download,
    results: ResultServer,
    status: int,
    wanted: str,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0.5)
    monkeypatch.setattr(fetching, "asyncio", pausing_with(sleep))
    results.results = ["{url}/a.png"]
    busy = Reply(b"", status=status, headers={"Retry-After": wanted})
    results.answer = lambda _request: busy if len(results.fetched) == 1 else None

    assert download.run().state == "success"
    assert slept == pauses


def test_a_store_that_stays_busy_says_how_long_it_wants_to_be_left_alone(
    download: Download, results: ResultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sleep(_seconds: float) -> None:
        pass

    monkeypatch.setattr(fetching, "asyncio", pausing_with(sleep))
    results.results = ["{url}/a.png"]
    results.answer = lambda _request: Reply(b"", status=429, headers={"Retry-After": "90"})

    outcome = download.run()

    assert outcome.state == "up_for_retry"
    assert isinstance(outcome.error, DownloadError)
    assert outcome.error.retry_after == 90


def test_all_of_one_picture_is_bounded_in_time(
    download: Download, results: ResultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LONGEST_SECONDS", 0.3)
    done = threading.Event()

    def answer(_request: ReceivedRequest) -> Reply:
        done.wait(60)
        return Reply(b"", status=503)

    results.results = ["{url}/a.png?sig=secret"]
    results.answer = answer
    outcome = download.run()
    done.set()

    assert outcome.state == "up_for_retry"
    assert "was not fetched within" in str(outcome.error)
    assert "secret" not in str(outcome.error)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
@pytest.mark.parametrize("way", ["directly", "by redirect"])
def test_an_address_that_expired_is_read_anew_within_the_try(
    download: Download, results: ResultServer, status: int, way: str
) -> None:
    results.records = [["{url}/a?sig=old", "{url}/b?sig=old"], ["{url}/a?sig=new", "{url}/b?sig=new"]]

    def answer(request: ReceivedRequest) -> Reply | None:
        if "old" not in request.target or request.target.startswith("/b"):
            return None
        if way == "by redirect" and "moved" not in request.target:
            return redirect(f"{request.target}&moved=1")
        return Reply(b"<Error/>", status=status)

    results.answer = answer
    outcome = download.run()

    assert outcome.state == "success", outcome.error
    assert [file["index"] for file in download.files] == [0, 1]
    assert results.asked == 2
    # The other picture was in place.
    assert len([target for target in results.targets if target.startswith("/b")]) == 1


@pytest.mark.parametrize(("status", "attempts"), [(403, 1), (410, 1), (404, fetching.ATTEMPTS)])
def test_a_result_that_is_gone_where_its_record_says_it_is_fails_and_a_retry_may_mend_it(
    download: Download, results: ResultServer, status: int, attempts: int
) -> None:
    results.results = ["{url}/a?sig=secret"]
    results.answer = lambda _request: Reply(b"", status=status)

    outcome = download.run()

    assert outcome.state == "up_for_retry"
    assert isinstance(outcome.error, ResultExpiredError)
    assert (outcome.error.billed, outcome.error.image_task_id) == ("yes", TASK_ID)
    assert "secret" not in str(outcome.error)
    assert (results.asked, len(results.fetched)) == (2, attempts)


LONGER = PNG + b"\xfb\xff\xbf\xff"
"""In base64, it has both characters that are others in URLs, and its end has to be filled."""
DATA_URLS = {
    "base64": f"data:image/png;base64,{base64.b64encode(PNG).decode()}",
    "upper case": f"DATA:image/png;BASE64,{base64.b64encode(PNG).decode()}",
    "percent-encoded": f"data:image/png,{quote(PNG)}",
    "both": f"data:image/png;base64,{quote(base64.b64encode(PNG).decode(), safe='')}",
    "large": f"data:image/png;base64,{base64.b64encode(PNG + bytes(60_000)).decode()}",
    "in lines": f"data:image/png;base64,{base64.encodebytes(LONGER).decode()}",
    "as in URLs": f"data:image/png;base64,{base64.urlsafe_b64encode(LONGER).decode()}",
    "without what fills its end": f"data:image/png;base64,{base64.b64encode(LONGER).decode().rstrip('=')}",
}


@pytest.mark.parametrize("service", ["acedatacloud", "kie"])
@pytest.mark.parametrize("form", DATA_URLS)
def test_a_picture_that_is_its_own_address_is_stored(
    download: Download, results: ResultServer, service: str, form: str
) -> None:
    download.fields = {"service": service}
    results.results = [DATA_URLS[form]]

    assert download.run().state == "success"
    assert download.files[0]["media_type"] == "image/png"
    assert results.fetched == []


@pytest.mark.parametrize("content", ["data:image/png;base64,???", "data:text/html,<script>", "data:", "data:,"])
def test_what_is_its_own_address_and_no_picture_is_not_stored(
    download: Download, results: ResultServer, content: str
) -> None:
    results.results = [content]

    error = download.run().error

    assert isinstance(error, DownloadError)
    assert error.image_task_id == TASK_ID


def test_what_is_its_own_address_is_bounded(
    download: Download, results: ResultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "LARGEST_BYTES", len(PNG) - 1)
    results.results = [DATA_URLS["base64"]]

    assert isinstance(download.run().error, UnsafeResultError)


def test_an_address_without_a_scheme_is_one_of_https_wherever_it_is_told() -> None:
    task = task_from_inline_id(inline(["//cdn.example/a.png?sig=1"]), "acedatacloud")

    assert [image.as_xcom()["url"] for image in task.images] == ["https://cdn.example/a.png?sig=1"]
