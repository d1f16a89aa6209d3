from __future__ import annotations

import hashlib
import json

import pytest
import requests

from tests.local.clients import JobsApiClient, TasksApiClient, picture_at, picture_file

PURPLE = (200, 30, 160)
FOREIGN = "https://pictures.example.com/one.png"


@pytest.fixture(params=["acedatacloud", "xhuoapi/v1"])
def edits_api(request, service):
    """Both services of the family."""
    return TasksApiClient(f"{service.url}/{request.param}")


def share_of(picture, colour):
    pixels = picture.get_flattened_data()
    return sum(1 for pixel in pixels if all(abs(a - b) < 24 for a, b in zip(pixel, colour, strict=True))) / len(pixels)


def test_an_uploaded_picture_is_what_is_drawn_on(service, edits_api):
    files = [picture_file(PURPLE), picture_file((0, 0, 0), media_format="JPEG")]
    response = edits_api.edit_files("a yellow kite", files, n="2", size="192x192", callback_url="https://a.invalid/")
    assert list(response.json()) == ["task_id"]
    task_id = response.json()["task_id"]
    pictures = edits_api.pictures(task_id)
    assert [picture.size for picture in pictures] == [(192, 192)] * 2
    assert all(share_of(picture, PURPLE) > 0.3 for picture in pictures)
    assert pictures[0].tobytes() != pictures[1].tobytes()
    (created,), (summary,) = service.stats()["created"], service.tasks
    assert created["references"] == [hashlib.sha256(file).hexdigest() for file in files]
    assert (created["references"], created["mask"]) == (list(summary.references), summary.mask)
    record = edits_api.record(task_id)
    assert (created["mask"], record["type"], record["request"]["n"]) == (False, "images", 2)
    assert record["request"]["image"] == ["image-0.png", "image-1.png"]


def test_a_mask_lets_something_new_show_where_it_is_transparent(service, tasks_api):
    def drawn(alpha):
        mask = picture_file((0, 0, 0, alpha))
        task_id = tasks_api.edit_files("a kite", [picture_file(PURPLE)], mask=mask).json()["task_id"]
        return share_of(tasks_api.pictures(task_id)[0], PURPLE)

    assert drawn(255) > 0.9
    assert drawn(0) < 0.1
    assert [created["mask"] for created in service.stats()["created"]] == [True, True]


def test_a_picture_of_the_service_itself_is_drawn_on_and_others_are_only_noted(service, tasks_api):
    purple = tasks_api.edit_files("a kite", [picture_file(PURPLE)]).json()["task_id"]
    url = tasks_api.record(purple)["response"]["data"][0]["url"]
    edited = tasks_api.edit("a kite", [FOREIGN, url]).json()["task_id"]
    assert share_of(tasks_api.pictures(edited)[0], PURPLE) > 0.3
    noted = tasks_api.edit("a kite", FOREIGN, size="192x192").json()["task_id"]
    plain = tasks_api.submitted("a kite", size="192x192")
    assert tasks_api.pictures(noted)[0].tobytes() != tasks_api.pictures(plain)[0].tobytes()
    references = [created["references"] for created in service.stats()["created"]]
    assert references[1:] == [[FOREIGN, url], [FOREIGN], []]
    assert service.stats()["dialects"]["acedatacloud"]["edits"] == 3


def test_an_automatic_size_has_the_proportions_of_the_first_picture(tasks_api):
    wide = picture_file(PURPLE, size=(320, 160))
    task_id = tasks_api.edit_files("a kite", [wide], size="auto").json()["task_id"]
    assert tasks_api.pictures(task_id)[0].size == (1024, 512)


def test_urls_can_come_in_a_form_too(service, tasks_api):
    fields = {"prompt": "a kite", "model": "gpt-image-1", "async": "true", "size": "64x64"}
    parts = [("image", (None, FOREIGN)), ("image", (None, FOREIGN))]
    url = f"{tasks_api.url}/openai/images/edits"
    task_id = requests.post(url, data=fields, files=parts, timeout=10).json()["task_id"]
    assert tasks_api.record(task_id)["type"] == "images_edits"
    assert service.stats()["created"][0]["references"] == [FOREIGN] * 2


def test_an_edit_can_be_synchronous_and_can_have_mishaps(tasks_api):
    answer = tasks_api.edit_files("a kite", [picture_file()], **{"async": "false"}).json()
    assert answer["data"][0]["url"]
    assert tasks_api.record(answer["task_id"]) == {}
    assert tasks_api.edit_files("a kite [refuse]", [picture_file()]).status_code == 403
    assert tasks_api.edit("a kite [429=1]", FOREIGN).status_code == 429


