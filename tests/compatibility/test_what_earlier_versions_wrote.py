"""What earlier versions left in Airflow's database and on object storage is read by this one, and means the same.

A folder ``written_by_<version>`` holds what that version wrote: waits in the triggerer, records of submissions, XComs,
and the folder of a batch where it had batches. A folder is never changed; a version that writes something new adds one
of its own, and the last test says when that is due.
"""

from __future__ import annotations

import json
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks import __version__
from airflow_provider_imagetasks.hooks.references import read_references
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account, read_account
from airflow_provider_imagetasks.services.inline_ids import INLINE_PREFIX, task_from_inline_id
from airflow_provider_imagetasks.submissions.decisions import decide
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot
from airflow_provider_imagetasks.submissions.stores import STATE_KEY, FileStore, TaskStateStore
from airflow_provider_imagetasks.submissions.submission_record import SubmissionRecord, fingerprint, read_record
from airflow_provider_imagetasks.tasks import ImageRequest
from airflow_provider_imagetasks.triggers.image_task import EVENT_STATUSES, ImageTaskTrigger
from tests.task_runner import TaskRunner

VERSIONS = sorted(
    Path(__file__).parent.glob("written_by_*"), key=lambda folder: [int(part) for part in folder.name.split("_")[2:]]
)


def entries(file: str) -> list[Any]:
    """Return what every version wrote into a file of that name, as parameters."""
    return [
        pytest.param(entry, id=f"{version.name}-{entry['name']}".replace(" ", "_"))
        for version in VERSIONS
        for entry in json.loads((version / file).read_text())
    ]


def account_of(submission: dict[str, Any]) -> Account:
    service = get_service(submission["service"])
    return read_account(
        conn_id=submission["conn_id"],
        service=service.name,
        default_base_url=service.default_base_url,
        requires_key=service.requires_key,
        host=None,
        key="another-key-than-then",
        extra={},
    )


def fingerprint_today(submission: dict[str, Any]) -> str:
    account = account_of(submission)
    return fingerprint(get_service(account.service).complete(ImageRequest(**submission["request"]), account), account)


def slot_of(submission: dict[str, Any]) -> SubmissionSlot:
    return SubmissionSlot(**submission["slot"])


@pytest.mark.parametrize("deferral", entries("deferrals.json"))
def test_a_wait_is_taken_over_by_the_trigger_of_its_name(deferral: dict[str, Any]) -> None:
    module, _, name = deferral["classpath"].rpartition(".")

    trigger = getattr(import_module(module), name)(**deferral["trigger_kwargs"])

    assert {**trigger.serialize()[1], **deferral["trigger_kwargs"]} == trigger.serialize()[1]


@pytest.mark.usefixtures("skipped_pauses")
@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
@pytest.mark.parametrize("deferral", entries("deferrals.json"))
def test_a_task_resumes_with_the_event_of_a_wait(deferral: dict[str, Any], runner: TaskRunner) -> None:
    kwargs = deferral["trigger_kwargs"]
    image_task_id = kwargs["image_task_ids"] or None
    assert {event["status"] for event in deferral["events"]} <= set(EVENT_STATUSES)
    for event in deferral["events"]:
        outcome = runner.run(
            lambda: ImageTaskSensor(
                task_id="wait", image_task_id=image_task_id, trace_id=kwargs["trace_id"], deferrable=True
            ),
            next_method=deferral["next_method"],
            next_kwargs={**deferral["next_kwargs"], "event": event},
        )

        # The local service knows nothing of that image task: the record was asked for, and not found.
        assert outcome.error is not None
        assert "ImageTaskNotFoundError" in [base.__name__ for base in type(outcome.error).__mro__]


@pytest.mark.parametrize("submission", entries("submissions.json"))
def test_a_record_is_found_in_the_task_state_store_and_leads_to_the_same_key_and_decision(submission) -> None:
    assert STATE_KEY == "imagetasks_submission"
    record, mark = TaskStateStore({STATE_KEY: submission["record"]}).read(), fingerprint_today(submission)

    assert record == read_record(submission["record"])
    assert record.fingerprint == mark
    assert slot_of(submission).identity(record.generation) == submission["identity"]
    for decision, max_tries in ((submission["a_retry"], record.max_tries), (submission["a_clear"], 99)):
        assert type(decide(record, fingerprint=mark, max_tries=max_tries)).__name__ == decision


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_record_is_found_in_the_ledgers_folder(version: Path) -> None:
    found = []
    for submission in json.loads((version / "submissions.json").read_text()):
        slot = slot_of(submission)
        names = (slot.dag_id, slot.task_id, slot.run_id, str(slot.map_index), str(slot.item_index))
        record = FileStore(f"file://{version}/ledger", names).read()
        found += [record] if record == read_record(submission["record"]) else []

    assert len(found) == len(list((version / "ledger").rglob("*.json"))) > 0


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_what_was_pushed_to_xcom_points_to_the_same_image_tasks(version: Path) -> None:
    for name, value in json.loads((version / "xcoms.json").read_text()).items():
        references = read_references(value)

        assert references.is_sequence == isinstance(value, list)
        for reference, given in zip(references.items, value if references.is_sequence else [value], strict=True):
            assert reference.id == (given if isinstance(given, str) else given["id"]), name
            if isinstance(given, dict):
                assert (reference.conn_id, reference.service) == (given["conn_id"], given["service"])
                assert reference.submitted_at is not None
            elif given.startswith(INLINE_PREFIX):
                assert task_from_inline_id(given, "xhuoapi").images[0].url == "https://cdn.example.com/0.png"


def test_all_that_this_version_writes_is_kept_for_later_ones() -> None:
    newest = VERSIONS[-1]
    (first, *_) = json.loads((newest / "deferrals.json").read_text())
    written = ImageTaskTrigger(conn_id="c", image_task_ids=["a"], deadline=2.0, poll_interval=1.0, asked_at=1.0)
    due = f"{__version__} writes more than {newest.name} holds: keep what it writes in a folder of its own"

    assert written.serialize()[1].keys() == first["trigger_kwargs"].keys(), due
    records = [submission["record"] for submission in json.loads((newest / "submissions.json").read_text())]
    assert {"version", *(field.name for field in fields(SubmissionRecord))} in [record.keys() for record in records], (
        due
    )
