"""What may have been paid for stays spent, whatever is answered when it goes out again under its key."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.accounts.book import AccountBook
from airflow_provider_imagetasks.accounts.report import reports
from airflow_provider_imagetasks.accounts.store import AccountStore
from airflow_provider_imagetasks.batch.batch_ledger import BatchLedger
from airflow_provider_imagetasks.exceptions import QuotaExceededError, UnknownOutcomeError
from tests.image_batch import ImageBatch, Killed
from tests.image_dag import ImageDag
from tests.scripted_server import ReceivedRequest, Reply
from tests.status_route import StatusRoute

# It charges once for the same key.
pytestmark = pytest.mark.parametrize("service_name", ["aigptimage"], indirect=True)
LIMITS = {"budget_per_day": "1 USD", "prices": {"gpt-image-2-text-to-image": "0.04 USD"}}


def spent(account_store: str) -> int:
    """Millionths that are spent."""
    (report,) = reports(AccountStore(account_store, only_reads=True))
    return sum(line["amount"] for line in report.spending)


@pytest.fixture
def out_of_credits(route: StatusRoute) -> Any:
    """Has the service refuse every submission from now on."""

    def begin() -> None:
        hand_on = route.server.otherwise

        def answer(request: ReceivedRequest) -> Any:
            is_submission = request.method == "POST"
            return Reply({"code": 402, "msg": "no credits"}) if is_submission else hand_on(request)

        route.server.otherwise = answer

    return begin


def killed_at(patch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    def killed(*_arguments: Any, **_named: Any) -> None:
        raise Killed

    patch.setattr(owner, name, killed)


def test_a_refusal_of_a_retry_gives_nothing_back_of_what_the_killed_try_may_have_paid(
    dag: ImageDag, limited: Any, account_store: str, out_of_credits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(**LIMITS)
    with monkeypatch.context() as patch:
        killed_at(patch, AccountBook, "found")
        assert isinstance(dag.submit().error, Killed)
    out_of_credits()

    refused = dag.submit(try_number=2)

    assert isinstance(refused.error, QuotaExceededError)
    assert refused.error.billed == "unknown"
    assert (len(dag.created), spent(account_store)) == (1, 40_000)


def test_rows_that_are_held_back_as_they_go_out_again_give_nothing_back_either(
    batch: ImageBatch, limited: Any, account_store: str, out_of_credits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(**LIMITS)
    with monkeypatch.context() as patch:
        killed_at(patch, BatchLedger, "settle")
        killed_at(patch, AccountBook, "taken")
        assert isinstance(batch.start("a", "b", "c").error, Killed)
    out_of_credits()

    # All but the first wait for their turn when nothing more may be submitted.
    refused = batch.start("a", "b", "c", submit_rate="1/1s")

    assert isinstance(refused.error, UnknownOutcomeError)
    assert (batch.created, spent(account_store)) == (["a", "b", "c"], 120_000)
