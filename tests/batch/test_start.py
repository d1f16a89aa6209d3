"""What a start of a batch finds: nothing yet, what was frozen, or a folder that is not there any more."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.start import STATE_KEY, keep
from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError
from tests.batch.batches import SLOT, Easel, arguments, intents, opened
from tests.submissions.test_stores import AirflowsState


@pytest.fixture
def given(tmp_path: Path) -> BatchArguments:
    return arguments(tmp_path, service=Easel())


def test_a_batch_that_airflow_knows_of_and_whose_folder_is_gone_submits_nothing(
    tmp_path: Path, given: BatchArguments
) -> None:
    store = AirflowsState()
    opened(tmp_path, given, ["a kite"], state_store=store).close()
    shutil.rmtree(tmp_path / "pictures")

    with pytest.raises(ImageTaskError, match="was started") as refused:
        opened(tmp_path, given, ["a kite"], state_store=store)
    assert (refused.value.code, refused.value.retryable) == ("batch_folder", True)


def test_what_earlier_versions_kept_of_a_batch_that_began_counts_too(tmp_path: Path, given: BatchArguments) -> None:
    store = AirflowsState()
    keep(store, {"mark": "m", "counts": {"total": 1}})

    with pytest.raises(ImageTaskError, match="was started"):
        opened(tmp_path, given, ["a kite"], state_store=store)


def test_a_start_that_was_killed_before_all_was_frozen_begins_anew(tmp_path: Path, given: BatchArguments) -> None:
    store = AirflowsState()
    keep(store, {"output_path": given.output_path, "folder": "f", "mark": "m"})

    again = opened(tmp_path, given, ["a kite"], state_store=store)

    assert again.owner.mark == store[STATE_KEY]["mark"] == "m"
    again.close()


def test_a_batch_stays_where_it_was_begun_whatever_its_path_renders_to(tmp_path: Path, given: BatchArguments) -> None:
    store = AirflowsState()
    opened(tmp_path, given, ["a kite"], state_store=store).close()

    again = opened(tmp_path, replace(given, output_path=f"file://{tmp_path}/elsewhere"), [], state_store=store)

    assert again.folder.output_path == given.output_path
    again.close()


def test_the_folder_of_a_run_that_was_deleted_is_not_taken_up_by_the_run_that_was_made_again(
    tmp_path: Path, given: BatchArguments
) -> None:
    opened(tmp_path, given, ["a kite"]).close()

    with pytest.raises(InvalidRequestError, match="earlier Dag run") as refused:
        opened(tmp_path, given, ["a kite"], slot=SLOT)
    assert "remove the folder" in str(refused.value)
    # As a person wants it: a Clear, and what comes back from the triggerer, go on.
    cleared = opened(tmp_path, given, ["a kite"], slot=replace(SLOT, try_number=2, max_tries=3))
    cleared.ledger.intend(intents(cleared))
    cleared.close()
    opened(tmp_path, given, ["a kite"], slot=SLOT, resumes=True).close()
