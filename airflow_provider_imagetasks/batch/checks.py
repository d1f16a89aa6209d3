"""Checks of a batch's frozen requests before anything is billed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.costs import in_words, is_within
from airflow_provider_imagetasks.batch.folder import Owner
from airflow_provider_imagetasks.batch.requests_file import Frozen
from airflow_provider_imagetasks.batch.row_decisions import allowed_failures
from airflow_provider_imagetasks.exceptions import InvalidRequestError


def check_rows(frozen: Frozen | Owner, arguments: BatchArguments, problems: Sequence[str] = ()) -> None:
    """Refuse a batch that is bound to fail, before anything is billed."""
    allowed = allowed_failures(arguments.max_failed, frozen.total)
    if frozen.invalid > allowed:
        named = "; ".join(problems)
        more = f"; and {frozen.invalid - len(problems)} more" if frozen.invalid > len(problems) else ""
        raise InvalidRequestError(
            f"{frozen.invalid} of {frozen.total} rows are invalid, and max_failed allows {allowed}. Nothing "
            f"was submitted. {named}{more}"
        )


def check_cost(frozen: Frozen, arguments: BatchArguments, log: Any) -> None:
    """Refuse a batch whose cost is limited but not known, before anything is billed."""
    if arguments.max_cost is None:
        return
    if frozen.cost is None:
        models = ", ".join(sorted(frozen.unpriced))
        raise InvalidRequestError(
            f"max_cost is set, but there is no published price for a picture of {models} at "
            f"{arguments.service.title}; set the price per picture with prices={{{sorted(frozen.unpriced)[0]!r}: ...}}"
        )
    if not is_within(frozen.cost, arguments.max_cost):
        log.warning(
            "The batch would cost about %s, more than max_cost (%s): rows are submitted in order until that is "
            "spent, and the rest fail without being submitted.",
            in_words(frozen.cost),
            in_words(arguments.max_cost),
        )


def say(frozen: Frozen, log: Any) -> None:
    """Say in the log what was frozen, and what is odd about it."""
    cost = f", about {in_words(frozen.cost)} at the known prices" if frozen.cost else ""
    log.info("%s requests%s.", f"{frozen.total:,}", cost)
    if frozen.repeated:
        log.warning("Rows that repeat an earlier row: %s. Each of them is submitted and paid for.", frozen.repeated)
    for problem in frozen.problems:
        log.warning("%s", problem[0].upper() + problem[1:])
