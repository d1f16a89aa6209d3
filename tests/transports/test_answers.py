"""Answers beyond all sense: refused as they come; what is large is read beside the event loop, or goes to a file."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.polling.waiting import Progress
from airflow_provider_imagetasks.services import exchange, wire
from airflow_provider_imagetasks.services.wire import AnswerFile, NoResponse, Request, Response, ask
from airflow_provider_imagetasks.transports import answers, open_async_transport
from airflow_provider_imagetasks.transports.answers import (
    TOO_MANY_HEADER_LINES,
    AnswerTooLargeError,
    ReceivedAnswer,
    ShortenedTexts,
)
from tests.driven_transports import DrivenTransport, account
from tests.polled_accounts import poller_of, watch
from tests.scripted_server import CutAfterReading, Reply, ScriptedServer, Step, Trickle

QUERY = Request(method="POST", path="/openai/tasks", body={})
MIB = 1024 * 1024
HOSTILE = {
    "empty objects": b'{"items":[' + b"{}," * 5 * MIB + b"{}]}",
    "lists in lists": b"[" * 16 * MIB,
    "names": b"{" + b'"":0,' * 3 * MIB + b'"":0}',
    "no JSON": b"," * 16 * MIB,
}
PICTURE = "iVBORw0KGgo" + "Ab9+/" * 400_000 + "=="
RECORD = {"id": "a", "finished_at": 5.5, "response": {"data": [{"b64_json": PICTURE}]}}
TEXTS = st.text(st.sampled_from('a"\\{[,:\n\0é你🎨'))
VALUES = st.recursive(st.none() | st.integers() | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner))
SIZES = st.integers(1, 60)


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_an_answer_of_millions_of_values_is_refused_before_it_is_read(driven: DrivenTransport, content: bytes) -> None:
    with ScriptedServer(Reply(content)) as server:
        answer = driven.ask(QUERY, account(server.url))

    assert isinstance(answer, NoResponse)
    assert (answer.reason, answer.may_have_left) == ("the answer was too large", True)


def test_a_worker_is_given_the_pictures_of_an_answer(driven: DrivenTransport) -> None:
    with ScriptedServer(Reply(RECORD)) as server:
        answer = driven.ask(QUERY, account(server.url))

    assert isinstance(answer, Response)
    assert answer.json() == RECORD


INTERIM = {
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "102": b"HTTP/1.1 102 Processing\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
    "several": b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n",
}


@pytest.mark.parametrize("interim", INTERIM.values(), ids=INTERIM)
def test_what_a_server_says_before_its_answer_is_passed_over(driven: DrivenTransport, interim: bytes) -> None:
    content = json.dumps({"task_id": "paid"}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(content)
    with ScriptedServer(CutAfterReading(interim + head + content)) as server:
        answer = driven.ask(QUERY, account(server.url))

    assert isinstance(answer, Response)
    assert (answer.status, answer.json()) == (200, {"task_id": "paid"})


@pytest.mark.parametrize("repeated", [INTERIM["100"], INTERIM["103"]], ids=["100", "103"])
def test_a_server_that_never_comes_to_its_answer_is_cut_off(driven: DrivenTransport, repeated: bytes) -> None:
    with ScriptedServer(Trickle(head=b"", repeated=repeated, between=0.01)) as server:
        answer = driven.ask(QUERY, account(server.url, request_timeout=0.3))

    assert isinstance(answer, NoResponse)
    assert (answer.reason, answer.may_have_left) == ("the answer took too long", True)


LENGTH = b"Content-Length: 2\r\nConnection: close\r\n"
NO_HTTP = "the answer is not HTTP as it should be, and cannot be read"
LONG_LINE = "the answer has a header line that is too long"
HEADS: dict[str, tuple[bytes, str | None]] = {
    "99 lines": (b"X: y\r\n" * 97 + LENGTH, None),
    "100 lines": (b"X: y\r\n" * 98 + LENGTH, TOO_MANY_HEADER_LINES),
    "200 lines": (b"X: y\r\n" * 198 + LENGTH, TOO_MANY_HEADER_LINES),
    "long": (b"X: " + b"y" * 40_000 + b"\r\n" + LENGTH, None),
    "too long": (b"X: " + b"y" * 70_000 + b"\r\n" + LENGTH, LONG_LINE),
    "no colon": (b"nothing\r\n" + LENGTH, NO_HTTP),
    "no colon at the end": (LENGTH + b"nothing\r\n", NO_HTTP),
    "no name": (b": y\r\n" + LENGTH, NO_HTTP),
    "a blank before the colon": (b"X : y\r\n" + LENGTH, NO_HTTP),
    "a name that is none": (b"X(y): z\r\n" + LENGTH, NO_HTTP),
    "begins with a blank": (b" X: y\r\n" + LENGTH, None),
    "NUL": (b"X: y\0z\r\n" + LENGTH, NO_HTTP),
    "NUL in a name": (b"X\0: z\r\n" + LENGTH, NO_HTTP),
    "folded": (b"X: y\r\n  z\r\n" + LENGTH, None),
    "empty value": (b"X:\r\n" + LENGTH, None),
    "other letters": (b"X: \xe9\xff\r\n" + LENGTH, None),
    "a multipart without a boundary": (b"Content-Type: multipart/mixed\r\n" + LENGTH, None),
    "line feeds alone": (b"X: y\nContent-Length: 2\nConnection: close\n", None),
}


@pytest.mark.parametrize(("head", "reason"), HEADS.values(), ids=HEADS)
def test_an_odd_head_is_read_alike_on_a_worker_and_on_a_triggerer(
    driven: DrivenTransport, head: bytes, reason: str | None
) -> None:
    with ScriptedServer(CutAfterReading(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n{}")) as server:
        answer = driven.ask(QUERY, account(server.url))

    if reason is None:
        assert isinstance(answer, Response)
        assert answer.json() == {}
    else:
        assert isinstance(answer, NoResponse)
        assert (answer.reason, answer.may_have_left) == (reason, True)


@pytest.mark.parametrize("line", [b"HTTP/9 yes\r\n", b"<html>\r\n", b"HTTP/1.1 two hundred\r\n"])
def test_an_answer_that_does_not_begin_as_one_is_told_alike(driven: DrivenTransport, line: bytes) -> None:
    with ScriptedServer(CutAfterReading(line + LENGTH + b"\r\n{}")) as server:
        answer = driven.ask(QUERY, account(server.url))

    assert isinstance(answer, NoResponse)
    assert (answer.reason, answer.may_have_left) == (NO_HTTP, True)


def raw_deflate(content: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(content) + packing.flush()


BOMB = gzip.compress(bytes(8 * MIB))
CONTENT = json.dumps({"task_id": "paid", "more": "x" * 3_000_000}).encode()
PACKED = gzip.compress(CONTENT)
PACKINGS: dict[str, tuple[str, bytes, str | None]] = {
    "gzip": ("gzip", PACKED, None),
    "GZIP": ("GZIP", PACKED, None),
    "x-gzip": ("x-gzip", PACKED, None),
    "deflate": ("deflate", zlib.compress(CONTENT), None),
    "raw deflate": ("deflate", raw_deflate(CONTENT), None),
    "gzip, gzip": ("gzip, gzip", gzip.compress(PACKED), None),
    "deflate, gzip": ("deflate, gzip", gzip.compress(zlib.compress(CONTENT)), None),
    "identity": ("identity", CONTENT, None),
    "two members": ("gzip", gzip.compress(CONTENT[:100]) + gzip.compress(CONTENT[100:]), None),
    "zeros behind it": ("gzip", PACKED + bytes(100), None),
    "brotli": ("br", CONTENT, "the answer has a content encoding that was not requested"),
    "many": ("gzip, gzip, gzip, gzip", CONTENT, "the answer has a content encoding that was not requested"),
    "not packed": ("gzip", CONTENT, "the answer is compressed, but cannot be unpacked"),
    "cut": ("gzip", PACKED[:-20], "the answer is compressed, but its end is missing"),
}


@pytest.mark.parametrize(("coding", "content", "reason"), PACKINGS.values(), ids=PACKINGS)
def test_packed_answers_are_read_alike_on_a_worker_and_on_a_triggerer(
    driven: DrivenTransport, coding: str, content: bytes, reason: str | None
) -> None:
    with ScriptedServer(Reply(content, headers={"Content-Encoding": coding})) as server:
        answer = driven.ask(QUERY, account(server.url))

    assert server.requests[0].headers["Accept-Encoding"] == "gzip, deflate"
    if reason is None:
        assert isinstance(answer, Response)
        assert answer.content == CONTENT
    else:
        assert isinstance(answer, NoResponse)
        assert (answer.reason, answer.may_have_left) == (reason, True)


@pytest.mark.parametrize(
    ("coding", "content", "reason"),
    [
        pytest.param("gzip", BOMB, "the answer was too large", id="a bomb"),
        pytest.param("gzip, gzip", gzip.compress(BOMB), "the answer was too large", id="a bomb in a bomb"),
        pytest.param("gzip", gzip.compress(b"") * 50_000, None, id="members without number"),
    ],
)
def test_what_gets_large_only_when_it_is_unpacked_is_refused_in_little_time(
    driven: DrivenTransport, coding: str, content: bytes, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "LARGEST_ANSWER", 4 * MIB)
    with ScriptedServer(Reply(content, headers={"Content-Encoding": coding})) as server:
        began_at = time.process_time()
        answer = driven.ask(QUERY, account(server.url))

    assert time.process_time() - began_at < 5
    if reason is not None:
        assert isinstance(answer, NoResponse)
        assert answer.reason == reason


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that parsed an answer."""
    threads: list[str] = []

    def loads(content: bytes) -> Any:
        threads.append(threading.current_thread().name)
        return json.loads(content)

    monkeypatch.setattr(wire, "json", SimpleNamespace(loads=loads, dumps=json.dumps))
    return threads


