"""One connection, all models of a vendor: submitted, waited for and stored, by the id alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from PIL import Image

from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.polling.reads import read_all
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from tests.driven_transports import TRANSPORTS, DrivenTransport, account
from tests.image_batch import ImageBatch
from tests.image_dag import ImageDag

ONE, TWO = "https://example.com/a.png", "https://example.com/b.png"
ACEDATACLOUD = {
    "flux/flux-2-pro": {},
    "nano-banana/nano-banana-2": {"resolution": "1K", "aspect_ratio": "16:9"},
    "seedream/doubao-seedream-4-0-250828": {"size": "1K"},
    "qwen-image/qwen-image-3.0": {"size": "512*512"},
    "midjourney/": {},
}
KIE = {
    "4o-image/": {"size": "3:2"},
    "flux-kontext/flux-kontext-max": {"aspectRatio": "16:9"},
    "mj/7": {},
    "nano-banana-pro": {"aspect_ratio": "16:9"},
    "z-image": {},
}
MODELS = [("acedatacloud", *model) for model in ACEDATACLOUD.items()] + [("kie", *model) for model in KIE.items()]
EACH = pytest.mark.parametrize(("service_name", "model", "options"), MODELS, indirect=["service_name"])


@EACH
def test_the_id_leads_sensor_and_download_to_the_api(
    dag: ImageDag, service_name: str, model: str, options: dict[str, Any]
) -> None:
    assert dag.submit(model=model, options=options).state == "success"
    prefix = f"{model.partition('/')[0]}." if "/" in model else ""
    assert dag.image_task_id.startswith(prefix)
    waited = dag.wait()

    assert waited.state == "success", waited.error
    assert (dag.record["id"], dag.record["service"]) == (dag.image_task_id, service_name)
    assert dag.save().state == "success"
    assert len(dag.stored) == (4 if model == "mj/7" else 1)
    assert all(path.name.startswith(prefix) for path in dag.stored)
    with Image.open(dag.stored[0]) as picture:
        assert picture.size[0] >= 512


@pytest.mark.parametrize("service_name", ["acedatacloud", "kie"])
@pytest.mark.parametrize("kind", TRANSPORTS)
def test_all_of_them_are_read_together_over_either_transport(
    image_service: LocalImageService, service_name: str, kind: str, no_proxy: None
) -> None:
    service, transport = get_service(service_name), DrivenTransport(kind)
    where = account(json.loads(image_service.connection(service_name))["host"], service=service_name)
    models = [model for name, model, _ in MODELS if name == service_name] * 2
    asked = [service.complete(ImageRequest(prompt="a kite", model=model), where) for model in models]

    ids = [transport.run(service.submit(request), where).id for request in asked]
    tasks = transport.run(read_all(service, Pace(None), ids), where)

    assert [task.id for task in tasks.values()] == ids
    assert {task.state for task in tasks.values()} == {TaskState.SUCCEEDED}
    assert [str(task.model).startswith(model) for task, model in zip(tasks.values(), models, strict=True)] == [
        True
    ] * 10


EDITS = {
    "flux/flux-kontext-pro": ("acedatacloud", [ONE]),
    "nano-banana/": ("acedatacloud", [ONE, TWO]),
    "seedream/": ("acedatacloud", [ONE, TWO]),
    "qwen-image/": ("acedatacloud", [ONE]),
    "midjourney/": ("acedatacloud", [ONE]),
    "4o-image/": ("kie", [ONE, TWO]),
    "flux-kontext/": ("kie", [ONE]),
    "mj/": ("kie", [ONE]),
    "qwen/image-edit": ("kie", [ONE]),
    "google/nano-banana-edit": ("kie", [ONE, TWO]),
    "seedream/5-lite-image-to-image": ("kie", [ONE]),
}


@pytest.mark.parametrize(
    ("service_name", "model", "images"),
    [(service, model, images) for model, (service, images) in EDITS.items()],
    indirect=["service_name"],
)
def test_pictures_to_edit_reach_each_of_them(dag: ImageDag, model: str, images: list[str]) -> None:
    outcome = dag.submit(model=model, images=images)

    assert outcome.state == "success", outcome.error
    assert dag.created[0]["references"] == images
    assert dag.wait().state == "success"


@pytest.mark.parametrize("service_name", ["kie"], indirect=True)
@pytest.mark.parametrize("model", ["recraft/remove-background", "topaz/image-upscale", "ideogram/v3-reframe"])
def test_a_model_without_a_prompt_takes_pictures_alone(dag: ImageDag, batch: ImageBatch, model: str) -> None:
    outcome = dag.submit(prompt=None, model=model, images=[ONE])
    assert outcome.state == "success", outcome.error
    assert dag.wait().state == "success"
    assert (dag.record["prompt"], dag.runner.xcoms["submit", "image_task"]["prompt"]) == (None, None)
    assert dag.save().state == "success"

    rows = [{"images": [ONE], "model": model}, {"images": [TWO], "model": model}]
    assert batch.start(requests=rows, options={}).state == "success"
    assert [(row["status"], row["prompt"]) for row in batch.rows] == [("succeeded", None)] * 2


SEVERAL = pytest.mark.parametrize(
    ("service_name", "model", "options", "count"),
    [
        ("kie", "mj/7", {}, 4),
        ("kie", "mj/", {}, 4),
        ("kie", "4o-image/", {"nVariants": 2}, 2),
        ("acedatacloud", "midjourney/", {}, 1),
        ("acedatacloud", "midjourney/", {"split_images": True}, 5),
    ],
    indirect=["service_name"],
)


@SEVERAL
@pytest.mark.parametrize("is_of_connection", [False, True])
def test_max_cost_goes_by_the_pictures_that_a_model_makes_of_one_request(
    batch: ImageBatch,
    connection: dict[str, Any],
    model: str,
    options: dict[str, Any],
    count: int,
    is_of_connection: bool,
) -> None:
    given: dict[str, Any] = {"options": options, "prices": {model: 0.5}, "poll_interval": 1}
    if is_of_connection:
        connection["extra"]["default_model"] = model
    else:
        given["model"] = model

    refused = batch.start("a kite", max_cost=0.5 * count - 0.1, **given)
    assert (batch.created, batch.rows[0]["error"]["code"]) == ([], "max_cost"), refused.error
    assert batch.start("a kite", max_cost=0.5 * count, try_number=2, max_tries=3, **given).state == "success"
    assert batch.pushed()["cost"] == pytest.approx(0.5 * count)


@SEVERAL
def test_as_many_pictures_are_expected_as_a_model_makes_of_one_request(
    dag: ImageDag, batch: ImageBatch, model: str, options: dict[str, Any], count: int
) -> None:
    dag.submitted(model=model, options=options)
    assert dag.wait().state == "success"
    assert dag.record["image_count_requested"] == len(dag.record["images"]) == count

    one_name = batch.start("a kite", model=model, options=options, filename="{row}.{ext}", poll_interval=1)
    assert one_name.state == ("success" if count == 1 else "failed")
    assert len(dag.created) == 1 + (count == 1)


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_the_parts_of_a_picture_are_stored_beside_it(dag: ImageDag) -> None:
    dag.submitted(model="midjourney/", options={"split_images": True})

    assert dag.wait().state == "success"
    assert dag.save().state == "success"
    assert [file["index"] for file in dag.files] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("service_name", "model", "said"),
    [
        ("kie", "kling-3.0/video", "does not make pictures"),
        ("aigptimage", "seedance-2.0", "does not make pictures"),
        ("kie", None, "only with a prompt"),
        ("acedatacloud", "flux/", "only with a prompt"),
        ("xhuoapi", None, "only with a prompt"),
    ],
    indirect=["service_name"],
)
def test_what_would_be_paid_in_vain_is_refused(dag: ImageDag, model: str | None, said: str) -> None:
    given = {"prompt": None, "images": [ONE]} if "prompt" in said else {}
    outcome = dag.submit(model=model, **given)

    assert (outcome.state, dag.created) == ("failed", [])
    assert said in str(outcome.error)
    assert "It was not billed" in str(outcome.error)
