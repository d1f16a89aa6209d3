"""What is damaged of a ledger pays for nothing: the error names the file, and says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.operators import image_task as operators
from airflow_provider_imagetasks.submissions.stores import store_for
from tests.image_batch import ImageBatch
from tests.image_dag import ImageDag

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
NO_NUMBER = float("nan")
RECORD = {
    "fingerprint": (5, None),
    "generation": ("0", 1.5, True, None),
    "max_tries": ("2", None),
    "intent_at": ("yesterday", None, [], NO_NUMBER),
    "image_task_id": (7, ["a"]),
    "submitted_at": ("now", {}),
    "trace_id": (7,),
    "reported_unknown": ("no", 0),
    "finished": ("no", None),
    "refused": ("no", 1),
    "try_number": ("1", None),
    "unsettled_at": ("x",),
}
INTENT = {
    "index": (-1, "0", 99, None, True, 0.5),
    "attempt": (-1, "0", None, 70_000),
    "at": ("now", None, NO_NUMBER),
    "image_task_id": (7, []),
    "submitted_at": ("now",),
    "taken": ("no", 0),
    "after_unbilled": ("yes",),
}
OUTCOME = {
    "index": (-1, "0", 99, None),
    "attempt": ("0", None),
    "status": ("done", None, []),
    "image_task_id": (7,),
    "error": ("no luck", None, {"class": "X", "billed": "perhaps"}, {}),
    "files": ("none", [7], [{}]),
    "usage": ("much",),
}
CHECKPOINT = {"generation": ("0", None), "max_tries": ("2", None), "cleared_at": ("x",), "began_at": ("x", NO_NUMBER)}
OWNER = {"total": ("2",), "dag_id": (5,), "unpriced": ("x",)}


def each(fields: dict[str, tuple[Any, ...]]) -> Any:
    """Parametrise over each damaged value of each field."""
    damages = [(field, value) for field, values in fields.items() for value in values]
    return pytest.mark.parametrize(("field", "value"), damages, ids=[f"{field} {value!r}" for field, value in damages])


def damage(path: Path, line: int, field: str, value: Any) -> None:
    lines = path.read_text().splitlines()
    lines[line] = json.dumps({**json.loads(lines[line]), field: value})
    path.write_text("\n".join(lines))


@each(RECORD)
def test_a_damaged_record_of_a_submission_pays_for_nothing(
    dag: ImageDag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: Any
) -> None:
    monkeypatch.setattr(operators, "store_for", lambda _context, slot: store_for({}, slot))
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    dag.submit()
    (written,) = (tmp_path / "ledger").rglob("*.json")
    damage(written, 0, field, value)

    failed = dag.submit(try_number=2)

    check(failed.error, written.name, "look at the service for what was submitted")
    assert len(dag.created) == 1


def check(error: Any, file: str, advice: str) -> None:
    assert isinstance(error, ImageTaskError), error
    assert file in str(error)
    assert "nobody can tell" in str(error)
    assert advice in str(error)
    assert "It was not billed" not in str(error)


@pytest.fixture
def broken(batch: ImageBatch) -> Callable[..., None]:
    """Damages a file of a batch whose one row failed, and checks that no start pays for anything by it."""
    batch.start("a kite [fail]", row_attempts=1)

    def broken(pattern: str, line: int, field: str, value: Any) -> None:
        (file,) = batch.folder.glob(pattern)
        damage(file, line, field, value)
        for how in ({"try_number": 2}, {"try_number": 3, "max_tries": 4}):
            check(batch.start("a kite [fail]", row_attempts=1, **how).error, file.name, "start a new Dag run")
        assert len(batch.created) == 1

    return broken


@each(INTENT)
def test_a_damaged_intent_of_a_batch_pays_for_nothing(broken: Callable[..., None], field: str, value: Any) -> None:
    broken("intents-*", 1, field, value)


@each(OUTCOME)
def test_a_damaged_outcome_of_a_batch_pays_for_nothing(broken: Callable[..., None], field: str, value: Any) -> None:
    broken("outcomes-*", 0, field, value)


@each(CHECKPOINT)
def test_a_damaged_checkpoint_of_a_batch_pays_for_nothing(broken: Callable[..., None], field: str, value: Any) -> None:
    broken("life.json", 0, field, value)


@each(OWNER)
def test_a_damaged_owner_of_a_batch_pays_for_nothing(broken: Callable[..., None], field: str, value: Any) -> None:
    broken("batch.json", 0, field, value)


def test_a_frozen_request_that_is_damaged_pays_for_nothing(batch: ImageBatch) -> None:
    batch.start("a kite [fail]", row_attempts=1)
    (batch.folder / "requests.jsonl").write_text("{\n")

    failed = batch.start("a kite [fail]", row_attempts=1, try_number=2, max_tries=4)

    assert isinstance(failed.error, ImageTaskError)
    assert "requests.jsonl, line 1" in str(failed.error)
    assert "start a new Dag run" in str(failed.error)
    assert len(batch.created) == 1
