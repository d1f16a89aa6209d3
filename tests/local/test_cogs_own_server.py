"""Replicate's own prediction server, Cog, which was not written here: its envelopes are read as Replicate's.

It has no route by which one could ask how a prediction stands. A small front keeps what it tells of each, word for
word, under Replicate's routes. ``CLIENTS`` names an environment that has Cog; ``make test-clients`` builds one.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_imagetasks.exceptions import ContentPolicyError, ImageTaskError, ImageTaskFailedError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState
from tests.image_batch import ImageBatch
from tests.local.clients import picture_file
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer, Step
from tests.task_runner import TaskRunner

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(120),
    pytest.mark.parametrize("service_name", ["replicate"], indirect=True),
]
HERE = Path(__file__).parent
MODEL = "me/model"
OVER = ("succeeded", "failed", "canceled")


class CogAsReplicate:
    """Replicate's routes before Cog's: envelopes go through as they come, both ways.

    :param cog: its URL.
    """

    def __init__(self, cog: str) -> None:
        self._cog = cog
        self.created: list[str] = []
        self._envelopes: dict[str, dict[str, Any]] = {}
        self.server = ScriptedServer(otherwise=self._step)

    def _step(self, request: ReceivedRequest) -> Step:
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["hooks", own_id]:
                # Calls may overtake each other.
                if self._envelopes.get(own_id, {}).get("status") not in OVER:
                    self._envelopes[own_id] = request.body
                return Reply()
            case "GET", ["files", _]:
                return Reply(picture_file(), headers={"Content-Type": "image/png"})
            case "POST", ["v1", "predictions", own_id, "cancel"]:
                requests.post(f"{self._cog}/predictions/{own_id}/cancel", timeout=10).raise_for_status()
                return Reply(self._envelopes[own_id])
            case "POST", ["v1", *_, "predictions"]:
                return self._created(request.body["input"])
            case "GET", ["v1", "predictions"]:
                return Reply({"next": None, "previous": None, "results": list(self._envelopes.values())[::-1]})
            case "GET", ["v1", "predictions", own_id] if own_id in self._envelopes:
                return Reply(self._envelopes[own_id])
        return Reply({"detail": "not found"}, 404)

    def _created(self, asked: dict[str, Any]) -> Step:
        own_id = uuid.uuid4().hex
        self.created.append(own_id)
        body = {"input": asked, "webhook": f"{self.server.url}/hooks/{own_id}"}
        headers = {"Prefer": "respond-async"}
        answer = requests.put(f"{self._cog}/predictions/{own_id}", json=body, headers=headers, timeout=10)
        if answer.ok:
            # What it told meanwhile is newer.
            self._envelopes.setdefault(own_id, answer.json())
        return Reply(answer.json(), 201 if answer.ok else answer.status_code)


@pytest.fixture(scope="module")
def cog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of Cog's server."""
    binaries = (Path(os.environ.get("CLIENTS", ".venv-clients")) / "bin").absolute()
    if not (binaries / "python").exists():
        pytest.fail(f"{binaries} is not there: make test-clients builds it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    # It starts the model with whichever Python it finds first.
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    model = {"COG_PREDICT_TYPE_STUB": f"{HERE / 'cogs_predictor.py'}:Runner", "COG_MAX_CONCURRENCY": "4"}
    log = tmp_path_factory.mktemp("cog") / "log"
    with log.open("wb") as file:
        command = [str(binaries / "python"), "-m", "cog.server.http", "--host", "127.0.0.1"]
        server = subprocess.Popen(
            command, env={**known, **model, "PATH": path, "PORT": str(port)}, stdout=file, stderr=file, cwd=log.parent
        )
    try:
        url, ends = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while not _is_ready(url):
            if server.poll() is not None or time.monotonic() > ends:
                pytest.fail(log.read_text()[-3_000:])
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def _is_ready(url: str) -> bool:
    try:
        return bool(requests.get(f"{url}/health-check", timeout=5).json()["status"] == "READY")
    except requests.ConnectionError:
        return False


@pytest.fixture
def front(cog: str, connection: dict[str, Any]) -> Iterator[CogAsReplicate]:
    """What the connection reaches."""
    front = CogAsReplicate(cog)
    with front.server:
        connection["host"] = front.server.url
        yield front


@pytest.fixture
def hook(front: CogAsReplicate, connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> ImageTaskHook:
    known = json.dumps({"conn_type": "imagetasks", **connection})
    monkeypatch.setenv("AIRFLOW_CONN_IMAGETASKS_DEFAULT", known)
    return ImageTaskHook()


def made(hook: ImageTaskHook, **options: Any) -> ImageTask:
    """Return what a request came to."""
    submitted = hook.submit(ImageRequest(prompt="a kite", model=MODEL, options=options))
    assert submitted.state == TaskState.RUNNING
    return hook.wait(submitted.id, timeout=30, poll_interval=0.1)


@pytest.mark.parametrize(
    ("options", "pictures"),
    [
        ({"num_outputs": 3}, [None] * 3),
        ({"shape": "one"}, [None]),
        ({"shape": "object", "num_outputs": 2}, [None] * 2),
        ({"shape": "https://pictures.example/1.png"}, ["https://pictures.example/1.png"]),
    ],
    ids=["a list", "one", "an object", "an address"],
)
def test_what_it_made_is_found_in_whichever_shape(
    hook: ImageTaskHook, options: dict[str, Any], pictures: list[str | None]
) -> None:
    task = made(hook, **options)

    assert (task.state, task.raw_state) == (TaskState.SUCCEEDED, "succeeded")
    # What it has no address for comes within the envelope.
    assert [image.url for image in task.images] == pictures
    assert [bool(image.data) for image in task.images] == [url is None for url in pictures]
    assert task.duration
    assert task.usage == {"predict_time": task.duration}


@pytest.mark.parametrize(
    ("options", "error", "code", "words"),
    [
        ({"fails": "out of memory"}, ImageTaskFailedError, None, "out of memory"),
        ({"fails": "NSFW content detected. Try another seed."}, ContentPolicyError, "nsfw", "NSFW content detected"),
        ({"fails": "flagged as sensitive (E005)"}, ContentPolicyError, "E005", "flagged as sensitive"),
        ({"shape": "none"}, ImageTaskFailedError, "no_images", "without a picture"),
        ({"seconds": "long"}, ImageTaskFailedError, None, "str"),
    ],
    ids=["broken", "blacked out", "sensitive", "no picture", "an option that is none"],
)
def test_why_there_is_none_is_told_in_its_words(
    hook: ImageTaskHook, options: dict[str, Any], error: type[ImageTaskError], code: str | None, words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        made(hook, **options)

    assert (type(raised.value), raised.value.code) == (error, code)


def test_what_it_stops_counts_as_cancelled(hook: ImageTaskHook) -> None:
    running = hook.submit(ImageRequest(prompt="a kite", model=MODEL, options={"seconds": 60}))
    while hook.get_task(running.id).raw_state != "processing":
        time.sleep(0.1)

    hook.cancel(running.id)

    with pytest.raises(ImageTaskFailedError) as raised:
        hook.wait(running.id, timeout=30, poll_interval=0.1)
    assert (raised.value.code, raised.value.was_cancelled) == ("canceled", True)


def test_a_batch_waits_for_free_places_and_delivers_every_picture_once(
    front: CogAsReplicate, runner: TaskRunner, image_service: LocalImageService, output_folder: str
) -> None:
    batch = ImageBatch(runner, image_service, output_folder, {"model": MODEL, "options": {"seconds": 0.2}})

    outcome = batch.start(*(f"kite {number}" for number in range(6)), max_active_tasks=3)

    assert outcome.state == "success", outcome.error
    assert [len(row["files"]) for row in batch.rows] == [1] * 6
    assert len(front.created) == 6
