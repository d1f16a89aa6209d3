from __future__ import annotations

import hashlib
import traceback
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from tests.conftest import BY_HTTP
from tests.image_dag import ImageDag

TAKES_FILES = ("acedatacloud", "xhuoapi", "openai")
JOBS_API = pytest.mark.parametrize("service_name", ["aigptimage", "kie"], indirect=True)
ONE, TWO = "https://example.com/a.png", "https://example.com/b.png"


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    """Files on the worker's disk: a picture, a mask that fits it, and what is no picture."""
    paths = {name: tmp_path / f"{name}.png" for name in ("photo", "mask", "text")}
    Image.new("RGB", (64, 48), "orange").save(paths["photo"])
    Image.new("RGBA", (64, 48)).save(paths["mask"])
    paths["text"].write_text("not a picture")
    return paths


def references(dag: ImageDag) -> list[list[str]]:
    return [entry["references"] for entry in dag.created]


@BY_HTTP
def test_urls_are_passed_on(dag: ImageDag, service_name: str) -> None:
    # Replicate's models say by their names whether they take several.
    outcome = dag.submit(images=[ONE, TWO], model="google/nano-banana" if service_name == "replicate" else None)

    assert outcome.state == "success", outcome.error
    assert references(dag) == [[ONE, TWO]]


MALFORMED = [
    *("http://[", "http://[::1", "HTTPS://[/a.png", "https://ho℀st/x.png", "https://example.com:port/a.png"),
    *("http://", "https:///a.png", "https://?sig=secret-of-the-url", "https://exam ple.com/a.png"),
    "https://someone:secret-of-the-url@[/a.png?sig=secret-of-the-url",
    "https://someone:secret-of-the-url@ho℀st/a.png?sig=secret-of-the-url",
]


@pytest.mark.parametrize("name", ["images", "mask"])
def test_a_url_that_cannot_be_read_is_refused_before_anything_is_sent_and_not_shown(dag: ImageDag, name: str) -> None:
    for url in MALFORMED:
        outcome = dag.submit(**{"images": [ONE, url]} if name == "images" else {"images": [ONE], "mask": url})
        assert outcome.state == "failed"
        assert isinstance(outcome.error, InvalidRequestError)
        assert f"{name} holds a URL" in outcome.error.message
        assert outcome.error.billed == "no"
        refused = dag.runner.xcoms["submit", "image_task_refused"]
        assert refused["error"]["class"] == "InvalidRequestError"
        told = "".join(traceback.format_exception(outcome.error))
        assert "secret-of-the-url" not in f"{told}{refused}"
    assert dag.created == []


@pytest.mark.parametrize("service_name", TAKES_FILES, indirect=True)
def test_files_are_uploaded(dag: ImageDag, paths: dict[str, Path]) -> None:
    photo, options = paths["photo"], {"size": "64x64"}
    outcome = dag.submit(images=[f"file://{photo}", str(photo)], mask=str(paths["mask"]), options=options)

    assert outcome.state == "success", outcome.error
    assert references(dag) == [[hashlib.sha256(photo.read_bytes()).hexdigest()] * 2]
    assert dag.created[0]["mask"] is True


@JOBS_API
def test_options_may_name_the_field_that_a_model_takes_pictures_in(dag: ImageDag) -> None:
    assert dag.submit(images=[ONE], options={"image_input": []}).state == "success"
    assert references(dag) == [[ONE]]


REFUSED_BY_THE_TASKS_API = [
    ({"images": ["missing.png"]}, "absolute"),
    ({"images": ["/nowhere/missing.png"]}, "/nowhere/missing.png"),
    ({"images": ["s3://bucket/a.png"]}, "s3://bucket/a.png"),
    ({"images": ["{text}"]}, "cannot be used"),
    ({"images": ["data:image/png;base64,AAAA"]}, "data:"),
    ({"images": ["{photo}", ONE]}, "mixes"),
    ({"images": [ONE] * 17}, "16"),
    ({"images": [ONE], "mask": "{mask}"}, "mask"),
    ({"images": ["{photo}"], "mask": "{photo}"}, "transparent"),
    ({"mask": "{mask}"}, "without images"),
]
REFUSED_BY_THE_JOBS_API = [
    ({"images": ["{photo}"]}, "URLs"),
    ({"images": [ONE], "options": {"input_urls": [TWO]}}, "input_urls"),
]


@pytest.mark.parametrize(
    ("service_name", "arguments", "said"),
    [
        *((name, *case) for name in TAKES_FILES for case in REFUSED_BY_THE_TASKS_API),
        *((name, *case) for name in ("aigptimage", "kie") for case in REFUSED_BY_THE_JOBS_API),
    ],
    indirect=["service_name"],
)
def test_what_cannot_be_edited_is_refused_before_anything_is_billed(
    dag: ImageDag, paths: dict[str, Path], arguments: dict[str, Any], said: str
) -> None:
    given = dict(arguments)
    if "images" in given:
        given["images"] = [image.format(**paths) for image in given["images"]]
    if "mask" in given:
        given["mask"] = given["mask"].format(**paths)

    outcome = dag.submit(**given)

    assert outcome.state == "failed"
    assert isinstance(outcome.error, InvalidRequestError)
    assert said in str(outcome.error)
    assert references(dag) == []
