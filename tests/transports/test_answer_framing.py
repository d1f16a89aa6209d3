"""Answers that are hardly HTTP: a worker and a triggerer read the same ones, and refuse those that may have been cut.

Where an answer is whole, however sloppy its frame, either may read it: it holds the id of what is paid for.
"""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.exceptions import ServiceUnavailableError, UnknownOutcomeError
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.driven_transports import DrivenTransport, account
from tests.scripted_server import CutAfterReading, ScriptedServer

REQUEST = ImageRequest(prompt="a red kite", model="gpt-image-2")
BODY = b'{"task_id":"a"}'
OK, LENGTH, CHUNKED = b"HTTP/1.1 200 OK\r\n", b"Content-Length: 15\r\n", b"Transfer-Encoding: chunked\r\n"
WHOLE = LENGTH + b"\r\n" + BODY
CHUNK, LAST = b"f\r\n" + BODY + b"\r\n", b"0\r\n\r\n"


def in_chunks(*parts: bytes) -> bytes:
    return OK + CHUNKED + b"\r\n" + b"".join(parts)


READ: dict[str, bytes] = {
    "without a reason": b"HTTP/1.1 200\r\n" + WHOLE,
    "with an empty reason": b"HTTP/1.1 200 \r\n" + WHOLE,
    "with a reason in any letters": b"HTTP/1.1 200 tr\xe8s \x01\r\n" + WHOLE,
    "of HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
    "after interim ones": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: <a>\r\n\r\n" + OK + WHOLE,
    "with bare line feeds": b"HTTP/1.1 200 OK\nX: y\nContent-Length: 15\n\n" + BODY,
    "with folded headers": OK + b"X: y\r\n z\r\nContent-Length:\r\n 15\r\n\r\n" + BODY,
    "with a folded coding": OK + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNK + LAST,
    "with blanks around a coding": OK + b"Transfer-Encoding: \tChunked \r\n\r\n" + CHUNK + LAST,
    "with blanks around a length": OK + b"Content-Length:\t015 \r\n\r\n" + BODY,
    "with other controls in a header": OK + b"X: \x01\x1b\x7f\xff\r\n" + WHOLE,
    "until it is closed": OK + b"\r\n" + BODY,
    "with a line behind it": OK + WHOLE + b"\r\n",
    "with another one behind it": OK + WHOLE + OK + LENGTH + b"\r\n" + BODY.replace(b"a", b"b"),
    "in chunks": in_chunks(CHUNK, LAST),
    "in chunks of a byte": in_chunks(*(b"01\r\n" + bytes([each]) + b"\r\n" for each in BODY), b"000\r\n\r\n"),
    "in chunks with extensions": in_chunks(b'F ;x;y=z;q="a b;c"\r\n' + BODY + b"\r\n", b"0;x\r\n\r\n"),
    "in chunks with trailers": in_chunks(CHUNK, b"0\r\nX: y\r\nZ:\r\n\r\n"),
}
HEADS: dict[str, bytes] = {
    "in chunks and with a length": OK + CHUNKED + LENGTH + b"\r\n" + CHUNK + LAST,
    "with a length and in chunks": OK + LENGTH + CHUNKED + b"\r\n" + CHUNK + LAST,
    "in two codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNK + LAST,
    "in chunks twice": OK + CHUNKED + CHUNKED + b"\r\n" + CHUNK + LAST,
    "in no chunks though it says so": OK + b"Transfer-Encoding: xchunked\r\n\r\n" + BODY,
    "in another coding": OK + b"Transfer-Encoding: identity\r\n" + WHOLE,
    **{f"of {version}": f"{version} 200 OK\r\n".encode() + WHOLE for version in ("HTTP/2", "HTTP/2.0", "ICY")},
    **{f"of status {word}": f"HTTP/1.1 {word} OK\r\n".encode() + WHOLE for word in ("099", "000", "20", "2_0", "2000")},
    "with a bare return in a header": OK + b"X: y\rContent-Length: 3\r\n" + WHOLE,
    "with NUL in a header": OK + b"X: \0\r\n" + WHOLE,
    "whose head does not end": OK + LENGTH,
    "whose status line does not end": b"HTTP/1.1 20",
}
LENGTHS = ("", "+15", "-15", "1_5", "0x0f", "15.0", "15 15", "15, 15", ",15", "1\r\n 5", "\x0b15", "\xa015", "1\xb2")
HEADS |= {f"with {each!r} for a length": OK + f"Content-Length: {each}\r\n\r\n".encode() + BODY for each in LENGTHS}
BODIES: dict[str, bytes] = {
    "that is shorter than it says": OK + b"Content-Length: 16\r\n\r\n" + BODY,
    "with a length twice": OK + LENGTH + WHOLE,
    "in chunks that do not end": in_chunks(CHUNK),
    "in a chunk that is too short": in_chunks(b"e\r\n" + BODY + b"\r\n", LAST),
    "in chunks without ends": in_chunks(b"f\r\n" + BODY, LAST),
}
SIZES = ("", "g", "-f", "f" * 17)
BODIES |= {f"in chunks of size {size!r}": in_chunks(CHUNK.replace(b"f", size.encode(), 1), LAST) for size in SIZES}


@pytest.mark.parametrize("answer", READ.values(), ids=READ)
def test_what_is_http_is_read_by_both(driven: DrivenTransport, answer: bytes) -> None:
    with ScriptedServer(CutAfterReading(answer)) as server:
        task = driven.outcome(AceDataCloud().submit(REQUEST), account(server.url))

    assert task.id == "a"
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [*HEADS.values(), *BODIES.values()], ids=[*HEADS, *BODIES])
def test_what_is_none_is_read_by_neither_and_leaves_unknown_whether_a_picture_is_paid_for(
    driven: DrivenTransport, answer: bytes
) -> None:
    with ScriptedServer(*[CutAfterReading(answer)] * 2) as server:
        submitted = driven.outcome(AceDataCloud().submit(REQUEST), account(server.url))
        read = driven.outcome(AceDataCloud().read_one("a"), account(server.url))

    assert [type(error) for error in (submitted, read)] == [UnknownOutcomeError, ServiceUnavailableError]
    assert len(server.requests) == 2