async def test_a_large_answer_is_read_in_a_thread_and_a_small_one_where_it_came(
    readers: list[str], no_proxy: None
) -> None:
    with ScriptedServer(Reply({"id": "a"}), Reply(RECORD)) as server:
        async with open_async_transport(account(server.url)) as transport:
            small, large = [await transport.run(ask(QUERY)) for _ in range(2)]

    assert isinstance(small, Response)
    assert isinstance(large, Response)
    assert large.json()["id"] == small.json()["id"] == "a"
    assert readers[0] == threading.current_thread().name
    assert len(readers) == 2
    assert readers[1] != readers[0]


async def test_a_triggerer_leaves_pictures_out_as_they_come_in(readers: list[str], no_proxy: None) -> None:
    pictures = {"response": {"data": [{"b64_json": PICTURE}] * 4}}
    with ScriptedServer(Reply({**RECORD, **pictures})) as server:
        assert await asyncio.wait_for(poller_of(server.url).wait(Progress(watch("a")), first_pause=0), 60) == "done"

    assert readers == [threading.current_thread().name]


async def test_a_triggerer_refuses_what_is_large_and_no_picture(no_proxy: None) -> None:
    wordy = Reply({**RECORD, "response": {"data": [], "said": ["a b " * 50_000] * 100}})
    with ScriptedServer(wordy, otherwise=lambda _request: Reply(RECORD)) as server:
        wait = poller_of(server.url).wait(Progress(watch("a", interval=0.05)), first_pause=0)
        assert await asyncio.wait_for(wait, 60) == "done"

        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "reason",
    [
        "out of paint, again: [no] " * 350_000,
        "\u4f60\U0001f3a8" * 150_000,
        '\\"' * 400_000,
        "\n" * 900_000,
        "\x7f\0" * 300_000,
    ],
    ids=["words", "other letters", "quotes", "lines", "control characters"],
)
@pytest.mark.parametrize("ensure_ascii", [True, False], ids=["escaped", "as it is"])
def test_of_a_very_long_text_the_beginning_is_read_where_nobody_wants_pictures(
    driven: DrivenTransport, reason: str, ensure_ascii: bool
) -> None:
    driven.keeps_pictures = False
    record = {"id": "a", "error": {"message": reason, "code": "api_error"}, "finished_at": 5.5}
    with ScriptedServer(Reply(json.dumps(record, ensure_ascii=ensure_ascii).encode())) as server:
        answer = driven.ask(QUERY, account(server.url))

    assert isinstance(answer, Response), answer
    assert len(answer.content) < 2 * MIB
    read = answer.json()
    assert reason.startswith(read["error"].pop("message")[:-1])
    assert read == {"id": "a", "error": {"code": "api_error"}, "finished_at": 5.5}


