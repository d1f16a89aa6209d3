"""The MCP servers that other people publish, run for real, and held side by side with the doubles of this package.

AceDataCloud's comes as ``mcp-openai-pro`` from the package index and speaks to the local image service as its API. The
GPT-Image server is built with npm from its repository (``GPT_IMAGE_SERVER``: a checkout of one's own), stands behind
``mcp-proxy`` and speaks to a scripted OpenAI. Nothing is paid for.
"""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from PIL import Image

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    QuotaExceededError,
    RateLimitError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest, ImageTask, TaskState
from airflow_provider_imagetasks.transports import open_transport
from dev.airflow_settings import inherited_environment
from dev.child_process import ChildProcess
from dev.ports import choose_port
from dev.rest_api import wait_until
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ENVIRONMENT = Path(os.environ.get("TOOL_SERVERS", ".venv-tool-servers")).resolve()
REPOSITORY = "https://github.com/ex-takashima/openAI-gpt-image-1-MCP-SERVER"
KEY = "the-key-of-the-connection"
SIZE = {"size": "1024x1024"}


class Server(NamedTuple):
    """A server that runs, as a connection names it."""

    service: str
    account: Account

    def submit(self, prompt: str, *, images: tuple[ImageFile, ...] = (), key: str = KEY, **options: Any) -> ImageTask:
        service, account = get_service(self.service), self._account(key)
        request = ImageRequest(prompt=prompt, images=images, options={**SIZE, **options})
        with open_transport(account) as transport:
            return transport.run(service.submit(service.complete(request, account), key="derived"))

    def read(self, image_task_id: str) -> ImageTask:
        with open_transport(self.account) as transport:
            return transport.run(get_service(self.service).get_task(image_task_id))

    def wait(self, image_task_id: str) -> ImageTask:
        """Return the image task once it has ended."""

        def ended() -> ImageTask | None:
            task = self.read(image_task_id)
            return task if task.state.is_final else None

        return wait_until(ended, timeout=60, what=f"the end of {image_task_id}", interval=0.2)

    def test_connection(self, key: str = KEY) -> str:
        with open_transport(self._account(key)) as transport:
            return transport.run(get_service(self.service).check_connection())

    def _account(self, key: str) -> Account:
        return replace(self.account, key=key)


def program(name: str) -> str:
    path = ENVIRONMENT / "bin" / name
    if not path.exists():
        pytest.skip(f"there is no {path}: `make test-mcp-servers` installs it")
    return str(path)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., None]]:
    """Starts programs that serve HTTP on a port, and stops them in the end."""
    folder = tmp_path_factory.mktemp("tool-servers")
    with ExitStack() as running:

        def run(command: list[str], port: int, **environment: str) -> None:
            inherited = {**inherited_environment(), **environment}
            log = folder / f"{port}.log"
            child = ChildProcess(command[0], command, environment=inherited, log_path=log, folder=folder)
            child.start()
            running.callback(child.stop)

            def answers() -> bool | None:
                assert child.is_running, child.log_tail()
                try:
                    return bool(requests.get(f"http://127.0.0.1:{port}/mcp", timeout=5).status_code)
                except requests.ConnectionError:
                    return None

            wait_until(answers, timeout=60, what=f"{command[0]} to listen")

        yield run


@pytest.fixture(scope="module")
def local_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalImageService]:
    """The local image service: the API behind AceDataCloud's real server, and the double of both servers."""
    folder = tmp_path_factory.mktemp("double")
    with LocalImageService(latency=0.2, api_keys=[KEY], output_dir=folder) as service:
        yield service


def account(service: str, url: str, **fields: Any) -> Account:
    return Account(conn_id="mine", service=service, base_url=url, key=KEY, request_timeout=60, **fields)


@pytest.fixture(scope="module", params=["real", "double"])
def acedatacloud(
    request: pytest.FixtureRequest, local_service: LocalImageService, start: Callable[..., None]
) -> Server:
    if request.param == "double":
        return Server("acedatacloud_mcp", account("acedatacloud_mcp", f"{local_service.url}/mcp/acedatacloud"))
    port = choose_port()
    start(
        [program("mcp-openai-pro"), "--transport", "http", "--port", str(port)],
        port,
        MCP_SERVER_URL=f"http://127.0.0.1:{port}",
        ACEDATACLOUD_API_BASE_URL=f"{local_service.url}/acedatacloud",
    )
    return Server("acedatacloud_mcp", account("acedatacloud_mcp", f"http://127.0.0.1:{port}/mcp"))


