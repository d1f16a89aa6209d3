"""Results of provider batches that are damaged, odd or gone: typed row by row, nothing lost, nothing paid twice."""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.batch.provider import results
from airflow_provider_imagetasks.exceptions import InvalidRequestError
from tests.provider_batch import ProviderBatch

pytestmark = pytest.mark.parametrize("service_name", ["openai"], indirect=True)


@pytest.mark.parametrize("odd", ["foreign", "twice"])
def test_lines_of_something_else_and_second_lines_of_a_row_change_nothing(
    provider_batch: ProviderBatch, odd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = ["a boat", f"a kite [line={odd}]", "a tree"]

    assert provider_batch.start(*prompts).state == "success"
    assert provider_batch.created == prompts
    assert provider_batch.pictures == 3
    told = " ".join(capsys.readouterr().out.split())
    assert ("1 lines of something else" if odd == "foreign" else "1 lines of rows that had one before") in told


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("no-picture", ("UnsafeResultError", "yes")),
        ("no-base64", ("UnsafeResultError", "yes")),
        ("not-json", ("DownloadError", "yes")),
        ("missing", ("DownloadError", "unknown")),
    ],
)
def test_a_damaged_line_is_the_failure_of_its_row(
    provider_batch: ProviderBatch, damage: str, error: tuple[str, str]
) -> None:
    batch = provider_batch
    prompts = ["a boat", f"a kite [line={damage}]", "a tree"]

    batch.start(*prompts, max_failed=1)

    assert batch.errors == [None, error, None]
    batch.start(*prompts, try_number=2)
    # Neither a retry nor what it finds again is paid for.
    assert (batch.created, batch.batches) == (prompts, 1)


def test_a_file_that_ends_in_the_middle_of_a_line_loses_what_it_lost_and_nothing_more(
    provider_batch: ProviderBatch,
) -> None:
    batch = provider_batch
    prompts = [f"kite {number}" for number in range(5)] + ["a boat [line=cut-off]"]

    batch.start(*prompts, max_failed=5)

    assert batch.errors[5] == ("DownloadError", "yes")
    assert {error[0] for error in batch.errors if error} == {"DownloadError"}
    assert batch.pictures == batch.statuses.split().count("succeeded")
    assert (batch.created, batch.batches) == (sorted(prompts), 1)


def test_a_connection_that_is_cut_again_and_again_is_read_on(provider_batch: ProviderBatch) -> None:
    prompts = ["a boat", "a kite [file-truncated=3]", "a tree"]

    assert provider_batch.start(*prompts).state == "success"
    assert (provider_batch.created, provider_batch.pictures) == (prompts, 3)


def test_a_file_that_cannot_be_read_for_a_while_is_read_later(provider_batch: ProviderBatch) -> None:
    prompts = ["a boat", "a kite [file-500=3]"]

    assert provider_batch.start(*prompts).state == "success"
    assert provider_batch.created == prompts


def test_a_file_that_cannot_be_read_at_all_is_read_by_a_retry(provider_batch: ProviderBatch) -> None:
    batch = provider_batch
    prompts = ["a boat", "a kite [file-500=5]"]

    assert batch.start(*prompts).state == "up_for_retry"
    assert batch.errors == [("DownloadError", "unknown")] * 2
    assert batch.start(*prompts, try_number=2).state == "success"
    assert (batch.created, batch.batches) == (prompts, 1)


def test_a_file_that_the_service_lost_fails_its_rows_as_paid_for(provider_batch: ProviderBatch) -> None:
    batch = provider_batch
    prompts = ["a boat", "a kite [file-404=1]"]

    batch.start(*prompts)
    assert batch.errors == [("ResultExpiredError", "yes")] * 2
    # Where it is there again, it is read, and never made again.
    assert batch.start(*prompts, try_number=2).state == "success"
    assert (batch.created, batch.batches) == (prompts, 1)


def test_a_line_that_is_too_long_is_the_failure_of_its_row(
    provider_batch: ProviderBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_imagetasks.batch.provider import result_lines

    for module in (result_lines, results):
        monkeypatch.setattr(module, "LARGEST_LINE", 100_000)
    prompts = ["a boat", "a kite [line-kb=200]", "a tree"]

    provider_batch.start(*prompts, max_failed=1)

    assert provider_batch.errors == [None, ("UnsafeResultError", "yes"), None]
    assert "100,000 bytes" in provider_batch.rows[1]["error"]["message"]


def test_a_line_of_sixty_megabytes_is_delivered_where_it_holds_a_picture(provider_batch: ProviderBatch) -> None:
    assert provider_batch.start("a boat", "a kite [line-kb=60000]").state == "success"
    assert provider_batch.rows[1]["files"][0]["bytes"] > 45_000_000


def test_a_batch_that_fails_in_validation_names_the_row_and_the_others_are_made_without_it(
    provider_batch: ProviderBatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = provider_batch
    prompts = ["a boat", "a kite [batch=invalid]", "a tree"]

    outcome = batch.start(*prompts)

    assert isinstance(outcome.error, InvalidRequestError)
    assert batch.errors == [None, ("InvalidRequestError", "no"), None]
    assert "the prompt asked to be invalid" in batch.rows[1]["error"]["message"]
    assert "was refused because of row 1: OpenAI" in " ".join(capsys.readouterr().out.split())
    assert (batch.created, batch.batches) == (["a boat", "a tree"], 2)


def test_a_batch_beyond_what_the_service_queues_waits_for_the_others(provider_batch: ProviderBatch) -> None:
    batch = provider_batch
    batch.limited(provider_rows=2)
    prompts = ["a boat", "a kite", "a tree [batch=limit,times=1]"]

    assert batch.start(*prompts).state == "success"
    assert (batch.created, batch.batches) == (sorted(prompts), 3)


def test_a_file_of_requests_that_the_service_lost_is_uploaded_again(
    provider_batch: ProviderBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_imagetasks.services.openai_batches import OpenAIBatches

    create, calls = OpenAIBatches.create, []

    def lost_once(self: OpenAIBatches, file_id: str, *arguments: object, **named: object) -> object:
        calls.append(file_id)
        return create(self, "file-gone" if len(calls) == 1 else file_id, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(OpenAIBatches, "create", lost_once)

    outcome = provider_batch.start("a kite")

    assert outcome.state == "success", outcome.error
    assert provider_batch.created == ["a kite"]