@pytest.mark.parametrize("service", ["acedatacloud", "kie"])
async def test_a_triggerer_learns_that_an_image_task_failed_in_however_many_words(service: str, no_proxy: None) -> None:
    words = "out of paint, again: [no] " * 350_000
    failed = {
        "acedatacloud": {"id": "a", "finished_at": 5.5, "response": {"error": {"code": "api_error", "message": words}}},
        "kie": {"code": 200, "data": {"taskId": "a", "state": "fail", "failMsg": words, "failCode": "500"}},
    }
    with ScriptedServer(Reply(failed[service])) as server:
        wait = poller_of(server.url, service=service).wait(Progress(watch("a")), first_pause=0)
        assert await asyncio.wait_for(wait, 60) == "done"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b'{"items":[' + b"{}," * 40_000 + b"{}]}", "too many values", id="values"),
        pytest.param(b'{"a":"' + b'\\",' * 600_000, "Unterminated", id="a text of quotes without an end"),
        pytest.param(b'{"a":"' + b'\\",' * 600_000 + b"\\", "Unterminated", id="and a backslash"),
    ],
)
def test_what_is_no_answer_by_its_values_is_not_read_and_takes_little_time(
    driven: DrivenTransport, content: bytes, why: str
) -> None:
    with ScriptedServer(Reply(content)) as server:
        began_at = time.process_time()
        answer = driven.ask(QUERY, account(server.url))

    assert isinstance(answer, Response)
    with pytest.raises(ValueError, match=why):
        answer.json()
    assert time.process_time() - began_at < 20


