"""Limits and budgets of an account that several tasks use: what is submitted, what is refused, what the log says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from airflow_provider_imagetasks.accounts import book
from airflow_provider_imagetasks.accounts.__main__ import main
from airflow_provider_imagetasks.accounts.grants import Grant
from airflow_provider_imagetasks.accounts.report import reports
from airflow_provider_imagetasks.accounts.settings import store_url
from airflow_provider_imagetasks.accounts.store import AccountStore
from airflow_provider_imagetasks.accounts.tables import places, turns
from airflow_provider_imagetasks.batch import row_places
from airflow_provider_imagetasks.batch.batch_ledger import BatchLedger
from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    InvalidRequestError,
    QuotaExceededError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.submissions.departure import HeldBackError
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.image_batch import ImageBatch
from tests.image_dag import ImageDag

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
PRICES = {"gpt-image-2": "0.04 USD"}


@pytest.fixture(autouse=True)
def _store(account_store: str) -> None:
    """Each test has a store of its own."""


def test_a_submission_that_would_exceed_the_budget_is_refused_before_it_leaves(dag: ImageDag, limited: Any) -> None:
    limited(budget_per_day="0.10 USD", prices=PRICES)

    states = [dag.submit(task_id=f"submit-{number}").state for number in range(2)]
    refused = dag.submit(task_id="submit-3")

    assert states == ["success", "success"]
    assert refused.state == "failed"
    assert isinstance(refused.error, QuotaExceededError)
    assert (refused.error.code, refused.error.billed) == ("budget", "no")
    told = "budget_per_day of connection 'imagetasks_default' is 0.10 USD: 0.08 of it has been spent (a_dag 0.08)"
    assert told in str(refused.error)
    assert len(dag.created) == 2


def test_pictures_of_one_request_count_each_and_those_that_a_refusal_did_not_bill_not(
    dag: ImageDag, limited: Any
) -> None:
    limited(budget_per_month="0.12 USD", prices=PRICES)

    for number in range(3):
        assert dag.submit("a kite [refuse]", task_id=f"refused-{number}").state == "failed"
    assert dag.submit(task_id="three", options={"n": 3}).state == "success"

    assert dag.submit(task_id="fourth").error.code == "budget"
    assert len(dag.created) == 1


def test_an_unknown_outcome_counts_as_spent(dag: ImageDag, limited: Any, no_pauses: None) -> None:
    limited(budget_per_day="0.04 USD", prices=PRICES)

    lost = dag.submit("a kite [500-after]", task_id="lost")

    assert lost.state == "success" or isinstance(lost.error, UnknownOutcomeError)
    assert dag.submit(task_id="next").error.code == "budget"


def test_a_picture_that_failed_unbilled_is_paid_for_no_more_once_it_is_read(dag: ImageDag, limited: Any) -> None:
    limited(budget_per_day="0.04 USD", prices=PRICES)
    image_task_id = dag.submitted("a kite [refuse-late]")
    assert dag.submit(task_id="early").error.code == "budget"

    waited = dag.wait(image_task_id)

    assert waited.error.billed == "no"
    assert dag.submit(task_id="then").state == "success"


def test_under_a_budget_nothing_is_submitted_whose_price_nobody_knows(dag: ImageDag, limited: Any) -> None:
    limited(budget_per_day="5 USD")

    refused = dag.submit(model="gpt-image-9")

    assert isinstance(refused.error, InvalidRequestError)
    assert "the price of a picture of gpt-image-9 is not known" in str(refused.error)
    assert dag.created == []


def test_a_store_that_is_away_refuses_under_a_budget_and_else_only_says_so(
    dag: ImageDag, limited: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__ACCOUNT_STORE", "sqlite:////nowhere/accounts.sqlite")
    assert dag.submit(task_id="free").state == "success"
    said = caplog.text
    limited(budget_per_day="5 USD", prices=PRICES)

    refused = dag.submit(task_id="bounded")

    assert said.count("The account store ([imagetasks] account_store) cannot be used") == 1
    assert isinstance(refused.error, ServiceUnavailableError)
    assert (refused.error.code, refused.error.billed, refused.state) == ("account_store", "no", "up_for_retry")
    assert len(dag.created) == 1


def test_a_budget_without_a_store_is_refused(dag: ImageDag, limited: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__ACCOUNT_STORE", "none")
    limited(budget_per_day="5 USD", prices=PRICES)

    assert isinstance(dag.submit().error, InvalidRequestError)
    assert dag.created == []


def test_a_place_is_given_back_by_whoever_reads_that_an_image_task_is_over(
    dag: ImageDag, limited: Any, connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch, skipped_pauses: None
) -> None:
    monkeypatch.setattr(book, "LOOK_SECONDS", 0.0)
    limited(max_active_tasks=1)
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "imagetasks", **connection}))
    dag.submitted("a kite [latency=0]")

    second = ImageTaskHook("other").submit(ImageRequest(prompt="another [latency=0]"))

    assert second.id != dag.image_task_id
    assert len(dag.created) == 2


def test_a_lost_answer_that_is_found_again_holds_its_place_and_may_turn_out_to_be_free(
    dag: ImageDag, limited: Any, account_store: str, no_pauses: None
) -> None:
    limited(budget_per_day="0.04 USD", prices=PRICES, max_active_tasks=1)
    prompt = "a kite [500-after] [refuse-late] [latency=600]"
    lost = dag.submit(prompt, task_id="lost")
    assert lost.state == "success"
    image_task_id = dag.runner.xcoms["lost", "return_value"]
    assert running(account_store) == [image_task_id]
    dag.image_service.finish([prompt])

    dag.wait(image_task_id)

    assert running(account_store) == []
    assert dag.submit(task_id="then").state == "success"


def test_a_row_whose_lost_answer_is_found_again_is_put_back_on_its_place(
    batch: ImageBatch, limited: Any, account_store: str
) -> None:
    limited(max_active_tasks=5)

    batch.start(deferrable=True, prompts=["a kite [500-after=1] [latency=60]", "a boat [latency=60]"])

    assert sorted(running(account_store)) == sorted(filter(None, batch.intents))
    assert len(running(account_store)) == 2


def test_a_row_that_was_certainly_never_taken_costs_nothing(batch: ImageBatch, limited: Any) -> None:
    limited(budget_per_day="0.08 USD", prices=PRICES)

    outcome = batch.start("a kite [500]", "a boat", row_attempts=1)

    assert outcome.state == "up_for_retry"
    assert batch.rows[0]["error"]["billed"] == "no"
    assert spent() == 40_000


def test_a_batch_spends_what_the_budget_leaves_and_its_rest_fails_unsubmitted(batch: ImageBatch, limited: Any) -> None:
    limited(budget_per_day="0.10 USD", prices=PRICES)

    outcome = batch.start("a", "b", "c", "d")

    assert outcome.state == "failed"
    assert batch.statuses == "succeeded succeeded failed failed"
    assert {(row["error"]["code"], row["error"]["billed"]) for row in batch.rows[2:]} == {("budget", "no")}
    assert batch.created == ["a", "b"]


def test_a_batch_keeps_to_the_places_and_the_rate_of_its_account(batch: ImageBatch, limited: Any) -> None:
    limited(max_active_tasks=2, submit_rate="4/1s")

    outcome = batch.start(*[f"kite {number} [latency=0]" for number in range(6)])

    assert outcome.state == "success"
    assert len(batch.created) == 6


def test_a_row_counts_from_when_it_leaves_however_long_it_takes_to_write_it_down(
    batch: ImageBatch, limited: Any, account_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(submit_rate="1/60s")
    intend, written_at = BatchLedger.intend, []

    def slowly(ledger: BatchLedger, intents: Any) -> str:
        time.sleep(0.5)
        name = intend(ledger, intents)
        written_at.append(time.time())
        return name

    monkeypatch.setattr(BatchLedger, "intend", slowly)
    batch.start("a kite")

    with AccountStore(account_store, only_reads=True).reading() as (connection, _):
        (left_at,) = connection.execute(select(turns.c.at).where(turns.c.kind == "submit")).scalars()
    assert left_at >= written_at[0]


def test_a_batch_asks_for_no_turns_far_ahead_that_others_would_wait_behind(
    batch: ImageBatch, limited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_places, "AHEAD_SECONDS", 0.5)
    limited(submit_rate="2/1s")
    take, ahead = AccountStore.take, []

    def noted(store: AccountStore, *arguments: Any, **how: Any) -> Grant:
        grant = take(store, *arguments, **how)
        ahead.extend(turn.seconds for turn in grant.turns)
        return grant

    monkeypatch.setattr(AccountStore, "take", noted)
    batch.start(*[f"kite {number} [latency=0]" for number in range(8)])

    assert len(batch.created) == 8
    assert max(ahead) < 2


def test_what_was_spent_can_be_looked_up_without_airflow(
    dag: ImageDag, limited: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    limited(budget_per_day="1 USD", prices=PRICES, max_active_tasks=3)
    dag.submit()
    capsys.readouterr()

    assert main([]) == 0
    said = capsys.readouterr().out
    assert "budget_per_day 1.00 USD" in said
    assert "running: 1 of 3 (a_dag 1); waiting for a place: 0\n" in said
    assert "budget_per_day: 0.04 of 1.00 USD (4%), until " in said
    assert "0.04 USD" in said
    assert "a_dag, gpt-image-2" in said
    assert main(["--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["spending"][0]["amount"] == 40_000
    assert main(["--store", f"sqlite:///{tmp_path}/no/such.sqlite"]) == 1


def running(url: str) -> list[str]:
    """The image tasks that hold a place."""
    with AccountStore(url, only_reads=True).reading() as (connection, _):
        return [
            str(each)
            for each in connection.execute(select(places.c.image_task_id).where(places.c.is_open == 1)).scalars()
        ]


def spent() -> int:
    """Millionths that are spent."""
    (report,) = reports(AccountStore(str(store_url()), only_reads=True))
    return sum(line["amount"] for line in report.spending)


def test_a_start_that_was_replaced_does_not_give_back_what_the_other_one_pays(
    connection: dict[str, Any], limited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(budget_per_day="0.04 USD", prices=PRICES)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "imagetasks", **connection}))
    hook, request = ImageTaskHook("shop"), ImageRequest(prompt="a kite")

    def held(why: ImageTaskError) -> Any:
        def watched(_submission: Any) -> Any:
            raise HeldBackError(why, has_left=False)
            yield

        return watched

    for why, is_given_back in ((ImageTaskError("stopped"), True), (ImageTaskError("old", code="replaced"), False)):
        with pytest.raises(HeldBackError):
            hook.submit_completed(hook.complete(request), key="the-same-key", watched=held(why))
        assert (spent() == 0) == is_given_back


def test_a_key_that_goes_out_again_and_again_is_paid_for_as_often_where_the_service_knows_no_keys(
    connection: dict[str, Any], limited: Any, monkeypatch: pytest.MonkeyPatch, account_store: str
) -> None:
    limited(budget_per_day="0.10 USD", prices=PRICES)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "imagetasks", **connection}))
    hook, request = ImageTaskHook("shop"), ImageRequest(prompt="a kite")

    ids = [hook.submit(request, key="the-same-key").id for _ in range(2)]

    with pytest.raises(QuotaExceededError):
        hook.submit(request, key="the-same-key")
    assert sorted(running(account_store)) == sorted(ids)
    assert spent() == 80_000
