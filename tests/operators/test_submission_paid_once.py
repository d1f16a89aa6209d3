"""A key is used once, and a start that was replaced pays for nothing: through the submit operator, with each store."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Context
from airflow.sdk.execution_time import task_runner as airflows_runner

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    InvalidRequestError,
    RateLimitError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.operators import image_task as operators
from airflow_provider_imagetasks.submissions import ledger, reconciling
from airflow_provider_imagetasks.submissions.ledger import SubmissionLedger
from airflow_provider_imagetasks.submissions.stores import FileStore, TaskStateStore, store_for
from tests.image_batch import Killed
from tests.image_dag import ImageDag
from tests.task_runner import HAS_LOOPS, Outcome, TaskRunner

REST = pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi", "aigptimage", "kie"], indirect=True)
BY_KEY = pytest.mark.parametrize("service_name", ["aigptimage"], indirect=True)
BLIND = pytest.mark.parametrize("service_name", ["kie"], indirect=True)
HAS_STATE_STORE = "task_state_store" in Context.__annotations__


@pytest.fixture(params=["task state store", "ledger_path", "no store"], autouse=True)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the ledger is kept, in turn."""
    if request.param == "task state store":
        if not HAS_STATE_STORE:
            pytest.skip("Airflow keeps no state of tasks before 3.3")
    else:
        monkeypatch.setattr(operators, "store_for", lambda _context, slot: store_for({}, slot))
    if request.param == "ledger_path":
        monkeypatch.setenv("AIRFLOW__IMAGETASKS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    return str(request.param)


WITH_A_LEDGER = pytest.mark.parametrize("store", ["task state store", "ledger_path"], indirect=True)


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses are for a service that is slow to write things down."""
    monkeypatch.setattr(reconciling, "LOOK_PAUSES", (0.0,))


class SubmitTask:
    """The submit task of one Dag run, at a service that knows one key."""

    def __init__(self, dag: ImageDag, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dag = dag
        self.monkeypatch = monkeypatch

    def start(self, prompt: str = "a red kite", *, key: str = "right", **how: Any) -> Outcome:
        self.dag.runner.connections["imagetasks_default"]["password"] = key
        return self.dag.submit(prompt, **how)

    def start_killed(self, *arguments: Any, **how: Any) -> None:
        """Start a try that is killed when the service has answered, before anything is written of it."""
        submitted = ImageTaskHook.submit_completed

        def killed(*arguments: Any, **named: Any) -> None:
            submitted(*arguments, **named)
            raise Killed

        with self.monkeypatch.context() as patch:
            patch.setattr(ImageTaskHook, "submit_completed", killed)
            assert isinstance(self.start(*arguments, **how).error, Killed)

    def handed_on(self, *arguments: Any, **how: Any) -> str:
        outcome = self.start(*arguments, **how)
        assert outcome.state == "success", outcome.error
        return self.dag.image_task_id

    def prompt_of(self, image_task_id: str) -> str:
        (prompt,) = (entry["prompt"] for entry in self.dag.created if entry["id"] == image_task_id)
        return str(prompt)

    def start_frozen(
        self,
        owner: Any,
        name: str,
        meanwhile: Callable[[], Any],
        *prompt: str,
        after: bool = False,
        where: Callable[..., bool] = lambda *_arguments: True,
    ) -> Outcome:
        """Start the first try; it is frozen at a call, before or after it, and thawed when others have ended."""
        method, comms = getattr(owner, name), "SUPERVISOR_COMMS"
        calls: list[str] = []

        def frozen(*arguments: Any, **named: Any) -> Any:
            if calls or not where(*arguments):
                return method(*arguments, **named)
            calls.append(name)
            result = method(*arguments, **named) if after else None
            ours = getattr(airflows_runner, comms)
            meanwhile()
            setattr(airflows_runner, comms, ours)
            return result if after else method(*arguments, **named)

        with self.monkeypatch.context() as patch:
            patch.setattr(owner, name, frozen)
            outcome = self.start(*prompt, try_number=1)
        assert calls == [name]
        return outcome


@pytest.fixture
def submit(service_name: str, output_folder: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SubmitTask]:
    with LocalImageService(latency=0, api_keys=["right", "other"]) as service:
        connection = json.loads(service.connection(service_name))
        runner = TaskRunner(connections={"imagetasks_default": connection})
        yield SubmitTask(ImageDag(runner, service, output_folder), monkeypatch)


@REST
@pytest.mark.parametrize("last", ["a red kite", "a green boat"])
def test_after_a_clear_that_was_refused_the_next_one_makes_the_picture_that_is_asked_for(
    submit: SubmitTask, last: str
) -> None:
    first = submit.handed_on()
    refused = submit.start(key="wrong", try_number=2, max_tries=3)
    second = submit.handed_on(last, try_number=3, max_tries=4)

    assert isinstance(refused.error, AuthenticationError)
    assert second != first
    assert submit.prompt_of(second) == last
    traces = Counter(entry["trace_id"] for entry in submit.dag.created if entry["trace_id"])
    assert set(traces.values()) <= {1}


@pytest.mark.usefixtures("skipped_pauses")
@REST
@WITH_A_LEDGER
@pytest.mark.parametrize("last", ["a red kite [429=9,retry-after=99]", "a green boat"])
def test_a_retry_after_a_refused_clear_makes_the_picture_that_is_asked_for(submit: SubmitTask, last: str) -> None:
    first = submit.handed_on()
    for try_number in (2, 3):
        refused = submit.start(last, key="wrong", try_number=try_number, max_tries=4)
        assert isinstance(refused.error, AuthenticationError)
    if "429" in last:
        assert isinstance(submit.start(last, try_number=4, max_tries=4).error, RateLimitError)
        last = "a red kite"
    second = submit.handed_on(last, try_number=5, max_tries=4)

    assert second != first
    assert submit.prompt_of(second) == last


@WITH_A_LEDGER
@REST
def test_a_refusal_is_submitted_again_under_its_own_key(submit: SubmitTask, service_name: str) -> None:
    submit.start(key="wrong")
    first = submit.handed_on(try_number=2)

    again = submit.handed_on(try_number=3)

    assert again == first
    assert len(submit.dag.created) == 1


@BY_KEY
@WITH_A_LEDGER
def test_a_refusal_of_a_repetition_does_not_make_a_picture_of_an_earlier_try_forgotten(submit: SubmitTask) -> None:
    # As earlier versions wrote it: with which key it went out is not on record.
    submit.monkeypatch.setattr(ledger, "key_digest", lambda *_account: None)
    submit.start_killed()
    refused = submit.start(key="wrong", try_number=2)
    changed = submit.start("a green boat", try_number=3, max_tries=4)

    assert isinstance(refused.error, AuthenticationError)
    assert "It may have been billed" in str(refused.error)
    assert isinstance(changed.error, UnknownOutcomeError)
    assert submit.handed_on(try_number=4, max_tries=4) == submit.dag.created[0]["id"]
    assert len(submit.dag.created) == 1


@BY_KEY
@WITH_A_LEDGER
def test_another_account_is_not_sent_what_may_be_paid_for_at_the_first(submit: SubmitTask) -> None:
    submit.start_killed()
    failed = submit.start(key="other", try_number=2)

    assert isinstance(failed.error, UnknownOutcomeError)
    assert "the API key of connection 'imagetasks_default' was replaced since" in str(failed.error)
    assert submit.handed_on(key="right", try_number=3, max_tries=4) == submit.dag.created[0]["id"]
    assert len(submit.dag.created) == 1


@BY_KEY
@WITH_A_LEDGER
def test_with_the_key_gone_for_good_a_clear_submits_at_the_other_account(submit: SubmitTask) -> None:
    submit.start_killed()
    submit.start(key="other", try_number=2)
    submit.handed_on(key="other", try_number=3, max_tries=4)

    assert len(submit.dag.created) == 2


@REST
@WITH_A_LEDGER
@pytest.mark.parametrize("prompt", ["a red kite", "a green boat"])
@pytest.mark.parametrize("earlier_tries", [1, 3])
def test_a_run_that_was_deleted_and_made_again_has_a_picture_of_its_own(
    submit: SubmitTask, prompt: str, earlier_tries: int
) -> None:
    for try_number in range(1, earlier_tries + 1):
        first = submit.handed_on(try_number=try_number)
    second = submit.handed_on(prompt, try_number=1)

    assert second != first
    assert submit.prompt_of(second) == prompt
    # Its own retries find it.
    assert submit.handed_on(prompt, try_number=2) == second


@pytest.mark.skipif(HAS_LOOPS, reason="a Clear on Airflow 3.4 throws the record away, as a deleted run does")
@REST
@pytest.mark.parametrize("store", ["task state store"], indirect=True)
@pytest.mark.parametrize("prompt", ["a red kite", "a green boat"])
def test_so_it_has_where_the_record_went_with_the_deleted_run(submit: SubmitTask, prompt: str) -> None:
    first = submit.handed_on()
    submit.dag.runner.states.clear()
    second = submit.handed_on(prompt)

    assert second != first
    assert submit.prompt_of(second) == prompt
    assert {1} >= set(Counter(entry["trace_id"] for entry in submit.dag.created if entry["trace_id"]).values())
    assert submit.handed_on(prompt, try_number=2) == second


LATER = {
    "retry": {"try_number": 2, "max_tries": 2},
    "Clear": {"try_number": 2, "max_tries": 3},
}


@BLIND
@WITH_A_LEDGER
@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [
        pytest.param(SubmissionLedger, "decide", False, id="before it looks"),
        pytest.param(FileStore, "read", True, id="with a file read"),
        pytest.param(TaskStateStore, "read", True, id="with the state read"),
        pytest.param(SubmissionLedger, "decide", True, id="decided"),
    ],
)
def test_of_two_starts_at_once_one_submits(
    submit: SubmitTask, store: str, owner: type, name: str, after: bool, later: dict[str, int]
) -> None:
    if owner is not (TaskStateStore if store == "task state store" else FileStore) and name == "read":
        pytest.skip("another store")
    other: list[str] = []
    frozen = submit.start_frozen(owner, name, lambda: other.append(submit.handed_on(**later)), after=after)

    assert frozen.error.code == "replaced"
    assert "It was not billed" in str(frozen.error)
    assert [entry["id"] for entry in submit.dag.created] == other == [submit.dag.image_task_id]
    assert ("submit", "image_task_refused") not in submit.dag.runner.xcoms
    # The record of the other is whole: a retry of it hands on the same.
    assert submit.handed_on(try_number=3, max_tries=later["max_tries"]) == other[0]


@BLIND
@WITH_A_LEDGER
def test_a_start_that_is_thawed_before_its_request_leaves_does_not_send_it(submit: SubmitTask) -> None:
    unknown: list[Outcome] = []
    frozen = submit.start_frozen(
        ImageTaskHook, "submit_completed", lambda: unknown.append(submit.start(try_number=2)), after=False
    )

    assert isinstance(unknown[0].error, UnknownOutcomeError)
    assert frozen.error.code == "replaced"
    assert submit.dag.created == []
    assert submit.handed_on(try_number=3, max_tries=3) == submit.dag.created[0]["id"]


@BLIND
@WITH_A_LEDGER
@pytest.mark.parametrize(
    ("prompt", "submit_rate", "billed"),
    [
        pytest.param("a red kite", "1/5s", "It was not billed", id="its rate"),
        pytest.param("a red kite [429=1,retry-after=1]", "9/1s", "It may have been billed", id="a 429"),
    ],
)
def test_a_start_that_waits_looks_again_before_its_next_request_leaves(
    submit: SubmitTask, prompt: str, submit_rate: str, billed: str
) -> None:
    submit.dag.runner.connections["imagetasks_default"]["extra"]["submit_rate"] = submit_rate
    submit.start("another", task_id="another")

    frozen = submit.start_frozen(
        time, "sleep", lambda: submit.start(prompt, try_number=2), prompt, where=lambda seconds: seconds > 0.5
    )

    assert frozen.error.code == "replaced"
    assert billed in str(frozen.error)
    assert [entry["prompt"] for entry in submit.dag.created] == ["another"]


@WITH_A_LEDGER
@BLIND
@pytest.mark.parametrize("kind", ["retry", "Clear"])
def test_an_answer_that_comes_after_another_start_took_over_is_kept_and_handed_on_by_the_next(
    submit: SubmitTask, kind: str
) -> None:
    frozen = submit.start_frozen(ImageTaskHook, "submit_completed", lambda: submit.start(try_number=2), after=True)

    assert frozen.error.code == "replaced"
    assert "It may have been billed" in str(frozen.error)
    (created,) = submit.dag.created
    assert created["id"] in str(frozen.error)
    assert ("submit", "return_value") not in submit.dag.runner.xcoms
    assert submit.handed_on(try_number=3, max_tries=LATER[kind]["max_tries"]) == created["id"]
    assert len(submit.dag.created) == 1


@WITH_A_LEDGER
@BLIND
def test_what_a_replaced_start_was_answered_does_not_take_the_place_of_a_newer_picture(submit: SubmitTask) -> None:
    def twice() -> None:
        submit.start(try_number=2)
        submit.handed_on(try_number=3, max_tries=4)

    frozen = submit.start_frozen(ImageTaskHook, "submit_completed", twice, after=True)

    assert frozen.error.code == "replaced"
    assert len(submit.dag.created) == 2
    newest = submit.dag.created[-1]["id"]
    assert submit.dag.image_task_id == newest
    assert submit.handed_on(try_number=4, max_tries=4) == newest


@BLIND
@WITH_A_LEDGER
def test_a_refusal_beside_a_submission_that_may_be_paid_is_not_called_unbilled(submit: SubmitTask) -> None:
    prompt, resubmits = "a red kite [500-after=1]", {"on_unknown_outcome": "resubmit"}
    unknown = submit.start(prompt, **resubmits)
    for try_number in (2, 3):
        refused = submit.start(prompt, key="wrong", try_number=try_number, **resubmits)
        assert isinstance(refused.error, AuthenticationError)
        assert "Nobody knows whether the submission at 2" in str(refused.error)
        assert "It may have been billed" in str(refused.error)
        assert submit.dag.runner.xcoms["submit", "image_task_refused"]["error"]["billed"] == "unknown"
    second = submit.handed_on(prompt, try_number=4, **resubmits)
    cleared = submit.start(prompt, key="wrong", try_number=5, max_tries=6, **resubmits)

    assert isinstance(unknown.error, UnknownOutcomeError)
    assert [entry["id"] for entry in submit.dag.created][1:] == [second]
    assert "It was not billed" in str(cleared.error)


@BLIND
@pytest.mark.parametrize("is_answered", [True, False])
def test_what_fails_before_it_submits_does_not_call_an_earlier_submission_unbilled(
    submit: SubmitTask, store: str, is_answered: bool
) -> None:
    owner: Any = SubmissionLedger if is_answered else ImageTaskHook
    name = "note_taken" if is_answered else "submit_completed"
    method = getattr(owner, name)

    def killed(*arguments: Any, **named: Any) -> None:
        method(*arguments, **named)
        raise Killed

    with submit.monkeypatch.context() as patch:
        patch.setattr(owner, name, killed)
        submit.start()
    (created,) = submit.dag.created
    lost = submit.start(try_number=2, images=["file:///nowhere/photo.png"])

    assert isinstance(lost.error, InvalidRequestError)
    assert "It may have been billed" in str(lost.error)
    if store == "no store":
        assert "There is no record of what earlier tries submitted" in str(lost.error)
    else:
        assert (created["id"] if is_answered else "Nobody knows whether the submission at") in str(lost.error)