def openai(request: ReceivedRequest) -> Reply:
    """Answer as OpenAI's images API does, or as a directive in the prompt asks."""
    said = request.body if isinstance(request.body, str) else str(request.body)
    for directive, (status, error) in REFUSALS.items():
        if f"[{directive}]" in said:
            return Reply({"error": {"param": None, **error}}, status=status)
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    count = int(re.search(r"'n': (\d+)", said)[1]) if "'n': " in said else 1
    data = [{"b64_json": base64.b64encode(picture.getvalue()).decode()}] * count
    return Reply({"created": 1, "data": data, "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}})


SAFETY = "Your request was rejected by the safety system. safety_violations=[violence]."
EMPTY = "You exceeded your current quota, please check your plan and billing details."
REFUSALS: dict[str, tuple[int, dict[str, str]]] = {
    "refuse": (400, {"message": SAFETY, "type": "image_generation_user_error", "code": "moderation_blocked"}),
    "no-credit": (429, {"message": EMPTY, "type": "insufficient_quota", "code": "insufficient_quota"}),
    "429=9": (429, {"message": "Rate limit reached for gpt-image-2", "type": "images", "code": "rate_limit_exceeded"}),
    "expired-key": (401, {"message": "Incorrect API key provided: sk-x.", "code": "invalid_api_key", "type": "x"}),
    "fail": (500, {"message": "The server had an error", "type": "server_error", "code": "server_error"}),
}


def built_gpt_image_server() -> Path:
    """Return the GPT-Image server's program, built; skip the test where it cannot be had."""
    given = os.environ.get("GPT_IMAGE_SERVER")
    folder = Path(given) if given else ENVIRONMENT / "gpt-image"
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm, which the GPT-Image server needs, are not on the PATH")
    steps = [] if folder.exists() else [(["git", "clone", "--depth", "1", REPOSITORY, str(folder)], Path.cwd())]
    if not (folder / "dist" / "index.js").exists():
        steps.append((["npm", "install", "--no-audit", "--no-fund"], folder))
    for command, where in steps:
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            pytest.skip(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")
    return folder / "dist" / "index.js"


@pytest.fixture(scope="module", params=["real", "double"])
def gpt_image(
    request: pytest.FixtureRequest,
    local_service: LocalImageService,
    start: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    if request.param == "double":
        folder = str(local_service.server_folder)
        url = f"{local_service.url}/mcp/gpt-image"
        yield Server("gpt_image_mcp", account("gpt_image_mcp", url, output_dir=folder))
        return
    server, proxy, port = built_gpt_image_server(), program("mcp-proxy"), choose_port()
    # The server refuses to write below /tmp.
    folder = str(tmp_path_factory.mktemp("pictures"))
    with ScriptedServer(otherwise=openai) as api:
        start(
            [proxy, "--host", "127.0.0.1", "--port", str(port), "--pass-environment", "--", "node", str(server)],
            port,
            OPENAI_API_KEY="sk-of-the-server",
            OPENAI_BASE_URL=f"{api.url}/v1",
            OPENAI_IMAGE_OUTPUT_DIR=folder,
            HISTORY_DB_PATH=f"{folder}/history.db",
        )
        yield Server("gpt_image_mcp", account("gpt_image_mcp", f"http://127.0.0.1:{port}/mcp", output_dir=folder))


def error_of(flow: Callable[[], Any]) -> ImageTaskError:
    with pytest.raises(ImageTaskError) as raised:
        flow()
    return raised.value


def test_acedatacloud_s_server_takes_the_connection_s_key_and_makes_a_picture(acedatacloud: Server) -> None:
    assert "accepts the key" in acedatacloud.test_connection()
    submitted = acedatacloud.submit(f"a red kite {time.time()}")
    finished = acedatacloud.wait(submitted.id)

    assert (finished.state, len(finished.images)) == (TaskState.SUCCEEDED, 1)
    assert acedatacloud.read("no-such-id").state is TaskState.NOT_FOUND


def test_acedatacloud_s_server_without_its_own_address_takes_no_key_and_the_error_says_so(
    local_service: LocalImageService, start: Callable[..., None]
) -> None:
    port = choose_port()
    api = f"{local_service.url}/acedatacloud"
    start([program("mcp-openai-pro"), "--transport", "http", "--port", str(port)], port, ACEDATACLOUD_API_BASE_URL=api)
    server = Server("acedatacloud_mcp", account("acedatacloud_mcp", f"http://127.0.0.1:{port}/mcp"))

    error = error_of(lambda: server.submit("a kite"))

    assert (type(error), error.billed) == (AuthenticationError, "no")
    assert "MCP_SERVER_URL" in error.message


@pytest.mark.parametrize(
    ("directive", "error_class", "billed", "code"),
    [
        ("refuse", ContentPolicyError, "no", "forbidden"),
        ("no-credit", QuotaExceededError, "no", "http_403"),
        ("no-credit=insufficient_quota", QuotaExceededError, "no", "insufficient_quota"),
        ("expired-key", AuthenticationError, "no", "http_401"),
        ("429", RateLimitError, "no", "http_429"),
        ("500", UnknownOutcomeError, "unknown", "api_error"),
        ("500,status=504", UnknownOutcomeError, "unknown", "timeout"),
        ("error-in-200=api_error", UnknownOutcomeError, "unknown", "api_error"),
        ("error-in-200=used_up", QuotaExceededError, "no", "used_up"),
    ],
)
def test_what_the_api_refuses_through_acedatacloud_s_server_is_what_it_is_at_the_api(
    acedatacloud: Server, directive: str, error_class: type[ImageTaskError], billed: str, code: str
) -> None:
    error = error_of(lambda: acedatacloud.submit(f"a kite [{directive}] {acedatacloud.account.base_url}"))

    assert (type(error), error.billed, error.code) == (error_class, billed, code)


def test_acedatacloud_s_server_with_a_wrong_key_a_bad_size_and_an_unknown_model(acedatacloud: Server) -> None:
    wrong_key = error_of(lambda: acedatacloud.submit("a kite", key="wrong"))
    bad_size = error_of(lambda: acedatacloud.submit("a kite", size="huge"))
    bad_model = error_of(lambda: acedatacloud.submit("a kite", model="gpt-image-99"))

    assert (type(wrong_key), wrong_key.billed) == (AuthenticationError, "no")
    assert (type(bad_size), bad_size.billed) == (InvalidRequestError, "no")
    assert (type(bad_model), bad_model.billed) == (InvalidRequestError, "no")


def test_the_gpt_image_server_makes_pictures_and_edits(gpt_image: Server) -> None:
    assert "answers" in gpt_image.test_connection()
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    reference = ImageFile(name="a.png", media_type="image/png", content=picture.getvalue())

    for submitted, count in ((gpt_image.submit("a red kite", n=2), 2), (gpt_image.submit("x", images=(reference,)), 1)):
        finished = gpt_image.wait(submitted.id)
        assert (finished.state, len(finished.images)) == (TaskState.SUCCEEDED, count), finished
        assert all(Path(str(image.path)).exists() for image in finished.images)
    assert gpt_image.read("0b6c2c4e-1111-4222-8333-444444444444").state is TaskState.NOT_FOUND


@pytest.mark.parametrize(
    ("prompt", "options", "error_class", "billed"),
    [
        ("a kite [refuse]", {}, ContentPolicyError, "no"),
        ("a kite [no-credit]", {}, QuotaExceededError, "no"),
        ("a kite [expired-key]", {}, AuthenticationError, "no"),
        ("a kite [429=9]", {}, ImageTaskFailedError, "no"),
        ("a kite [fail]", {}, ImageTaskFailedError, "unknown"),
        ("a kite", {"size": "12x12"}, InvalidRequestError, "no"),
        ("a kite", {"size": "huge"}, InvalidRequestError, "no"),
    ],
)
def test_what_openai_or_the_gpt_image_server_refuses_is_recognised(
    gpt_image: Server, prompt: str, options: dict[str, Any], error_class: type[ImageTaskError], billed: str
) -> None:
    error = gpt_image.wait(gpt_image.submit(prompt, **options).id).error

    assert error is not None
    assert (type(error), error.billed, error.retryable) == (error_class, billed, False), error
