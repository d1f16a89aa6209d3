"""Whatever stands in a request to the gallery, or in the XComs that it reads: an answer, and no error of the server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi.testclient import TestClient

from airflow_provider_imagetasks.ui import archive_routes, plugin_application
from airflow_provider_imagetasks.ui.permissions import MayReadDag, MayReadTasks
from airflow_provider_imagetasks.ui.plugin_application import create_application
from tests.ui.conftest import RUN_ID, MetadataDatabase, own_folder

RUN = f"/api/dags/kites/runs/{quote(RUN_ID, safe='')}"
HUGE = "9" * 30
DEEP = "[" * 100_000


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.fixture
def client(database: MetadataDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Somebody who may read the Dag ``kites``, where a batch and an image task are."""
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__GALLERY_ROOTS", f"file://{tmp_path}")
    monkeypatch.setattr(plugin_application.records, "reading", lambda: nullcontext(database.session))
    for module in (plugin_application, archive_routes):
        monkeypatch.setattr(module, "readable_dags", lambda dag_ids, _user: {"kites"} & set(dag_ids))
    folder = tmp_path / "batch"
    own_folder(folder, "make")
    (folder / "requests.jsonl").write_text(json.dumps({"index": 0, "prompt": "a kite"}))
    (folder / "manifest.jsonl").write_text(json.dumps({"index": 0, "status": "failed", "error": {"class": "x"}}))
    database.add_run()
    for task_id in ("make", "submit"):
        database.add_task(task_id)
    now = datetime.now(UTC)
    database.push("make", {"folder": f"file://{folder}", "total": 2}, "image_batch", timestamp=now)
    database.push("make", {"manifest": f"file://{folder}/manifest.jsonl", "total": 2}, timestamp=now)
    database.push("submit", {"id": "it-1", "service": "kie", "prompt": "a kite"}, "image_task", timestamp=now)
    application = create_application()
    for right in (MayReadDag, MayReadTasks, GetUserDep):
        application.dependency_overrides[right.__metadata__[0].dependency] = lambda: None
    with TestClient(application) as client:
        yield client


PAGES = ("/api/pictures", "/api/totals", f"{RUN}/pictures", *(f"{RUN}/tasks/make/-1/{what}" for what in ("batch",)))
MOMENTS = (
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01", "2026-01-01T00:00:00", "now", "1e400"),
    *("-62135596800", "253402300799", HUGE, "2026-01-01T00:00:00Z", "nan"),
)
NUMBERS = ("0", "-1", HUGE, "-" + HUGE, "1" * 5_000, "NaN", "1e9", "", " ", "0x10", "\u0661")
TEXTS = ("\0", "%", "_", "' OR 1=1 --", "<script>alert(1)</script>", "\u202e", "x" * 20_000, "{{ 7 * 7 }}", "..", "*")
CURSORS = (
    *(
        "!",
        "=",
        "....",
        "\u00e9",
        "e30",
        cursor(),
        cursor("now", 1, "submit", -1),
        cursor(0, 0, 0, 0),
        HUGE,
        "-1",
        "0.0",
    ),
    *(cursor("2026-01-01T00:00:00", 1, "a", -1), cursor("0001-01-01T00:00:00+14:00", 1, "a", -1), "\u0661"),
    *(cursor("2026-01-01T00:00:00+00:00", number, "a", number) for number in (2**31, 2**63, 10**40, -(10**40), True)),
    *(cursor("2026-01-01T00:00:00+00:00", 1, text, -1) for text in ("\0", "\ud800", "x" * 10_000)),
    *(cursor("a", 10**40), cursor("\ud800", 1), cursor("\0", 1), cursor("a", None), f"{'9' * 9}.{'9' * 15}"),
    base64.urlsafe_b64encode(DEEP.encode()).decode()[:60_000],
)
QUERIES = [
    *(("since", each) for each in MOMENTS),
    *(("until", each) for each in MOMENTS),
    *(("row", each) for each in NUMBERS),
    *((name, each) for name in ("state", "search", "run_id", "order") for each in TEXTS),
    *(("cursor", each) for each in CURSORS),
]


