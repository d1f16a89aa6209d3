"""A Clear that threw away what was on record, and the iterations of a loop, as Airflow 3.4 has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Context

from airflow_provider_imagetasks.exceptions import UnknownOutcomeError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.submissions import identity, reconciling
from tests.image_batch import Killed
from tests.image_dag import ImageDag
from tests.task_runner import HAS_LOOPS, Outcome

REST = pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi", "aigptimage", "kie"], indirect=True)
FINDS = pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi"], indirect=True)
RECOGNISES = pytest.mark.parametrize("service_name", ["aigptimage"], indirect=True)
WITH_LOOPS = pytest.mark.skipif(not HAS_LOOPS, reason="Airflow has no loops before 3.4")
pytestmark = pytest.mark.skipif(
    "task_state_store" not in Context.__annotations__, reason="Airflow keeps no state of tasks before 3.3"
)


@pytest.fixture(autouse=True)
def discarding_clears(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an older Airflow these tests stand in for 3.4."""
    monkeypatch.setattr(identity, "clear_empties_state", lambda _instance: True)


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses are for a service that is slow to write things down."""
    monkeypatch.setattr(reconciling, "LOOK_PAUSES", (0.0,))


class SubmitTask:
    """The submit task of a Dag run: what a Clear that discards its state leaves of it."""

    def __init__(self, dag: ImageDag, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dag = dag
        self.monkeypatch = monkeypatch

    def discard(self) -> None:
        self.dag.runner.states.clear()

    def handed_on(self, *arguments: Any, **how: Any) -> str:
        outcome = self.dag.submit(*arguments, **how)
        assert outcome.state == "success", outcome.error
        return self.dag.image_task_id

    def killed_after_acceptance(self, **how: Any) -> None:
        submitted = ImageTaskHook.submit_completed

        def killed(*arguments: Any, **named: Any) -> None:
            submitted(*arguments, **named)
            raise Killed

        with self.monkeypatch.context() as patch:
            patch.setattr(ImageTaskHook, "submit_completed", killed)
            assert isinstance(self.dag.submit(**how).error, Killed)

    def start_discarded_while_answered(self) -> Outcome:
        """Start it; it is cleared, and its state discarded, before the answer comes."""
        submitted = ImageTaskHook.submit_completed

        def late(*arguments: Any, **named: Any) -> Any:
            task = submitted(*arguments, **named)
            self.discard()
            return task

        with self.monkeypatch.context() as patch:
            patch.setattr(ImageTaskHook, "submit_completed", late)
            return self.dag.submit()

    @property
    def created(self) -> list[str]:
        return [entry["id"] for entry in self.dag.created]


@pytest.fixture
def submit(dag: ImageDag, monkeypatch: pytest.MonkeyPatch) -> SubmitTask:
    return SubmitTask(dag, monkeypatch)


@REST
def test_each_clear_of_a_finished_task_makes_a_picture_of_its_own_though_nothing_is_on_record(
    submit: SubmitTask,
) -> None:
    handed_on = []
    for try_number, max_tries in ((1, 2), (2, 3), (3, 4)):
        handed_on.append(submit.handed_on(try_number=try_number, max_tries=max_tries))
        submit.discard()

    assert handed_on == submit.created
    assert len(set(handed_on)) == 3
    traces = [entry["trace_id"] for entry in submit.dag.created if entry["trace_id"]]
    assert len(set(traces)) == len(traces)


@REST
@pytest.mark.parametrize("discarded_first", [True, False])
def test_clears_with_and_without_what_is_on_record_never_meet_in_a_key(
    submit: SubmitTask, discarded_first: bool
) -> None:
    for try_number in range(1, 6):
        submit.handed_on(try_number=try_number, max_tries=try_number + 1)
        if (try_number % 2 == 0) != discarded_first:
            submit.discard()

    assert len(set(submit.created)) == 5


@REST
def test_the_retry_after_such_a_clear_hands_on_the_picture_of_the_clear(submit: SubmitTask) -> None:
    submit.handed_on()
    submit.discard()
    second = submit.handed_on(try_number=2, max_tries=3)

    assert submit.handed_on(try_number=3, max_tries=3) == second
    assert len(submit.created) == 2


@pytest.mark.parametrize(
    ("service_name", "model"),
    [("acedatacloud", None), ("xhuoapi", None), ("acedatacloud", "flux/flux-2-pro")],
    indirect=["service_name"],
)
def test_the_log_of_such_a_clear_names_what_earlier_tries_submitted(
    submit: SubmitTask, capsys: pytest.CaptureFixture[str], model: str | None
) -> None:
    submit.killed_after_acceptance(model=model)
    submit.discard()
    capsys.readouterr()
    second = submit.handed_on(try_number=2, max_tries=3, model=model)

    (first, last) = submit.created
    assert second.endswith(last)
    log = capsys.readouterr().out
    assert first in log
    assert "keep task state" in log


def test_a_first_try_that_never_came_to_submit_warns_of_nothing(
    submit: SubmitTask, capsys: pytest.CaptureFixture[str]
) -> None:
    submit.handed_on(try_number=2, max_tries=2)

    assert "cleared" not in capsys.readouterr().out


@REST
def test_what_is_answered_after_the_state_was_discarded_is_handed_on_by_the_next_start(submit: SubmitTask) -> None:
    cut_off = submit.start_discarded_while_answered()

    assert cut_off.error is not None
    assert submit.handed_on(try_number=2, max_tries=3) == submit.created[0]
    assert len(submit.created) == 1


@WITH_LOOPS
class TestWithCopy:
    """Beside a store that is emptied, a copy under ``[imagetasks] ledger_path`` outlives every Clear."""

    @pytest.fixture(autouse=True)
    def ledger(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("AIRFLOW__IMAGETASKS__LEDGER_PATH", f"file://{tmp_path}/ledger")
        return tmp_path / "ledger"

    @REST
    def test_a_clear_of_a_finished_task_makes_a_new_picture(self, submit: SubmitTask) -> None:
        for try_number, max_tries in ((1, 2), (2, 3), (3, 4)):
            submit.handed_on(try_number=try_number, max_tries=max_tries)
            submit.discard()

        assert len(set(submit.created)) == 3

    @pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi", "aigptimage"], indirect=True)
    def test_a_clear_of_one_that_was_ended_hands_on_what_was_paid_for(self, submit: SubmitTask) -> None:
        submit.killed_after_acceptance()
        submit.discard()

        assert [submit.handed_on(try_number=2, max_tries=3)] == submit.created

    @pytest.mark.parametrize("service_name", ["kie"], indirect=True)
    def test_where_the_service_cannot_tell_a_person_is_asked(self, submit: SubmitTask) -> None:
        submit.killed_after_acceptance()
        submit.discard()

        assert isinstance(submit.dag.submit(try_number=2, max_tries=3).error, UnknownOutcomeError)
        submit.discard()
        assert submit.handed_on(try_number=3, max_tries=4) == submit.created[-1]
        assert len(submit.created) == 2

    def test_what_was_begun_without_a_copy_is_found(self, submit: SubmitTask, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.delenv("AIRFLOW__IMAGETASKS__LEDGER_PATH")
            first = submit.handed_on()

        assert submit.handed_on(try_number=2) == first


@WITH_LOOPS
@REST
def test_each_iteration_of_a_loop_hands_on_a_picture_of_its_own(submit: SubmitTask) -> None:
    handed_on = [submit.handed_on(iteration=index) for index in range(3)]

    assert handed_on == submit.created
    assert len(set(handed_on)) == 3
    assert submit.handed_on(iteration=1, try_number=2) == handed_on[1]


@WITH_LOOPS
@pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi", "aigptimage"], indirect=True)
@pytest.mark.parametrize("iteration", [0, 1, 2])
def test_a_start_that_is_killed_in_an_iteration_finds_the_picture_of_that_one(
    submit: SubmitTask, iteration: int
) -> None:
    for index in range(iteration):
        submit.handed_on(iteration=index)
    submit.killed_after_acceptance(iteration=iteration)

    assert submit.handed_on(iteration=iteration, try_number=2) == submit.created[iteration]
    assert len(submit.created) == iteration + 1


@REST
def test_a_try_that_starts_again_under_its_number_is_no_other_run(submit: SubmitTask) -> None:
    """As Airflow 3.4 does where a retry policy reschedules the task."""
    submit.dag.runner.try_id = "01a221ef-4744-786a-ac45-467df4603b22"
    first = submit.handed_on()

    assert submit.handed_on() == first