@pytest.mark.parametrize(
    "prompt",
    ["red, " * 6_400, json.dumps({"sky": ["red", "blue"]}) * 1_100, "\u98a8\u7b8f" * 16_000],
    ids=["words", "JSON", "other letters"],
)
@pytest.mark.parametrize("keeps_pictures", [True, False])
def test_prompts_may_hold_whatever_they_like(driven: DrivenTransport, prompt: str, keeps_pictures: bool) -> None:
    driven.keeps_pictures = keeps_pictures
    records = {"items": [{"id": str(number), "request": {"prompt": prompt}} for number in range(50)]}
    with ScriptedServer(Reply(records)) as server:
        answer = driven.ask(QUERY, account(server.url))

    assert isinstance(answer, Response), answer
    assert answer.json() == records


def pieces_of(content: bytes, size: int) -> Iterator[bytes]:
    yield from (content[start : start + size] for start in range(0, len(content), size))


@pytest.mark.parametrize("size", [1_000, 65_536, 300_001, 10**9])
def test_what_is_left_without_pictures_is_the_same_answer(size: int) -> None:
    texts = {
        "prompt": 'ein Drachen, rot; 風箏 \\ " \n' * 1_000,
        "escaped": "\u4f60\u597d" * 16_000,
        "url": "https://x.example/a.png?X-Amz-Security-Token=" + "Ab9%2F" * 2_700,
        "short": "Ab9+/" * 3_000,
    }
    content = json.dumps({**texts, "data": [{"b64_json": PICTURE}, {"b64_json": f"data:image/png;base64,{PICTURE}"}]})

    with ReceivedAnswer(account("https://x.example"), keeps_pictures=False) as received:
        for piece in pieces_of(content.encode(), size):
            received.add(piece)
        kept = received.take()

    answer = json.loads(kept)
    assert len(kept) < (5 if size < 65_536 else 1) * MIB
    assert {name: answer[name] for name in texts} == texts
    assert all(picture["b64_json"] for picture in answer["data"])


def test_all_answers_together_are_bounded_and_give_their_room_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LARGEST_TOTAL", answers._total._bytes + 3 * MIB)
    mine = account("https://x.example")

    for _ in range(3):
        with ReceivedAnswer(mine) as first, ReceivedAnswer(mine) as second:
            first.add(b"x" * 2 * MIB)
            with pytest.raises(AnswerTooLargeError):
                second.add(b"x" * 2 * MIB)
        with ReceivedAnswer(mine) as alone:
            alone.add(b"x" * 2 * MIB)
            assert len(alone.take()) == 2 * MIB


@pytest.fixture
def file(tmp_path: Path) -> AnswerFile:
    """Where an answer is to go that no memory holds."""
    return AnswerFile(path=tmp_path / "answer", most_bytes=8 * MIB)


def streaming(file: AnswerFile) -> Request:
    return Request(method="GET", path="/files/a/content", streams_to=file)


