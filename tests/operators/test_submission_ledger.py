"""The submit operator through the ledger, in Airflow's task runner: tries, Clears and what was cut off between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import InvalidRequestError, ServiceUnavailableError, UnknownOutcomeError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.operators import image_task as operators
from airflow_provider_imagetasks.operators.image_task import ImageTaskSubmitOperator
from airflow_provider_imagetasks.submissions import ledger as submitting
from airflow_provider_imagetasks.submissions import reconciling
from airflow_provider_imagetasks.submissions.stores import FileStore, NoStore, store_for
from tests.conftest import BY_URL
from tests.task_runner import Outcome, TaskRunner

FINDS_AGAIN = pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi", "aigptimage"], indirect=True)
LOOKS_UP = pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi"], indirect=True)
CANNOT_TELL = pytest.mark.parametrize("service_name", ["kie", "acedatacloud_mcp", "gpt_image_mcp"], indirect=True)


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the package runs after it."""


@pytest.fixture(autouse=True)
def files_as_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep records in files, which every Airflow can; Airflow's own store is tested in test_stores and for real."""
    store = lambda context, **slot: store_for({}, **slot)  # noqa: E731
    monkeypatch.setattr(operators, "store_for", store)
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__LEDGER_PATH", f"file://{tmp_path}/ledger")


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses are for a service that is slow to write things down."""
    monkeypatch.setattr(reconciling, "LOOK_PAUSES", (0.0, 0.0))


@pytest.fixture
def start(runner: TaskRunner) -> Callable[..., Outcome]:
    """Start the submit task; say how Airflow starts it."""

    def run(*, try_number: int = 1, max_tries: int = 2, **arguments: Any) -> Outcome:
        arguments = {"prompt": "a red kite", "retries": 2, **arguments}
        return runner.run(
            lambda: ImageTaskSubmitOperator(task_id="submit", **arguments), try_number=try_number, max_tries=max_tries
        )

    return run


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """End the next start of the task at a certain point."""

    def at(point: str) -> None:
        real_submit, real_write = ImageTaskHook.send, FileStore.write

        def submit(self: ImageTaskHook, *arguments: Any, **more: Any) -> Any:
            monkeypatch.setattr(ImageTaskHook, "send", real_submit)
            if point == "after the answer":
                real_submit(self, *arguments, **more)
            raise Killed

        def write(self: FileStore, record: Any) -> None:
            real_write(self, record)
            if record.image_task_id:
                monkeypatch.setattr(FileStore, "write", real_write)
                raise Killed

        if point == "after the record":
            monkeypatch.setattr(FileStore, "write", write)
        else:
            monkeypatch.setattr(ImageTaskHook, "send", submit)

    return at


def created(image_service: LocalImageService) -> list[str]:
    return [entry["id"] for entry in image_service.stats()["created"]]


def pushed(runner: TaskRunner) -> str:
    return str(runner.xcoms[("submit", "return_value")])


def test_a_retry_hands_on_what_was_submitted(
    runner: TaskRunner, start: Callable[..., Outcome], image_service: LocalImageService
) -> None:
    start()
    first = pushed(runner)
    runner.xcoms.clear()
    start(try_number=2)

    assert [first] == created(image_service) == [pushed(runner)]
    assert runner.xcoms[("submit", "image_task")]["prompt"] == "a red kite"


def test_a_clear_makes_a_new_picture_each_time(
    runner: TaskRunner, start: Callable[..., Outcome], image_service: LocalImageService
) -> None:
    start(try_number=1, max_tries=2)
    start(try_number=2, max_tries=3)
    start(try_number=3, max_tries=4)
    start(try_number=4, max_tries=4)

    assert len(set(created(image_service))) == 3
    assert pushed(runner) == created(image_service)[-1]


def test_killed_after_the_record_nothing_is_submitted_again(
    runner: TaskRunner, start: Callable[..., Outcome], kill: Callable[[str], None], image_service: LocalImageService
) -> None:
    kill("after the record")
    assert isinstance(start().error, Killed)
    start(try_number=2)

    assert created(image_service) == [pushed(runner)]


def test_killed_after_the_record_a_clear_resumes(
    runner: TaskRunner, start: Callable[..., Outcome], kill: Callable[[str], None], image_service: LocalImageService
) -> None:
    kill("after the record")
    assert isinstance(start().error, Killed)
    start(try_number=2, max_tries=3)

    assert created(image_service) == [pushed(runner)]


@FINDS_AGAIN
def test_killed_after_the_answer_the_service_is_asked_and_nothing_is_paid_twice(
    runner: TaskRunner, start: Callable[..., Outcome], kill: Callable[[str], None], image_service: LocalImageService
) -> None:
    kill("after the answer")
    assert isinstance(start().error, Killed)
    assert start(try_number=2).state == "success"

    assert created(image_service) == [pushed(runner)]


@CANNOT_TELL
def test_where_the_service_cannot_tell_a_person_is_asked_and_clear_submits(
    runner: TaskRunner, start: Callable[..., Outcome], kill: Callable[[str], None], image_service: LocalImageService
) -> None:
    kill("after the answer")
    assert isinstance(start().error, Killed)
    unknown = start(try_number=2)

    assert unknown.state == "failed"
    assert isinstance(unknown.error, UnknownOutcomeError)
    assert "Clear submits" in str(unknown.error)
    assert len(created(image_service)) == 1
    assert start(try_number=3, max_tries=4).state == "success"
    assert len(created(image_service)) == 2


@CANNOT_TELL
def test_resubmit_is_a_choice(
    runner: TaskRunner, start: Callable[..., Outcome], kill: Callable[[str], None], image_service: LocalImageService
) -> None:
    kill("after the answer")
    assert isinstance(start(on_unknown_outcome="resubmit").error, Killed)

    assert start(try_number=2, on_unknown_outcome="resubmit").state == "success"
    assert len(created(image_service)) == 2


@pytest.mark.parametrize("prompt", ["a kite [cut-after=1]", "a kite [500-after=1]", "a kite [garbage=1]"])
@LOOKS_UP
def test_a_submission_that_is_not_answered_is_looked_up_at_once(
    runner: TaskRunner, start: Callable[..., Outcome], image_service: LocalImageService, prompt: str
) -> None:
    outcome = start(prompt=prompt)

    assert outcome.state == "success"
    assert created(image_service) == [pushed(runner)]


@LOOKS_UP
def test_it_is_looked_up_again_while_the_service_still_writes_it_down(
    runner: TaskRunner, start: Callable[..., Outcome], image_service: LocalImageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "LOOK_PAUSES", (0.0, 0.2, 1.0))

    assert start(prompt="a kite [cut-after=1] [late-record=0.3]").state == "success"
    assert created(image_service) == [pushed(runner)]


@LOOKS_UP
def test_a_retry_that_comes_before_the_service_has_written_it_down_looks_again(
    runner: TaskRunner,
    start: Callable[..., Outcome],
    kill: Callable[[str], None],
    image_service: LocalImageService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconciling, "LOOK_PAUSES", (0.0, 1.0))
    prompt = "a kite [late-record=0.5]"
    kill("after the answer")
    assert isinstance(start(prompt=prompt).error, Killed)

    assert start(prompt=prompt, try_number=2).state == "success"
    assert created(image_service) == [pushed(runner)]


@pytest.mark.parametrize("service_name", ["acedatacloud", "kie"], indirect=True)
def test_after_an_unknown_outcome_a_clear_submits(
    start: Callable[..., Outcome], image_service: LocalImageService
) -> None:
    first = start(prompt="a kite [cut-after=1] [late-record=60]")

    assert isinstance(first.error, UnknownOutcomeError)
    assert start(prompt="a kite [cut-after=1] [late-record=60]", try_number=2, max_tries=3).state == "success"
    assert len(created(image_service)) == 2


@LOOKS_UP
def test_a_service_that_cannot_be_asked_leaves_the_outcome_unknown(
    start: Callable[..., Outcome], image_service: LocalImageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot_be_asked(*_arguments: Any, **_more: Any) -> Any:
        raise ServiceUnavailableError("it is down")
        yield

    monkeypatch.setattr(submitting, "reconcile_patiently", cannot_be_asked)

    outcome = start(prompt="a kite [cut-after=1]")

    assert outcome.state == "failed"
    assert isinstance(outcome.error, UnknownOutcomeError)


@BY_URL
def test_a_definite_refusal_leaves_no_record_behind(
    start: Callable[..., Outcome], image_service: LocalImageService, tmp_path: Path
) -> None:
    start(prompt="a kite [no-credit]")

    assert list((tmp_path / "ledger").rglob("*.json")) == []
    assert created(image_service) == []


def test_a_prompt_that_changed_under_a_retry_is_refused_and_a_clear_submits_it(
    runner: TaskRunner, start: Callable[..., Outcome], image_service: LocalImageService
) -> None:
    start()
    first = pushed(runner)
    changed = start(prompt="a blue boat", try_number=2)

    assert isinstance(changed.error, InvalidRequestError)
    assert first in str(changed.error)
    assert "Clear" in str(changed.error)
    assert created(image_service) == [first]
    assert start(prompt="a blue boat", try_number=3, max_tries=4).state == "success"
    assert len(created(image_service)) == 2


def test_a_ledger_that_cannot_be_read_keeps_from_submitting(
    start: Callable[..., Outcome], image_service: LocalImageService, tmp_path: Path
) -> None:
    start()
    (written,) = (tmp_path / "ledger").rglob("*.json")
    written.write_text("{")

    outcome = start(try_number=2)

    assert outcome.state == "up_for_retry"
    assert "cannot be read" in str(outcome.error)
    assert len(created(image_service)) == 1


class TestWithoutLedger:
    """Before Airflow 3.3, where no ledger_path is set."""

    @pytest.fixture(autouse=True)
    def no_store(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(operators, "store_for", lambda *_arguments, **_slot: NoStore())

    @FINDS_AGAIN
    def test_a_retry_asks_the_service_where_it_can_tell(
        self,
        runner: TaskRunner,
        start: Callable[..., Outcome],
        kill: Callable[[str], None],
        image_service: LocalImageService,
    ) -> None:
        kill("after the answer")
        assert isinstance(start().error, Killed)
        start(try_number=2)

        assert created(image_service) == [pushed(runner)]

    @LOOKS_UP
    def test_a_submission_that_is_not_answered_is_looked_up_at_once(
        self, runner: TaskRunner, start: Callable[..., Outcome], image_service: LocalImageService
    ) -> None:
        assert start(prompt="a kite [cut-after=1]").state == "success"
        assert created(image_service) == [pushed(runner)]

    @FINDS_AGAIN
    def test_a_clear_makes_a_new_picture(self, start: Callable[..., Outcome], image_service: LocalImageService) -> None:
        start(try_number=1, max_tries=2)
        start(try_number=2, max_tries=3)

        assert len(created(image_service)) == 2


def test_a_submission_has_the_same_identity_on_every_try_and_another_in_every_slot() -> None:
    def slot(**fields: Any) -> submitting.SubmissionSlot:
        defaults = {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1, "max_tries": 2, "try_number": 1}
        return submitting.SubmissionSlot(**{**defaults, **fields})

    assert slot(try_number=2, max_tries=9).identity(0) == slot().identity(0)
    others = [slot(map_index=0), slot(item_index=1), slot(run_id="s"), slot(task_id="u"), slot(dag_id="e")]
    assert len({slot().identity(0), slot().identity(1), *(other.identity(0) for other in others)}) == 7
