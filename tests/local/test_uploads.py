from __future__ import annotations

import hashlib

import pytest

from tests.local.clients import TasksApiClient, picture_at, picture_file

PURPLE = (200, 30, 160)
FOREIGN = "https://pictures.example.com/one.png"
CLEAR = (0, 0, 0, 0)


@pytest.fixture(params=["acedatacloud", "xhuoapi/v1"])
def edits_api(request, service):
    """Both services of the family."""
    return TasksApiClient(f"{service.url}/{request.param}")


def share_of(picture, colour=PURPLE):
    pixels = picture.get_flattened_data()
    return sum(1 for pixel in pixels if all(abs(a - b) < 24 for a, b in zip(pixel, colour, strict=True))) / len(pixels)


def test_an_uploaded_picture_is_what_is_drawn_on(service, edits_api):
    files = [picture_file(PURPLE), picture_file((0, 0, 0), media_format="JPEG")]
    response = edits_api.edit_files("a yellow kite", files, n="2", size="192x192", callback_url="https://a.invalid/")
    assert list(response.json()) == ["task_id"]
    task_id = response.json()["task_id"]
    pictures = edits_api.pictures(task_id)
    assert [picture.size for picture in pictures] == [(192, 192)] * 2
    assert all(share_of(picture) > 0.3 for picture in pictures)
    assert pictures[0].tobytes() != pictures[1].tobytes()
    (created,), (summary,), record = service.stats()["created"], service.tasks, edits_api.record(task_id)
    assert created["references"] == [hashlib.sha256(file).hexdigest() for file in files] == list(summary.references)
    assert (created["mask"], summary.mask, record["type"], record["request"]["n"]) == (False, False, "images", 2)
    assert record["request"]["image"] == ["image-0.png", "image-1.png"]


def test_a_mask_lets_something_new_show_where_it_is_transparent(service, tasks_api):
    def drawn(alpha):
        mask = picture_file((0, 0, 0, alpha))
        task_id = tasks_api.edit_files("a kite", [picture_file(PURPLE)], mask=mask).json()["task_id"]
        return share_of(tasks_api.pictures(task_id)[0])

    assert drawn(255) > 0.9
    assert drawn(0) < 0.1
    assert [created["mask"] for created in service.stats()["created"]] == [True, True]


def test_a_picture_of_the_service_itself_is_drawn_on_and_others_are_only_noted(service, tasks_api, jobs_api):
    wide = picture_file(PURPLE, size=(320, 160))
    purple = tasks_api.edit_files("a kite", [wide], size="auto").json()["task_id"]
    (url,) = tasks_api.urls(purple)
    edited = tasks_api.edit("a kite", [FOREIGN, url]).json()["task_id"]
    assert share_of(tasks_api.pictures(edited)[0]) > 0.3
    (result,) = jobs_api.urls(jobs_api.submitted("a kite", model="gpt-image-2-image-to-image", input_urls=[url]))
    # An automatic size has the proportions of the first picture.
    for picture in (picture_at(url).convert("RGB"), picture_at(result).convert("RGB")):
        assert picture.size == (1024, 512)
        assert share_of(picture) > 0.3
    noted = tasks_api.edit("a kite", FOREIGN, size="192x192").json()["task_id"]
    plain = tasks_api.submitted("a kite", size="192x192")
    assert tasks_api.pictures(noted)[0].tobytes() != tasks_api.pictures(plain)[0].tobytes()
    references = [created["references"] for created in service.stats()["created"]]
    assert references[1:] == [[FOREIGN, url], [url], [FOREIGN], []]
    assert service.stats()["dialects"]["acedatacloud"]["edits"] == 3


def test_an_edit_can_be_synchronous_and_can_have_mishaps(tasks_api):
    answer = tasks_api.edit_files("a kite", [picture_file()], **{"async": "false"}).json()
    assert answer["data"][0]["url"]
    assert tasks_api.record(answer["task_id"]) == {}
    assert tasks_api.edit_files("a kite [refuse]", [picture_file()]).status_code == 403
    assert tasks_api.edit("a kite [429=1]", FOREIGN).status_code == 429


NO_URLS = [
    *(None, [], "", "kite.png", "data:image/png;base64,AAAA", ["ftp://a.example/x"]),
    *([5], [FOREIGN] * 17, {"url": "x"}),
]


@pytest.mark.parametrize(("image", "mask"), [*((image, None) for image in NO_URLS), (FOREIGN, FOREIGN)])
def test_references_in_json_have_to_be_urls_and_no_mask_goes_with_them(service, tasks_api, image, mask):
    response = tasks_api.edit("a kite", image, **({"mask": mask} if mask else {}))
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")
    assert service.tasks == []


GOOD = picture_file()


@pytest.mark.parametrize(
    ("images", "form"),
    [
        ([], {}),
        ([b"no picture"], {}),
        ([GOOD, GOOD[: len(GOOD) // 2]], {}),
        ([picture_file(media_format="GIF")], {}),
        ([GOOD] * 17, {}),
        ([GOOD], {"mask": GOOD}),
        ([GOOD], {"mask": picture_file(CLEAR, size=(32, 64))}),
        ([GOOD], {"mask": picture_file(CLEAR, media_format="WEBP")}),
        ([GOOD], {"mask": picture_file(CLEAR) + bytes(4 * 1024 * 1024)}),
        ([], {"mask": picture_file(CLEAR)}),
        ([GOOD], {"image": FOREIGN}),
        ([GOOD], {"n": "many"}),
        ([GOOD], {"prompt": ""}),
    ],
)
def test_files_have_to_be_pictures_and_masks_have_to_fit(service, tasks_api, images, form):
    response = tasks_api.edit_files(**{"prompt": "a kite", "images": images, **form})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")
    assert service.tasks == []


GOOD_PARTS = [("prompt", (None, "a kite")), ("image", ("a.png", GOOD))]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([("mask", ("m.png", picture_file(CLEAR)))] * 2, "one mask"),
        ([("prompt", ("prompt.txt", "a kite"))], "prompt is not a file"),
        ([("mask", (None, "m.png"))], "mask is a file"),
        ([("model", (None, b"\xff", "application/octet-stream"))], "model is a text"),
        ([("model", (None, "m" * (1024 * 1024 + 1)))], "model is larger than 1 MB"),
    ],
)
def test_a_form_has_no_other_files_and_its_texts_are_texts(service, tasks_api, parts, message):
    response = tasks_api.request("POST", "/openai/images/edits", files=GOOD_PARTS + parts)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")
    assert message in response.json()["error"]["message"]
    assert service.tasks == []


@pytest.mark.parametrize("urls", [None, [], FOREIGN, ["data:image/png;base64,AAAA"], [FOREIGN] * 17])
def test_the_createtask_family_wants_urls_for_edits(service, jobs_api, kie, urls):
    order = {} if urls is None else {"input_urls": urls}
    for client, status in ((jobs_api, 422), (kie, 200)):
        response = client.submit("a kite", model="gpt-image-2-image-to-image", **order)
        assert (response.status_code, response.json()["code"]) == (status, 422)
    assert service.tasks == []
