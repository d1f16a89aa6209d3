from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

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

    def delete(self, key: str) -> None:
        self.pop(key, None)


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


def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: LedgerStore) -> None:
    store.write(RECORD)
    store.delete()
    store.delete()

    assert store.read() is None


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
    store.delete()

    assert store.read() is None
    assert store.keeps_records is False
