"""Answers that are read line by line: whole lines, whatever pieces they come in, and of a long one its beginning."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest
from multidict import CIMultiDict

from airflow_provider_imagetasks.exceptions import ServiceUnavailableError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import Request
from airflow_provider_imagetasks.transports import open_async_transport
from airflow_provider_imagetasks.transports.streamed_answer import Line, StreamedAnswer
from tests.scripted_server import CutAfterReading, Reply, ScriptedServer


class Answered:
    """Stands for what the HTTP client has: a head, and pieces that come."""

    def __init__(self, *pieces: bytes, status: int = 200, headers: Any = None) -> None:
        self.status, self.headers, self._pieces = status, CIMultiDict(headers or {}), pieces
        self.content = self

    async def iter_any(self) -> Any:
        for piece in self._pieces:
            yield piece


def lines_of(answered: Answered, most: int = 100, kept: int = 4) -> list[Line]:
    async def read() -> list[Line]:
        answer = StreamedAnswer(answered, [])  # type: ignore[arg-type]
        return [line async for line in answer.lines(most, kept)]

    return asyncio.run(read())


@pytest.mark.parametrize("size", [1, 2, 3, 5, 50])
def test_lines_are_whole_whatever_pieces_they_come_in(size: int) -> None:
    content = b"one\n\nthree and more\nlast"
    pieces = [content[start : start + size] for start in range(0, len(content), size)]

    lines = lines_of(Answered(*pieces))

    assert [(line.content, line.ends_at, line.is_last) for line in lines] == [
        (b"one", 4, False),
        (b"", 5, False),
        (b"three and more", 20, False),
        (b"last", 24, True),
    ]


@pytest.mark.parametrize("size", [1, 7, 40, 400])
def test_of_a_line_that_is_too_long_its_beginning_is_kept_and_the_next_is_whole(size: int) -> None:
    content = b"abcdefgh" * 40 + b"\nnext\n"
    pieces = [content[start : start + size] for start in range(0, len(content), size)]

    first, second = lines_of(Answered(*pieces))

    assert (first.content, first.is_cut, first.ends_at) == (b"abcd", True, 321)
    assert (second.content, second.is_cut, second.ends_at) == (b"next", False, 326)


def test_a_part_of_an_answer_counts_from_where_it_says_it_begins() -> None:
    answered = Answered(b"rest\n", status=206, headers={"Content-Range": "bytes 100-104/105"})

    assert [line.ends_at for line in lines_of(answered)] == [105]


def test_an_answer_that_is_cut_off_is_an_error(no_proxy: None) -> None:
    cut = CutAfterReading(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\none\ntwo\nthr")

    async def read(url: str) -> None:
        account = Account(conn_id="c", service="local", base_url=url)
        request = Request(method="GET", path="/file")
        async with open_async_transport(account) as transport, transport.stream(request) as answer:
            async for _ in answer.lines(100):
                pass

    with ScriptedServer(otherwise=cut) as server, pytest.raises(ServiceUnavailableError, match="to its end"):
        asyncio.run(read(server.url))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_was_packed_for_the_way_although_nobody_asked_for_it_is_unpacked(size: int) -> None:
    packed = gzip.compress(b"one\ntwo\n")
    pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
    answered = Answered(*pieces, headers=[("Content-Encoding", "identity"), ("Content-Encoding", "gzip")])

    assert [line.content for line in lines_of(answered)] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", gzip.compress(b"one\n" * 100)[:-9]), ("gzip", b"no such thing"), ("br", b"one\n")],
    ids=["cut", "something else", "unknown"],
)
@pytest.mark.usefixtures("no_proxy")
def test_what_cannot_be_unpacked_is_an_error_and_nothing_is_asked_for_packed(coding: str, body: bytes) -> None:
    async def read(url: str) -> None:
        account = Account(conn_id="c", service="local", base_url=url)
        request = Request(method="GET", path="/file")
        async with open_async_transport(account) as transport, transport.stream(request) as answer:
            async for _ in answer.lines(100):
                pass

    reply = Reply(body, headers={"Content-Encoding": coding})
    with ScriptedServer(otherwise=lambda _request: reply) as server:
        with pytest.raises(ServiceUnavailableError, match=r"compressed|content encoding"):
            asyncio.run(read(server.url))
        assert server.requests[0].headers["Accept-Encoding"] == "identity"