@pytest.mark.parametrize(
    "image",
    [
        *(None, [], "", "kite.png", "data:image/png;base64,AAAA", ["ftp://example.com/x"], [5], [FOREIGN] * 17),
        {"url": "x"},
    ],
)
def test_references_have_to_be_urls(service, tasks_api, image):
    response = tasks_api.edit("a kite", image)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")
    assert service.tasks == []


def test_a_mask_in_json_is_refused(tasks_api):
    assert tasks_api.edit("a kite", FOREIGN, mask=FOREIGN).status_code == 400


def test_files_have_to_be_pictures_and_masks_have_to_fit(service, tasks_api):
    good, clear = picture_file(), (0, 0, 0, 0)
    refused = [
        tasks_api.edit_files("a kite", []),
        tasks_api.edit_files("a kite", [b"no picture"]),
        tasks_api.edit_files("a kite", [good, good[: len(good) // 2]]),
        tasks_api.edit_files("a kite", [picture_file(media_format="GIF")]),
        tasks_api.edit_files("a kite", [good] * 17),
        tasks_api.edit_files("a kite", [good], mask=good),
        tasks_api.edit_files("a kite", [good], mask=picture_file(clear, size=(32, 64))),
        tasks_api.edit_files("a kite", [good], mask=picture_file(clear, media_format="WEBP")),
        tasks_api.edit_files("a kite", [good], mask=picture_file(clear) + bytes(4 * 1024 * 1024)),
        tasks_api.edit_files("a kite", [], mask=picture_file(clear)),
        tasks_api.edit_files("a kite", [good], image=FOREIGN),
        tasks_api.edit_files("a kite", [good], n="many"),
        tasks_api.edit_files("", [good]),
    ]
    assert [response.status_code for response in refused] == [400] * len(refused)
    assert {response.json()["error"]["code"] for response in refused} == {"bad_request"}
    assert service.tasks == []


@pytest.mark.parametrize(
    "body", [b"", b"--x\r\n\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\n\xff\r\n--x--\r\n"]
)
@pytest.mark.parametrize("boundary", ["; boundary=x", ""])
def test_a_broken_form_is_a_bad_request(tasks_api, body, boundary):
    headers = {"Content-Type": f"multipart/form-data{boundary}"}
    response = requests.post(f"{tasks_api.url}/openai/images/edits", data=body, headers=headers, timeout=10)
    assert response.status_code == 400


@pytest.mark.parametrize("dialect", ["aigptimage", "kie"])
@pytest.mark.parametrize("field", ["input_urls", "image_urls", "image_input"])
def test_the_createtask_family_takes_urls(service, dialect, field):
    client = JobsApiClient(f"{service.url}/{dialect}")
    client.submitted("a kite", model="gpt-image-2-image-to-image", **{field: [FOREIGN]})
    assert service.stats()["created"][0]["references"] == [FOREIGN]
    assert service.stats()["dialects"][dialect]["edits"] == 1


@pytest.mark.parametrize("urls", [None, [], FOREIGN, ["data:image/png;base64,AAAA"], [FOREIGN] * 17])
def test_the_createtask_family_wants_urls_for_edits(service, jobs_api, kie, urls):
    order = {} if urls is None else {"input_urls": urls}
    response = jobs_api.submit("a kite", model="gpt-image-2-image-to-image", **order)
    assert (response.status_code, response.json()["code"]) == (422, 422)
    response = kie.submit("a kite", model="gpt-image-2-image-to-image", **order)
    assert (response.status_code, response.json()["code"]) == (200, 422)
    assert service.tasks == []


def test_the_createtask_family_draws_on_pictures_of_the_service(tasks_api, jobs_api):
    wide = picture_file(PURPLE, size=(160, 80))
    purple = tasks_api.edit_files("a kite", [wide], size="160x80").json()["task_id"]
    url = tasks_api.record(purple)["response"]["data"][0]["url"]
    edit = jobs_api.submitted("a kite", model="gpt-image-2-image-to-image", input_urls=[url])
    (result,) = json.loads(jobs_api.record(edit)["resultJson"])["resultUrls"]
    picture = picture_at(result).convert("RGB")
    assert picture.size == (1024, 512)
    assert share_of(picture, PURPLE) > 0.3
