"""What a start of a batch finds: nothing yet, what was frozen, or a folder that is not there any more."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.row_decisions import FailureBudget
from airflow_provider_imagetasks.batch.start import STATE_KEY, keep
from airflow_provider_imagetasks.exceptions import ImageTaskError
from tests.batch.batches import LOG, SLOT, Easel, opened
from tests.batch.batches import arguments as arguments_of


def arguments(path: Path) -> BatchArguments:
    return arguments_of(path, service=Easel())


class Store(dict[str, Any]):
    """Airflow's store for a task instance."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


def test_a_first_start_freezes_and_a_later_one_reads_only_that(tmp_path: Path) -> None:
    given = arguments(tmp_path)
    opened(tmp_path, given, ["a kite", "a boat"]).close()

    later = opened(tmp_path, given, ["something else"])

    assert [later.requests.row(row).request.prompt for row in range(2)] == ["a kite", "a boat"]
    later.close()


def test_a_resumed_batch_that_does_not_find_its_folder_submits_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImageTaskError) as refused:
        opened(tmp_path, arguments(tmp_path), ["a kite"], resumes=True)

    assert refused.value.code == "batch_folder"
    assert "was begun" in refused.value.message
    assert not (tmp_path / "pictures" / ".imagetasks").exists()


def test_one_that_airflow_knows_of_submits_nothing_either(tmp_path: Path) -> None:
    store, given = Store(), arguments(tmp_path)
    opened(tmp_path, given, ["a kite"], state_store=store).close()
    shutil.rmtree(tmp_path / "pictures")

    with pytest.raises(ImageTaskError, match="was begun") as refused:
        opened(tmp_path, given, ["a kite"], state_store=store)
    assert (refused.value.code, refused.value.retryable) == ("batch_folder", True)


def test_what_earlier_versions_kept_of_a_batch_that_began_counts_too(tmp_path: Path) -> None:
    store = Store()
    keep(store, {"mark": "m", "counts": {"total": 1}})

    with pytest.raises(ImageTaskError, match="was begun"):
        opened(tmp_path, arguments(tmp_path), ["a kite"], state_store=store)


def test_a_start_that_was_killed_before_all_was_frozen_begins_anew(tmp_path: Path) -> None:
    store, given = Store(), arguments(tmp_path)
    keep(store, {"output_path": given.output_path, "folder": "f", "mark": "m"})

    again = opened(tmp_path, given, ["a kite"], state_store=store)

    assert again.owner.mark == store[STATE_KEY]["mark"] == "m"
    again.close()


def test_a_batch_stays_where_it_was_begun_whatever_its_path_renders_to(tmp_path: Path) -> None:
    store, given = Store(), arguments(tmp_path)
    opened(tmp_path, given, ["a kite"], state_store=store).close()

    again = opened(tmp_path, replace(given, output_path=f"file://{tmp_path}/elsewhere"), [], state_store=store)

    assert again.folder.output_path == given.output_path
    again.close()


def test_a_clear_of_a_success_begins_another_generation_and_keeps_the_manifest(tmp_path: Path) -> None:
    given = arguments(tmp_path)
    first = opened(tmp_path, given, ["a kite"])
    result = first.finish(tmp_path, FailureBudget(), LOG)
    first.close()

    again = opened(tmp_path, given, [], slot=replace(SLOT, max_tries=3))

    assert (result["failed"], result["total"], again.generation) == (0, 1, 1)
    assert again.folder.read("manifest.0.jsonl") == b""
    assert again.key_of(again.ledger.state.next_intents(1, 0.0, repeated=frozenset())[0])
    again.close()
