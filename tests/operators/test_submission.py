"""The submit operator through the ledger, in Airflow's task runner: tries, Clears and what was cut off between."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from PIL import Image

from airflow_provider_imagetasks.exceptions import InvalidRequestError, ServiceUnavailableError, UnknownOutcomeError
from airflow_provider_imagetasks.files.input_images import with_files_read
from airflow_provider_imagetasks.hooks import image_task as hooks
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.operators import image_task as operators
from airflow_provider_imagetasks.operators import submission
from airflow_provider_imagetasks.submissions import reconciling
from airflow_provider_imagetasks.submissions.stores import FileStore, store_for
from tests.image_batch import Killed
from tests.image_dag import ImageDag

FINDS_AGAIN = pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi", "aigptimage"], indirect=True)
LOOKS_UP = pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi"], indirect=True)
WITH_AND_WITHOUT_LEDGER = pytest.mark.parametrize("keeps_records", [True, False], ids=["ledger", "no ledger"])
CANNOT_TELL = pytest.mark.parametrize("service_name", ["kie", "acedatacloud_mcp", "gpt_image_mcp"], indirect=True)


@pytest.fixture
def keeps_records() -> bool:
    """Whether there is a ledger: not before Airflow 3.3, where no ledger_path is set."""
    return True


@pytest.fixture(autouse=True)
def files_as_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps_records: bool) -> Path:
    """Keep records in files, which every Airflow can; Airflow's own store is tested in test_stores and for real."""
    monkeypatch.setattr(operators, "store_for", lambda _context, slot: store_for({}, slot))
    if keeps_records:
        monkeypatch.setenv("AIRFLOW__IMAGETASKS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    return tmp_path / "ledger"


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses are for a service that is slow to write things down."""
    monkeypatch.setattr(reconciling, "LOOK_PAUSES", (0.0, 0.0))


@dataclass
class SubmitTask:
    """The submit task of a Dag run: how Airflow starts it, and what the service made of it."""

    dag: ImageDag
    monkeypatch: pytest.MonkeyPatch

    def start_killed(self, owner: type, name: str, *prompt: str, is_last: Any = bool, **how: Any) -> None:
        """Start it, and kill it as soon as a method has done its work with an argument that is the last one."""
        method = getattr(owner, name)

        def killed(*arguments: Any, **named: Any) -> None:
            method(*arguments, **named)
            if is_last(arguments[-1]):
                raise Killed

        with self.monkeypatch.context() as patch:
            patch.setattr(owner, name, killed)
            assert isinstance(self.dag.submit(*prompt, **how).error, Killed)

    def start_killed_after_the_answer(self, *prompt: str, **how: Any) -> None:
        self.start_killed(ImageTaskHook, "submit_completed", *prompt, **how)

    @property
    def created(self) -> list[str]:
        return [entry["id"] for entry in self.dag.created]


@pytest.fixture
def submit(dag: ImageDag, monkeypatch: pytest.MonkeyPatch) -> SubmitTask:
    return SubmitTask(dag, monkeypatch)


def test_a_retry_hands_on_what_was_submitted(submit: SubmitTask) -> None:
    submit.dag.submit()
    first = submit.dag.image_task_id
    submit.dag.runner.xcoms.clear()
    submit.dag.submit(try_number=2)

    assert [first] == submit.created == [submit.dag.image_task_id]
    assert submit.dag.runner.xcoms[("submit", "image_task")]["prompt"] == "a red kite"


def test_a_clear_makes_a_new_picture_each_time(submit: SubmitTask) -> None:
    for try_number, max_tries in ((1, 2), (2, 3), (3, 4), (4, 4)):
        submit.dag.submit(try_number=try_number, max_tries=max_tries)

    assert len(set(submit.created)) == 3
    assert submit.dag.image_task_id == submit.created[-1]


@pytest.mark.parametrize("max_tries", [pytest.param(2, id="a retry"), pytest.param(3, id="a Clear")])
def test_killed_after_the_record_the_next_start_hands_it_on(submit: SubmitTask, max_tries: int) -> None:
    submit.start_killed(FileStore, "write", is_last=lambda record: record.image_task_id)
    submit.dag.submit(try_number=2, max_tries=max_tries)

    assert submit.created == [submit.dag.image_task_id]


@FINDS_AGAIN
@WITH_AND_WITHOUT_LEDGER
def test_killed_after_the_answer_the_service_is_asked_and_nothing_is_paid_twice(submit: SubmitTask) -> None:
    submit.start_killed_after_the_answer()

    assert submit.dag.submit(try_number=2).state == "success"
    assert submit.created == [submit.dag.image_task_id]


@FINDS_AGAIN
@pytest.mark.parametrize("keeps_records", [False])
def test_without_a_ledger_a_clear_makes_a_new_picture(submit: SubmitTask) -> None:
    submit.dag.submit()
    submit.dag.submit(try_number=2, max_tries=3)

    assert len(submit.created) == 2


@CANNOT_TELL
def test_where_the_service_cannot_tell_a_person_is_asked_and_clear_submits(submit: SubmitTask) -> None:
    submit.start_killed_after_the_answer()
    unknown = submit.dag.submit(try_number=2)

    assert unknown.state == "failed"
    assert isinstance(unknown.error, UnknownOutcomeError)
    assert "Clear submits" in str(unknown.error)
    assert len(submit.created) == 1
    assert submit.dag.submit(try_number=3, max_tries=4).state == "success"
    assert len(submit.created) == 2


@CANNOT_TELL
def test_resubmit_is_a_choice(submit: SubmitTask) -> None:
    submit.start_killed_after_the_answer(on_unknown_outcome="resubmit")

    assert submit.dag.submit(try_number=2, on_unknown_outcome="resubmit").state == "success"
    assert len(submit.created) == 2


@pytest.mark.parametrize("service_name", ["aigptimage"], indirect=True)
def test_a_request_that_changed_never_goes_out_under_the_key_of_the_old_one(submit: SubmitTask) -> None:
    submit.start_killed_after_the_answer()
    changed = submit.dag.submit(try_number=2, prompt="a blue boat")

    assert isinstance(changed.error, UnknownOutcomeError)
    assert "changed" in str(changed.error)
    assert len(submit.created) == 1


@LOOKS_UP
def test_a_request_that_changed_is_not_handed_the_picture_of_the_old_one(submit: SubmitTask) -> None:
    submit.start_killed_after_the_answer()
    changed = submit.dag.submit("a blue boat", try_number=2)

    assert isinstance(changed.error, InvalidRequestError)
    assert submit.created[0] in str(changed.error)
    assert len(submit.created) == 1
    assert submit.dag.submit("a blue boat", try_number=3, max_tries=4).state == "success"
    assert len(submit.created) == 2


@pytest.mark.parametrize("prompt", ["a kite [cut-after=1]", "a kite [500-after=1]", "a kite [garbage=1]"])
@WITH_AND_WITHOUT_LEDGER
@LOOKS_UP
def test_a_submission_that_is_not_answered_is_looked_up_at_once(submit: SubmitTask, prompt: str) -> None:
    assert submit.dag.submit(prompt).state == "success"
    assert submit.created == [submit.dag.image_task_id]


@LOOKS_UP
@pytest.mark.parametrize("is_killed", [False, True], ids=["in the same try", "on a retry"])
def test_it_is_looked_up_again_while_the_service_still_writes_it_down(submit: SubmitTask, is_killed: bool) -> None:
    submit.monkeypatch.setattr(reconciling, "LOOK_PAUSES", (0.0, 0.2, 1.0))
    prompt = f"a kite [late-record=0.3]{'' if is_killed else ' [cut-after=1]'}"
    if is_killed:
        submit.start_killed_after_the_answer(prompt)

    assert submit.dag.submit(prompt, try_number=1 + is_killed).state == "success"
    assert submit.created == [submit.dag.image_task_id]


@pytest.mark.parametrize("service_name", ["acedatacloud", "kie"], indirect=True)
def test_after_an_unknown_outcome_a_clear_submits(submit: SubmitTask) -> None:
    first = submit.dag.submit("a kite [cut-after=1] [late-record=60]")

    assert isinstance(first.error, UnknownOutcomeError)
    assert submit.dag.submit("a kite [cut-after=1] [late-record=60]", try_number=2, max_tries=3).state == "success"
    assert len(submit.created) == 2


@LOOKS_UP
def test_a_service_that_cannot_be_asked_leaves_the_outcome_unknown(submit: SubmitTask) -> None:
    def cannot_be_asked(*_arguments: Any, **_named: Any) -> Any:
        raise ServiceUnavailableError("it is down")
        yield

    submit.monkeypatch.setattr(submission, "find_submission", cannot_be_asked)

    outcome = submit.dag.submit("a kite [cut-after=1]")

    assert outcome.state == "failed"
    assert isinstance(outcome.error, UnknownOutcomeError)


def test_a_prompt_that_changed_under_a_retry_is_refused_and_a_clear_submits_it(submit: SubmitTask) -> None:
    submit.dag.submit()
    first = submit.dag.image_task_id
    changed = submit.dag.submit("a blue boat", try_number=2)

    assert isinstance(changed.error, InvalidRequestError)
    assert first in str(changed.error)
    assert "Clear" in str(changed.error)
    assert submit.created == [first]
    assert submit.dag.submit("a blue boat", try_number=3, max_tries=4).state == "success"
    assert len(submit.created) == 2


def test_a_ledger_that_cannot_be_read_keeps_from_submitting(submit: SubmitTask, files_as_ledger: Path) -> None:
    submit.dag.submit()
    (written,) = files_as_ledger.rglob("*.json")
    written.write_text("{")

    outcome = submit.dag.submit(try_number=2)

    assert outcome.state == "up_for_retry"
    assert "cannot be read" in str(outcome.error)
    assert len(submit.created) == 1


@CANNOT_TELL
@pytest.mark.parametrize("clears", [False, True], ids=["retry", "Clear"])
def test_a_storage_that_fails_for_a_moment_is_not_taken_for_an_empty_ledger(
    submit: SubmitTask, monkeypatch: pytest.MonkeyPatch, clears: bool
) -> None:
    submit.start_killed(FileStore, "write", is_last=lambda record: record.image_task_id)
    assert len(submit.created) == 1

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "info", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        failed = submit.dag.submit(try_number=2, max_tries=4 if clears else 2)
    assert failed.state == "up_for_retry"
    assert "cannot be read" in str(failed.error)

    assert submit.dag.submit(try_number=3, max_tries=4 if clears else 2).state == "success"
    assert len(submit.created) == 1


@LOOKS_UP
def test_the_files_of_an_edit_are_read_once(submit: SubmitTask, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "photo.png")
    reads: list[Any] = []
    submit.monkeypatch.setattr(
        hooks, "with_files_read", lambda request: reads.append(request) or with_files_read(request)
    )

    assert submit.dag.submit(images=[f"file://{tmp_path}/photo.png"]).state == "success"
    assert len(reads) == 1
