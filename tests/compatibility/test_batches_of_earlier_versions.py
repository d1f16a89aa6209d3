"""A batch that an earlier version began goes on with this one, and pays for nothing that was paid for."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.batch_ledger import BatchLedger
from airflow_provider_imagetasks.batch.costs import Spending
from airflow_provider_imagetasks.batch.folder import BatchFolder, Owner
from airflow_provider_imagetasks.batch.requests_file import FrozenRequests
from airflow_provider_imagetasks.batch.row_decisions import Checkpoint
from airflow_provider_imagetasks.batch.start import STATE_KEY
from airflow_provider_imagetasks.batch.state import BatchState, Stage
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot, batch_identity
from airflow_provider_imagetasks.triggers.image_batch import EVENT_STATUSES

FOLDERS = sorted(Path(__file__).parent.glob("written_by_*/batch*"))
ACCOUNT = Account(
    conn_id="imagetasks_default", service="acedatacloud", base_url=get_service("acedatacloud").default_base_url
)


@pytest.fixture(params=FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def written(request: pytest.FixtureRequest) -> Path:
    """The folder of a batch as each version left it."""
    return Path(request.param)


@pytest.fixture
def around(written: Path) -> dict[str, Any]:
    """What Airflow kept of that batch."""
    return dict(json.loads((written / "around.json").read_text()))


@pytest.fixture
def folder(written: Path, around: dict[str, Any], tmp_path: Path) -> BatchFolder:
    slot = around["slot"]
    identity = batch_identity(**{name: slot[name] for name in ("dag_id", "task_id", "run_id", "map_index")})
    shutil.copytree(written, tmp_path / ".imagetasks" / identity)
    return BatchFolder(f"file://{tmp_path}", identity)


def test_it_is_found_under_its_name_and_is_its_own(folder: BatchFolder, around: dict[str, Any]) -> None:
    owner = folder.owner()

    assert owner is not None
    assert owner.mark == around["state_store"][STATE_KEY]["mark"]
    assert around["state_store"][STATE_KEY]["folder"].endswith(folder.uri.rpartition("/")[2])
    assert (owner.total, owner.invalid) == (6, 1)


@pytest.mark.parametrize(
    ("life", "stages"),
    [
        ({}, ["SUCCEEDED", "FAILED", "OPEN", "OPEN", "NEW", "NEW"]),
        ({"retried_at": 9}, ["SUCCEEDED", "FAILED", "OPEN", "OPEN", "NEW", "NEW"]),
        ({"cleared_at": 9}, ["SUCCEEDED", "NEW", "OPEN", "OPEN", "NEW", "NEW"]),
    ],
)
def test_every_row_stands_where_it_stood(folder: BatchFolder, tmp_path: Path, life, stages) -> None:
    begun, owner = folder.checkpoint(), folder.owner()
    assert begun is not None
    assert owner is not None
    state = BatchState(owner.total)
    spending = Spending(owner.total, 10, lambda row, _pictures: 1.0)
    records = BatchLedger(folder, replace(begun, **life), state, tmp_path, ACCOUNT, spending)
    records.load()
    records.close()

    assert [Stage(state.stages[row]).name for row in range(owner.total)] == stages
    assert state.open[2].image_task_id == "8294ca12-992b-4a61-9f0e-0d6b0b0a2f11"
    assert state.open[3].image_task_id is None
    # Rows 0, 2 and 3 are paid for, or may be; row 1 was not billed.
    assert spending.amount == 3


def test_the_frozen_requests_are_read(folder: BatchFolder, tmp_path: Path) -> None:
    assert folder.fetch("requests.jsonl", tmp_path / "copy")
    requests = FrozenRequests(tmp_path / "copy")

    assert requests.line(0)["id"] == "SKU-1"
    assert requests.request(2).options == {"size": "1024x1024"}
    assert "promt" in requests.line(5)["error"]["message"]
    requests.close()


def test_a_submission_has_the_same_key_by_which_the_service_knows_it(
    around: dict[str, Any], folder: BatchFolder
) -> None:
    slot, owner = SubmissionSlot(**around["slot"]), folder.owner()
    assert owner is not None
    nonce = owner.mark if owner.keys_by_mark else ""

    assert replace(slot, item_index=2).identity(0, 0, nonce) == around["identity_of_row_2"]
    assert replace(slot, item_index=1).identity(0, 1, nonce) == around["identity_of_row_1_again"]


def test_its_wait_is_taken_over_by_the_trigger_of_its_name(around: dict[str, Any]) -> None:
    deferral = around["deferral"]
    module, _, name = deferral["classpath"].rpartition(".")
    trigger = getattr(import_module(module), name)(**deferral["trigger_kwargs"])

    assert {**trigger.serialize()[1], **deferral["trigger_kwargs"]} == trigger.serialize()[1]
    assert {event["status"] for event in deferral["events"]} <= set(EVENT_STATUSES)


def test_all_that_this_version_writes_is_kept_for_later_ones() -> None:
    newest = FOLDERS[-1]
    due = f"this version writes more than {newest.parent.name} holds: keep what it writes in a folder beside it"

    owner, life = (json.loads((newest / name).read_text()) for name in ("batch.json", "life.json"))
    assert {"schema", *(field.name for field in fields(Owner))} == owner.keys(), due
    assert {"schema", *(field.name for field in fields(Checkpoint))} == life.keys(), due