def test_no_query_makes_a_page_fail(client: TestClient) -> None:
    for page in PAGES:
        assert client.get(page).status_code == 200
        for name, value in QUERIES:
            answer = client.get(page, params={name: value})
            assert answer.status_code in (200, 404, 422), (name, value[:80], answer.status_code)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "html" not in answer.headers["Content-Type"]


def test_no_place_makes_a_page_fail(client: TestClient) -> None:
    for what in ("pictures", "batch", "request", "manifest"):
        for task_id, map_index in [*(("make", number) for number in NUMBERS), *((text, "-1") for text in TEXTS)]:
            answer = client.get(f"{RUN}/tasks/{quote(task_id, safe='')}/{quote(map_index, safe='')}/{what}")
            is_there = task_id == "make" and map_index in ("-1", "0")
            assert answer.status_code in ((200, 404, 422) if is_there or what == "request" else (404, 405, 422)), (
                answer.url
            )


def test_no_dag_or_run_of_any_name_makes_a_page_fail(client: TestClient) -> None:
    # The client itself resolves two dots.
    for text in set(TEXTS) - {".."}:
        name = quote(text, safe="")
        for path in (f"/api/dags/{name}/runs/{name}/pictures", f"/api/dags/kites/runs/{name}/pictures"):
            assert client.get(path).status_code == 404
        for path in ("/api/pictures", "/api/totals"):
            assert client.get(path, params={"dag_id": text}).status_code in (403, 404)


def test_a_row_that_is_none_has_no_request(client: TestClient) -> None:
    for row in (*NUMBERS, "1", "2"):
        answer = client.get(f"{RUN}/tasks/make/-1/request", params={"row": row})
        assert answer.status_code in (200, 422)
        if answer.status_code == 200:
            assert answer.json()["prompt"] == ("a kite" if row == "0" else None)


HOSTILE_VALUES: list[Any] = [
    *(
        DEEP,
        DEEP + "]" * 100_000,
        "[" * 900 + "]" * 900,
        "{" + '"a":{' * 5_000,
        "null",
        "NaN",
        "\ud800",
        None,
        5,
        [],
        {},
    ),
    *([], [None], [[]], [{"id": None}], {"id": []}, {"id": {"a": 1}, "service": 5, "prompt": {}, "usage": []}),
    {"files": [{"uri": None, "image_task_id": "it-1", "index": "1", "sha256": {}, "width": 10**400}] * 3},
    {"files": {"a": 1}, "image_task_id": "x"},
    {"manifest": 5, "total": "many", "failed": [], "cost": 10**400},
    {"manifest": "file:///etc/passwd", "total": 1},
    {"folder": "file:///etc", "total": -1, "generation": "0"},
    {"folder": ["a"], "generation": 10**400},
    [{"id": "it-1", "class": ["x"], "code": {}, "message": 5, "billed": None, "advice": []}],
    {"class": {"a": 1}, "message": ["<b>"]},
    {"total": 10**400, "succeeded": "x", "failed": None, "running": True, "updated_at": 5},
    {"id": "it-1", "service": "kie", "state": [], "image_count_requested": {}, "images": 5, "duration": "x"},
    {"__data__": DEEP},
]
KEYS = (
    *("image_task", "image_task_refused", "image_batch", "return_value", "image_tasks", "image_task_failures"),
    *("image_task_error", "image_files", "progress"),
)


@pytest.mark.parametrize("key", KEYS)
def test_no_xcom_makes_the_pages_of_others_fail(client: TestClient, database: MetadataDatabase, key: str) -> None:
    now = datetime.now(UTC)
    for number, value in enumerate(HOSTILE_VALUES):
        database.push("hostile", value, key, map_index=number, timestamp=now)
        database.add_task("hostile", map_index=number)

    for page in PAGES:
        assert client.get(page).status_code == 200, page
    items = client.get("/api/pictures").json()["items"]
    assert {item["task_id"] for item in items} >= {"make", "submit"}
    for number, value in enumerate(HOSTILE_VALUES):
        for what in ("batch", "manifest") if key == "image_batch" else ("pictures",):
            answer = client.get(f"{RUN}/tasks/hostile/{number}/{what}")
            assert answer.status_code in (200, 404), (ascii(value)[:80], what)


