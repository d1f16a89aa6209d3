"""What a download announces to Airflow, in the message with which Airflow's own task runner ends the task."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias

from airflow_provider_imagetasks.observability import assets
from airflow_provider_imagetasks.observability.assets import picture_extra, stable_uri
from tests.conftest import BY_URL
from tests.image_dag import ImageDag
from tests.task_runner import Outcome

ALIAS = AssetAlias("pictures")
SIZE = {"bytes": 70_000, "width": 512, "height": 512, "media_type": "image/png"}
FILE = {"uri": "s3://a_connection@bucket/kites/1-0.png", "sha256": "0" * 64, **SIZE, "image_task_id": "1", "index": 0}


def extra(**fields: Any) -> dict[str, Any]:
    return picture_extra(FILE, **{"service": "kie", "model": "m", "prompt": "a kite", "usage": None, **fields})


def told(outcome: Outcome) -> tuple[list[Any], list[Any]]:
    """Return the events of the alias, and those of the asset."""
    events = outcome.message.outlet_events
    of_alias = [event for event in events if "source_alias_name" in event]
    return of_alias, [event for event in events if event not in of_alias]


def test_an_alias_gets_an_event_for_each_picture_whose_uri_is_the_asset_and_an_asset_one_that_lists_them(
    dag: ImageDag, service_name: str
) -> None:
    dag.submit()
    (event,), (summary,) = told(dag.save(outlets=[ALIAS, Asset("all_kites")]))

    (file,) = dag.files
    assert event["source_alias_name"] == "pictures"
    assert event["dest_asset_key"]["uri"] == file["uri"]
    assert event["extra"].items() >= file.items()
    assert (event["extra"]["service"], event["extra"]["prompt"]) == (service_name, "a red kite")
    # The texts of the GPT-Image server do not name the model.
    assert event["extra"]["model"] or service_name == "gpt_image_mcp"
    assert summary["dest_asset_key"]["name"] == "all_kites"
    assert (summary["extra"]["count"], summary["extra"]["bytes"]) == (1, file["bytes"])
    assert summary["extra"]["pictures"][0]["sha256"] == file["sha256"]


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_each_picture_is_an_event_but_what_is_listed_and_announced_is_bounded(
    dag: ImageDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "MOST_EVENTS", 2)
    monkeypatch.setattr(assets, "MOST_LISTED", 1)

    dag.submit(options={"n": 3})
    events, (summary,) = told(dag.save(outlets=[ALIAS, Asset("all_kites")]))

    announced = [event["dest_asset_key"]["uri"] for event in events]
    assert announced == [file["uri"] for file in dag.files[:2]]
    assert len(set(announced)) == 2
    assert (summary["extra"]["count"], len(summary["extra"]["pictures"])) == (3, 1)


@BY_URL
def test_nothing_is_announced_where_the_download_fails(dag: ImageDag, no_pauses: None) -> None:
    dag.submit("a red kite [file-404]")
    outcome = dag.save(outlets=[ALIAS])

    assert outcome.state != "success"
    assert not getattr(outcome.message, "outlet_events", None)


def test_an_event_names_no_connection_and_stays_small_json_whatever_the_service_says() -> None:
    wordy = extra(prompt="\U0001fa81" * 5_000, usage={"details": "x" * 5_000})

    assert extra()["uri"] == "s3://bucket/kites/1-0.png"
    assert len(json.dumps(wordy)) < 5_000
    for usage in ({"credits": float("nan")}, {"credits": object()}):
        assert extra(usage=usage)["usage"] is None


@pytest.mark.parametrize(
    ("uri", "stable"),
    [
        ("s3://connection@bucket/kites/a.png", "s3://bucket/kites/a.png"),
        ("s3://bucket/why?/a.png", "s3://bucket/why?/a.png"),
        ("file:///data/run@noon/a.png", "file:///data/run@noon/a.png"),
        ("https://user:password@cdn.example/a.png?X-Amz-Signature=1#top", "https://cdn.example/a.png"),
        ("https://cdn.example?token=1", "https://cdn.example"),
    ],
)
def test_a_stable_uri_has_neither_credentials_nor_signature(uri: str, stable: str) -> None:
    assert stable_uri(uri) == stable


def test_a_name_that_airflow_would_misread_is_quoted_and_one_that_it_does_not_take_passed_over() -> None:
    asset = assets._asset_of("file:///data/why?/ärger #1.png")

    assert asset is not None
    assert asset.uri == "file:///data/why%3F/%C3%A4rger%20%231.png"
    assert assets._asset_of("file:///" + "a" * 2_000) is None
