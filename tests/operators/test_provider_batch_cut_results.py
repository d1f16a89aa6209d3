"""Files of results of which a part never came, or came in one piece: read again for nothing, and never made again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_imagetasks.batch import modes
from tests.provider_batch import ProviderBatch
from tests.scripted_batches import Line, ScriptedBatches, made, result, text
from tests.scripted_server import CutAfterReading, ReceivedRequest, Reply, Step

pytestmark = pytest.mark.parametrize("service_name", ["openai"], indirect=True)
PROMPTS = ["a boat", "a kite", "a tree"]
LINE = 325
"""Bytes of the line of each."""
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
CUTS: dict[str, Callable[[bytes, int], Step]] = {
    "as if it were whole": lambda content, end: Reply(content[:end]),
    "of unknown length": lambda content, end: CutAfterReading(HEAD + b"\r\n" + content[:end]),
    "and so its connection": lambda content, end: CutAfterReading(
        HEAD + b"Content-Length: %d\r\n\r\n" % len(content) + content[:end]
    ),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize(
    "end",
    [0, 40, LINE - 100, LINE - 1, LINE, LINE + 1, LINE + 62, 2 * LINE, 3 * LINE - 2],
    ids=lambda end: f"{end % LINE} bytes into line {end // LINE + 1}",
)
def test_wherever_it_is_cut_no_row_is_made_again_and_the_whole_file_delivers_all(
    provider_batch: ProviderBatch, service: ScriptedBatches, cut: Callable[[bytes, int], Step], end: int
) -> None:
    def answer(request: ReceivedRequest) -> Step | None:
        usual = service.usual(request) if request.path.endswith("/content") else None
        return cut(usual.content, end) if isinstance(usual, Reply) else None

    service.answer = answer

    outcomes = [
        provider_batch.start(*PROMPTS, try_number=1),
        provider_batch.start(*PROMPTS, try_number=2),
        # A Clear.
        provider_batch.start(*PROMPTS, try_number=3, max_tries=4),
    ]

    # A line that lacks nothing but its end is whole, unless more of the file is known to be missing.
    come = (end + (cut is not CUTS["and so its connection"])) // LINE
    assert [outcome.state for outcome in outcomes] == ["up_for_retry"] * 3
    assert [each[0] if each else None for each in provider_batch.errors] == [None] * come + ["DownloadError"] * (
        3 - come
    )
    assert "no" not in [each[1] for each in provider_batch.errors if each]
    service.answer = lambda _request: None
    assert provider_batch.start(*PROMPTS, try_number=4, max_tries=4).state == "success"
    assert (service.prompts, provider_batch.pictures) == (PROMPTS, 3)


NO_FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "its results hold 0, and none of this row"),
    "a page of a proxy": (b"<html>\n<h1>502</h1>", "lines that cannot be read (the first: '<html>')"),
    "an error": (b'{"error": {"message": "try again"}}', """(the first: '{"error": {"message": "try again"}}')"""),
}


@pytest.mark.parametrize(("content", "words"), NO_FILES.values(), ids=NO_FILES)
def test_what_comes_in_place_of_the_file_is_told_and_the_file_is_read_by_a_retry(
    provider_batch: ProviderBatch,
    service: ScriptedBatches,
    content: bytes,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, service.results = service.results, lambda _lines: content

    assert provider_batch.start(*PROMPTS).state == "up_for_retry"
    assert provider_batch.errors == [("DownloadError", "unknown")] * 3
    assert words in " ".join(capsys.readouterr().out.split())
    service.results = whole
    assert provider_batch.start(*PROMPTS, try_number=2).state == "success"
    assert service.prompts == PROMPTS


JOINED: dict[str, Callable[[list[Line]], bytes]] = {
    "two": lambda lines: text([made(line) for line in lines]).replace(b"\n", b"", 1),
    "all": lambda lines: text([made(line) for line in lines]).replace(b"\n", b""),
    "with blanks between": lambda lines: text([made(line) for line in lines]).replace(b"\n", b" \r\t"),
}


@pytest.mark.parametrize("results", JOINED.values(), ids=JOINED)
def test_results_that_share_a_line_are_delivered_each_to_its_row(
    provider_batch: ProviderBatch,
    service: ScriptedBatches,
    results: Callable[[list[Line]], bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    service.results = results

    outcome = provider_batch.start(*PROMPTS)

    assert outcome.state == "success", outcome.error
    assert (service.prompts, provider_batch.pictures) == (PROMPTS, 3)
    assert "were on shared lines, without line breaks. Each was read separately." in " ".join(
        capsys.readouterr().out.split()
    )


def test_of_results_that_share_a_line_the_one_that_is_cut_fails_alone(
    provider_batch: ProviderBatch, service: ScriptedBatches
) -> None:
    def results(lines: list[Line]) -> bytes:
        boat, kite, tree = (text([made(line)]) for line in lines)
        return boat[:-1] + kite[:-40] + b"\n" + tree

    service.results = results

    provider_batch.start(*PROMPTS)

    assert provider_batch.errors == [None, ("DownloadError", "yes"), None]


def test_a_damaged_line_of_an_error_is_no_picture_that_was_paid_for_and_is_read_once_more(
    provider_batch: ProviderBatch, service: ScriptedBatches
) -> None:
    def error(lines: list[Line]) -> bytes:
        refused = {"status_code": 400, "body": {"error": {"code": "moderation_blocked", "message": "no"}}}
        return text([result(line["custom_id"], refused) for line in lines[2:]])

    service.results = lambda lines: text([made(line) for line in lines[:2]])
    service.errors = lambda lines: error(lines)[:-40]
    service.record = lambda _lines: {"request_counts": {"total": 3, "completed": 2, "failed": 1}}

    provider_batch.start(*PROMPTS)
    assert provider_batch.errors == [None, None, ("DownloadError", "unknown")]
    service.errors = error
    provider_batch.start(*PROMPTS, try_number=2)
    assert provider_batch.errors == [None, None, ("ContentPolicyError", "no")]
    assert service.prompts == PROMPTS


def test_a_batch_that_never_begins_runs_out_of_time_in_the_words_of_the_service_and_is_waited_for_again(
    provider_batch: ProviderBatch, service: ScriptedBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modes, "SHORTEST_PROVIDER_TIMEOUT", 0)
    service.record = lambda _lines: {"status": "validating", "output_file_id": None, "request_counts": {}}

    provider_batch.start(*PROMPTS, timeout=0.1)

    assert provider_batch.errors == [("ImageTaskTimeoutError", "unknown")] * 3
    assert "It is not finished (validating) 0 s after" in provider_batch.rows[0]["error"]["message"]
    service.record = lambda _lines: {}
    assert provider_batch.start(*PROMPTS, try_number=2, max_tries=3).state == "success"
    assert service.prompts == PROMPTS
