from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot
from airflow_provider_imagetasks.submissions.stores import FileStore, LedgerStore, NoStore, TaskStateStore, store_for
from airflow_provider_imagetasks.submissions.submission_record import SubmissionRecord

RECORD = SubmissionRecord(fingerprint="f", generation=0, max_tries=2, intent_at=1_000.0)
SLOT = SubmissionSlot(dag_id="dag", task_id="task", run_id="run", map_index=-1, max_tries=2, try_number=1)


class AirflowsState(dict[str, Any]):
    """Airflow's accessor, as far as it is used."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


@pytest.fixture(params=["state", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerStore:
    """Each store that keeps records."""
    return (
        TaskStateStore(AirflowsState()) if request.param == "state" else FileStore(str(tmp_path / "ledger"), SLOT.names)
    )


def test_what_is_written_is_read_again(store: LedgerStore) -> None:
    assert store.read() is None
    store.write(RECORD)
    store.write(replace(RECORD, image_task_id="a"))

    assert store.read() == replace(RECORD, image_task_id="a")


def test_the_start_that_announced_itself_last_is_the_latest(store: LedgerStore) -> None:
    assert store.latest_start() is None
    store.announce("one")
    store.announce("another")
    store.write(RECORD)

    assert store.latest_start() == "another"
    assert store.read() == RECORD


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_first_record_never_takes_the_place_of_another_where_the_disk_can_see_to_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", Mock(side_effect=PermissionError(1, "no links here")))
    store = FileStore(str(tmp_path), SLOT.names)
    store.write(RECORD, is_first=True)
    second = replace(RECORD, generation=1)

    if links:
        with pytest.raises(FileExistsError):
            store.write(second, is_first=True)
    else:
        store.write(second, is_first=True)

    assert store.read() == (RECORD if links else second)
    assert [path.suffix for path in tmp_path.rglob("*.*")] == [".json"]


def test_submissions_have_files_of_their_own(tmp_path: Path) -> None:
    FileStore(str(tmp_path), SLOT.names).write(RECORD)

    assert FileStore(str(tmp_path), replace(SLOT, map_index=0).names).read() is None
    assert FileStore(str(tmp_path), SLOT.names).read() == RECORD


class DoesNotAnswer(AirflowsState):
    def get(self, key: str, default: Any = None) -> Any:
        raise ConnectionError("the API server restarts")


def test_a_store_that_cannot_be_read_is_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    damaged = FileStore(str(tmp_path), SLOT.names)
    damaged.write(RECORD)
    (written,) = tmp_path.rglob("*.json")
    written.write_text("{")

    for store in (damaged, TaskStateStore(DoesNotAnswer())):
        with pytest.raises(ImageTaskError, match="cannot be read") as raised:
            store.read()
        assert raised.value.retryable is True


def test_a_write_that_did_not_arrive_is_noticed() -> None:
    class Forgetful(AirflowsState):
        def set(self, key: str, value: Any) -> None:
            pass

    with pytest.raises(ImageTaskError, match="cannot be written"):
        TaskStateStore(Forgetful()).write(RECORD)


def test_airflows_own_store_comes_first_then_the_configured_folder_then_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(store_for({}, SLOT), NoStore)
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__LEDGER_PATH", f"file://{tmp_path}")
    assert isinstance(store_for({}, SLOT), FileStore)
    assert isinstance(store_for({"task_state_store": AirflowsState()}, SLOT), TaskStateStore)


def test_without_a_store_nothing_is_known() -> None:
    store = NoStore()
    store.write(RECORD)
    store.announce("a start")

    assert store.read() is store.latest_start() is None
    assert store.keeps_records is False


def test_in_airflow_s_store_a_start_that_was_frozen_takes_nothing_from_a_later_try() -> None:
    state = AirflowsState()
    first, second, third, fourth = (TaskStateStore(state, number) for number in (1, 2, 3, 4))
    taken = replace(RECORD, try_number=2, image_task_id="a")
    assert second.read() is None
    second.write(taken)
    first.write(RECORD)
    assert third.read() == taken
    third.announce("third")
    first.write(RECORD)

    assert fourth.read() == taken


def test_in_airflow_s_store_the_first_try_keeps_one_record_and_reads_what_earlier_versions_wrote() -> None:
    state = AirflowsState()
    first, second = TaskStateStore(state, 1), TaskStateStore(state, 2)
    first.announce("first")
    first.write(RECORD)

    assert state.keys() == {"imagetasks_submission", "imagetasks_submission_start"}
    assert second.read() == RECORD
