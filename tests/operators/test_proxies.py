"""A proxy that does not let a request through is named, without its password; what cannot be mended is not retried."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import DownloadError, InvalidRequestError, ServiceUnavailableError
from airflow_provider_imagetasks.files import fetching
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from airflow_provider_imagetasks.operators.image_task import ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from tests.files.result_server import Download, ResultServer, serving
from tests.scripted_server import Reply, ScriptedServer
from tests.task_runner import TaskRunner

pytestmark = pytest.mark.usefixtures("skipped_pauses", "no_pauses")
SERVICES = ("acedatacloud", "acedatacloud_mcp")
USER = "me:pass%2Fword"


@pytest.fixture(autouse=True)
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked for the address of a name."""
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **more: Any) -> Any:
        if str(host).endswith(".example"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["refuses the connection", "wants a password", "has no address"])
def proxy(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Where a proxy is, and what is to be said of it."""
    if request.param == "has no address":
        yield "proxy.example:3128", "to the proxy http://proxy.example:3128 (Name or service not known)"
        return
    with ScriptedServer(otherwise=lambda _asked: Reply(b"", status=407)) as server:
        host = server.url.removeprefix("http://")
        if request.param == "wants a password":
            yield host, f"the proxy http://{host} lets nothing through: it answers 407"
            return
    yield host, f"to the proxy http://{host} (Connection refused)"


def runner_for(service: str, host: str) -> TaskRunner:
    extra = {"service": service, "poll_interval": 1, "allow_private_hosts": True}
    return TaskRunner(
        connections={"imagetasks_default": {"host": host, "password": secrets.token_hex(8), "extra": extra}}
    )


TASKS: dict[str, Callable[[Path], Any]] = {
    "submit": lambda _folder: ImageTaskSubmitOperator(task_id="submit", prompt="a kite"),
    "wait": lambda _folder: ImageTaskSensor(task_id="wait", image_task_id="a", timeout=600),
    "wait on the triggerer": lambda _folder: ImageTaskSensor(task_id="wait", image_task_id="a", deferrable=True),
    "batch": lambda folder: ImageBatchOperator(
        task_id="batch", prompts=["a kite"], output_path=f"file://{folder}/out", deferrable=False, row_attempts=1
    ),
}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_a_proxy_that_lets_no_request_through_is_named(
    proxy: tuple[str, str],
    service: str,
    scheme: str,
    make: Callable[[Path], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host, said = proxy
    monkeypatch.setenv(f"{scheme}_proxy", f"http://{USER}@{host}")

    outcome = runner_for(service, f"{scheme}://service.example/mcp").run(lambda: make(tmp_path))

    assert isinstance(outcome.error, ServiceUnavailableError), outcome.error
    assert said in str(outcome.error)
    assert "word" not in str(outcome.error).replace("password", "")
    assert outcome.error.billed == ("unknown" if "Sensor" in type(outcome.task).__name__ else "no")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_lets_no_download_through_is_named(
    proxy: tuple[str, str], scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, said = proxy
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv(f"{scheme}_proxy", f"http://{USER}@{host}")
    with serving(ResultServer([f"{scheme}://cdn.example/a.png?sig=secret"])) as results:
        outcome = Download(results, f"file://{tmp_path}/out", {"download_hosts": ["cdn.example"]}).run()

    assert isinstance(outcome.error, DownloadError)
    assert said in str(outcome.error)
    assert not any(hidden in str(outcome.error) for hidden in (USER, "sig=secret"))
    assert outcome.state == "up_for_retry"


@pytest.mark.parametrize("kind", ["socks5", "socks5h", "SOCKS4", "ftp"])
@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_a_proxy_of_a_kind_that_nobody_here_speaks_ends_the_task_at_once(
    kind: str, service: str, make: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", f"{kind}://{USER}@127.0.0.1:1080")

    outcome = runner_for(service, "https://service.example/mcp").run(lambda: make(tmp_path))

    assert outcome.state == "failed"
    assert isinstance(outcome.error, InvalidRequestError), outcome.error
    assert f"{kind.lower()}:// proxy for service.example" in str(outcome.error)
    assert "no_proxy" in str(outcome.error)
    assert "word" not in str(outcome.error)