def test_a_value_that_is_nested_beyond_reading_takes_no_page_along(
    client: TestClient, database: MetadataDatabase
) -> None:
    database.push("hostile", {}, "image_task", timestamp=datetime.now(UTC))
    database.write_value("hostile", DEEP)

    for page in PAGES:
        assert client.get(page).status_code == 200


def test_of_an_image_task_with_any_number_of_files_some_are_shown(
    client: TestClient, database: MetadataDatabase, tmp_path: Path
) -> None:
    files = [{"uri": f"file://{tmp_path}/{n}.png", "image_task_id": "it-1", "index": n} for n in range(5_000)]
    database.push("save", {"files": files})

    (item,) = [each for each in client.get(f"{RUN}/pictures").json()["items"] if each["task_id"] == "submit"]

    assert [picture["index"] for picture in item["pictures"]] == list(range(100))


@pytest.mark.parametrize(
    "address",
    [
        *("https://me:pass@x.example/a.png", "HTTPS://x.example/a.png?Signature=pass", "s3://AKID:pass@bucket/a.png"),
        *("ftp://x.example/a.png?sig=pass", "//x.example/a.png?sig=pass", "https://x.example/a.png#pass"),
    ],
)
@pytest.mark.parametrize("argument", ["images", "mask"])
def test_what_lets_somebody_in_of_an_input_picture_is_not_told(
    client: TestClient, database: MetadataDatabase, address: str, argument: str
) -> None:
    database.render("submit", {"prompt": "a kite", argument: [address] if argument == "images" else address})

    answer = client.get(f"{RUN}/tasks/submit/-1/request")

    shown = answer.json()["images"] or [answer.json()["mask"]]
    assert shown[0]["uri"].partition("//")[2]
    assert "pass" not in answer.text


@pytest.mark.parametrize(
    ("kept", "prompt"),
    [("a kite, ", "a kite, \u2026"), ("", None), (repr("a kite\nand a boat"), "a kite\nand a boat\u2026")],
    ids=["its beginning", "nothing", "as Python writes it"],
)
def test_what_airflow_has_not_kept_whole_of_a_request_is_named(
    client: TestClient, database: MetadataDatabase, kept: str, prompt: str | None
) -> None:
    notice = "Truncated. You can change this behaviour in [core]max_templated_field_length. "
    fields = {"prompt": f"{notice}{kept}... ", "options": f'{notice}{{"size": "10...', "model": "gpt-image-2"}
    database.render("submit", fields)

    told = client.get(f"{RUN}/tasks/submit/-1/request").json()

    assert (told["model"], told["options"], told["prompt"]) == ("gpt-image-2", {}, prompt)
    assert told["cut"] == ["options", "prompt"]


def test_a_row_is_shown_by_its_number_however_long_the_rows_before_it_are(client: TestClient, tmp_path: Path) -> None:
    rows = [{"index": 0, "prompt": "x" * 600_000}, {"index": 1, "prompt": "a boat"}, {"index": 2, "prompt": "a swan"}]
    (tmp_path / "batch" / "requests.jsonl").write_text("\n".join(map(json.dumps, rows)))

    prompts = [client.get(f"{RUN}/tasks/make/-1/request", params={"row": row}).json()["prompt"] for row in range(4)]

    assert prompts == [None, "a boat", "a swan", None]


def test_an_archive_of_links_that_are_none_is_refused(client: TestClient) -> None:
    links = ["", "/", "dags/kites/pictures/x", "dags/../../pictures/x", "dags/kites/pictures/..%2f", "\0", "x" * 10_000]
    for link in links:
        assert client.post("/api/archive", data={"pictures": [link]}).status_code == 404
    for data in ({}, {"pictures": ["x"] * 501}, {"other": "x"}):
        assert client.post("/api/archive", data=data).status_code == 422
    assert client.post("/api/archive", files={"pictures": ("a.txt", b"dags/kites/pictures/x")}).status_code == 422