def test_an_answer_that_is_larger_than_any_that_is_held_is_streamed_to_a_file(
    driven: DrivenTransport, file: AnswerFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("LARGEST_ANSWER", "LARGEST_WITHOUT_PICTURES", "LARGEST_TOTAL", "MOST_MARKS"):
        monkeypatch.setattr(answers, limit, 1_000)
    content = json.dumps([RECORD] * 3).encode()
    file.path.write_bytes(b"of an earlier request" * MIB)
    with ScriptedServer(Reply(content)) as server:
        answer = driven.ask(streaming(file), account(server.url))

    assert isinstance(answer, Response)
    assert (answer.status, answer.content) == (200, b"")
    assert file.path.read_bytes() == content


@pytest.mark.parametrize("status", [404, 503, 302])
def test_an_answer_that_is_no_success_is_read_as_ever_and_leaves_no_file(
    driven: DrivenTransport, file: AnswerFile, status: int
) -> None:
    with ScriptedServer(Reply({"error": "no such file"}, status=status)) as server:
        answer = driven.ask(streaming(file), account(server.url))

    assert isinstance(answer, Response)
    assert (answer.status, answer.json()) == (status, {"error": "no such file"})
    assert not file.path.exists()


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000
NOT_WHOLE: dict[str, tuple[Step, dict[str, Any], float, str]] = {
    "cut": (CutAfterReading(HALF), {}, 60, "the connection was cut"),
    "too large": (Reply(b"x" * MIB), {"most_bytes": MIB - 1}, 60, "the answer was too large"),
    "silent": (Trickle(head=HALF, between=60), {}, 0.4, "the answer took too long"),
    "too slow": (Trickle(between=0.01), {"seconds": 0.2}, 60, "the answer took too long"),
}


@pytest.mark.parametrize(("step", "limits", "request_timeout", "reason"), NOT_WHOLE.values(), ids=NOT_WHOLE)
def test_of_an_answer_that_does_not_come_whole_no_file_is_left(
    driven: DrivenTransport,
    file: AnswerFile,
    step: Step,
    limits: dict[str, Any],
    request_timeout: float,
    reason: str,
) -> None:
    with ScriptedServer(step) as server:
        answer = driven.ask(streaming(replace(file, **limits)), account(server.url, request_timeout=request_timeout))

    assert isinstance(answer, NoResponse)
    assert answer.reason.startswith(reason)
    assert answer.may_have_left
    assert not file.path.exists()


def test_an_answer_into_a_file_may_take_longer_than_others_as_long_as_it_comes(
    driven: DrivenTransport, file: AnswerFile
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\nConnection: close\r\n\r\n"
    # All of it takes longer than a request may, and no byte of it nearly so long, on a machine with much to do too.
    with ScriptedServer(Trickle(head=head, between=0.12)) as server:
        answer = driven.ask(streaming(file), account(server.url, request_timeout=3))

    assert isinstance(answer, Response)
    assert file.path.read_bytes() == b" " * 30


def test_a_file_that_cannot_be_written_ends_the_question_with_its_reason(
    driven: DrivenTransport, file: AnswerFile
) -> None:
    nowhere = replace(file, path=file.path / "answer")
    with ScriptedServer(Reply(b"x")) as server:
        error = driven.outcome(
            exchange.read(streaming(nowhere), lambda answer: answer, service="acedatacloud"), account(server.url)
        )

    assert type(error) is ImageTaskError
    assert f"An answer cannot be kept in {nowhere.path}: No such file or directory" in error.message
    assert (error.billed, error.retryable) == ("unknown", False)


def left_of(value: Any, size: int, *, ensure_ascii: bool) -> Any:
    content = json.dumps(value, ensure_ascii=ensure_ascii).encode()
    shortened = ShortenedTexts()
    return json.loads(b"".join(shortened.of(content[at : at + size]) for at in range(0, len(content), size)))


@given(value=VALUES, size=SIZES, ensure_ascii=st.booleans())
def test_what_is_not_long_stays_as_it_is(value: Any, size: int, ensure_ascii: bool) -> None:
    assert left_of(value, size, ensure_ascii=ensure_ascii) == value


@given(text=TEXTS, size=SIZES, ensure_ascii=st.booleans())
def test_of_what_is_long_the_beginning_stays_and_all_that_is_around_it(
    text: str, size: int, ensure_ascii: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "MOST_OF_A_TEXT", 20)
        left = left_of({"before": 1, "text": text, "after": {"more": "x"}}, size, ensure_ascii=ensure_ascii)

    kept = left.pop("text")
    # Where it was cut between the two halves of a character, one of them stays.
    assert text.startswith(kept.rstrip("\ud83c"))
    assert len(kept) < 20 + size + 12
    assert left == {"before": 1, "after": {"more": "x"}}
