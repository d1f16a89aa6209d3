"""What a batch comes to, by the rows of its manifest: totals, the error that fails the task, what others are told."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.batch.manifest import (
    LONGEST_EXAMPLE,
    ROW_KEYS,
    Totals,
    error_of,
    manifest_row,
    outcome_row,
)
from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    DownloadError,
    ImageTaskError,
    ImageTaskFailedError,
    RateLimitError,
)

LINE = {"index": 0, "id": "K1", "prompt": "a kite"}


def failed(*errors: ImageTaskError, **facts: Any) -> Totals:
    totals = Totals()
    for error in errors:
        # A key that is refused submits nothing.
        image_task_id = None if isinstance(error, AuthenticationError) else "an-id"
        totals.add(outcome_row(LINE, image_task_id=image_task_id, error=error, **facts))
    return totals


def test_what_only_later_starts_need_is_not_in_the_manifest() -> None:
    outcome = outcome_row(LINE, image_task_id="an-id", error=ContentPolicyError("no"), unread=True)

    assert outcome.keys() - manifest_row(outcome).keys() == {"retryable", "unread"}
    assert tuple(manifest_row(outcome)) == ROW_KEYS


def test_usage_and_cost_are_added_up_where_they_are_known() -> None:
    totals = Totals()
    for usage, cost in (({"credits": 2, "tier": "x"}, 0.5), (None, None), ({"credits": 3.5}, 0.25)):
        totals.add(outcome_row(LINE, image_task_id="an-id", usage=usage, cost=cost))

    assert (totals.succeeded, totals.usage, totals.cost) == (3, {"credits": 5.5}, 0.75)


@pytest.mark.parametrize(
    ("currencies", "cost", "currency"),
    [
        (["EUR", "EUR"], 0.75, "EUR"),
        ([None, None], 0.75, None),
        ([None, "EUR"], 0.75, "EUR"),
        (["EUR", "USD"], None, None),
    ],
)
def test_costs_in_several_currencies_are_not_added_up(
    currencies: list[str | None], cost: float | None, currency: str | None
) -> None:
    totals = Totals()
    for amount, each in zip((0.5, 0.25), currencies, strict=True):
        totals.add(outcome_row(LINE, image_task_id="an-id", cost=amount, currency=each))

    assert totals.spent() == {"usage": None, "cost": cost, "currency": currency}


@pytest.mark.parametrize(
    ("error", "unread", "mends"),
    [
        (RateLimitError("later"), False, True),
        (DownloadError("cut"), False, True),
        (ContentPolicyError("no"), False, False),
        (ContentPolicyError("no"), True, True),
        (ImageTaskFailedError("no"), False, False),
    ],
)
def test_a_retry_is_worth_it_where_it_mends_a_row_for_nothing(error: ImageTaskError, unread: bool, mends: bool) -> None:
    whole = error_of(failed(error, unread=unread), 1, 0, manifest="m")

    assert whole is not None
    assert whole.retryable is mends


@pytest.mark.parametrize(
    ("errors", "unread", "said"),
    [
        (
            [DownloadError("cut")],
            False,
            ["repeats 1 of the failed rows", "looks for what was submitted before it pays"],
        ),
        (
            [ContentPolicyError("no")],
            False,
            ["would not help", "Clear looks for what was submitted before it pays"],
        ),
        ([AuthenticationError("who?")], False, ["would not help", "Clear submits the failed rows again"]),
        (
            [ContentPolicyError("no")],
            True,
            ["repeats 1 of the failed rows", "looks for what was submitted before it pays"],
        ),
        ([AuthenticationError("who?"), DownloadError("cut")], False, ["of 1 of them, and submits the others again"]),
    ],
)
def test_the_error_says_what_a_retry_and_a_clear_do(
    errors: list[ImageTaskError], unread: bool, said: list[str]
) -> None:
    whole = error_of(failed(*errors, unread=unread), 9, 0, manifest="m")

    assert whole is not None
    assert [words for words in said if words not in str(whole)] == []
    # None of its rows succeeded.
    assert "in place" not in str(whole)


def test_the_task_fails_by_the_class_of_its_rows_where_that_is_one() -> None:
    assert error_of(failed(ContentPolicyError("no")), 2, 1, manifest="m") is None
    assert type(error_of(failed(ContentPolicyError("no")), 2, 0, manifest="m")) is ContentPolicyError
    mixed = error_of(failed(ContentPolicyError("no"), DownloadError("cut")), 2, 0, manifest="m")
    assert type(mixed) is ImageTaskFailedError
    assert mixed.billed == "unknown"
    assert "2 of 2 rows failed" in mixed.message


def test_an_example_that_is_too_long_is_not_cut_within_an_address() -> None:
    address = "https://platform.example/account/charges"
    for beginning in range(LONGEST_EXAMPLE - len(address) - 20, LONGEST_EXAMPLE + 5):
        message = f"{'x' * beginning} Look at {address} before you Clear, and then at what the others say"

        error = error_of(failed(ImageTaskFailedError(message)), 1, 0, manifest="file:///m.jsonl")

        assert address in str(error) or "https:" not in str(error)
