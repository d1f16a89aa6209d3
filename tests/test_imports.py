"""What is imported when: the protocol needs nothing, and no process loads what it does not need."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from tests.test_architecture import SOURCES, is_pure

ROOT = Path(__file__).parents[1]
NOTHING_BUT_PYTHON = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("airflow", "requests", "aiohttp", "urllib3", "PIL"):
            raise ImportError(f"{name} must not be imported here")

sys.meta_path.insert(0, Refuse())
"""
PURE_MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCES
    if is_pure(path)
]
ONE_PICTURE = """
from airflow_provider_imagetasks.services.account import read_account
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from airflow_provider_imagetasks.polling.reads import read_all
from airflow_provider_imagetasks.polling.status_requests import pace_of_process
from airflow_provider_imagetasks.polling.waiting import Watch, failure, wait
from tests.flow_driver import NOW, drive, response

ANSWERS = {
    "acedatacloud": (
        {"task_id": "task-1"},
        {"id": "task-1", "finished_at": 5.5, "response": {"data": [{"url": "https://x.example/a.png"}]}},
    ),
    "aigptimage": (
        {"code": 200, "data": {"taskId": "task-1"}},
        {"code": 200, "data": {"state": "success", "resultJson": '{"resultUrls": ["https://x.example/a.png"]}'}},
    ),
}
for name, (accepted, finished) in ANSWERS.items():
    service = get_service(name)
    account = read_account(
        conn_id="mine",
        service=name,
        default_base_url=service.default_base_url,
        requires_key=True,
        host=None,
        key="sk-1",
        extra={},
    )
    request = service.complete(ImageRequest(prompt="a red kite"), account)
    submitted = drive(service.submit(request, key="derived"), response(accepted)).result
    watch = Watch(image_task_ids=(submitted.id,), trace_id=None, asked_at=NOW, deadline=NOW + 600, poll_interval=10)
    pace = pace_of_process(account, service)
    waited = drive(wait(watch, service, pace, first_pause=10), response(finished))
    assert waited.result == "done", waited
    (task,) = drive(read_all(service, pace, watch.asked_for), response(finished)).result.values()
    assert task.state is TaskState.SUCCEEDED
    assert task.images[0].url == "https://x.example/a.png"
    assert failure(task, service=service, conn_id="mine") is None
print("done")
"""


def python(code: str) -> str:
    """Run ``code`` in a new process, and return what it prints."""
    command = [sys.executable, "-c", code]
    completed = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.strip()


def test_the_process_without_libraries_cannot_import_them() -> None:
    with pytest.raises(AssertionError, match="requests must not be imported here"):
        python(f"{NOTHING_BUT_PYTHON}\nimport requests")


def test_the_pure_modules_are_imported_and_submit_and_wait_for_a_picture() -> None:
    imports = "\n".join(f"import {module}" for module in PURE_MODULES)

    assert python(f"{NOTHING_BUT_PYTHON}\n{imports}\n{ONE_PICTURE}") == "done"


DAG_FILE = """
from airflow_provider_imagetasks.decorators import image_batch
from airflow_provider_imagetasks.operators import image_batch, image_task
from airflow_provider_imagetasks.sensors import image_task
"""
HTTP_CALL = """
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.provider_info import get_provider_info
from airflow_provider_imagetasks.services import get_service, known_services
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.transports import open_transport
from airflow_provider_imagetasks.triggers import image_task

get_provider_info()
services = {name: get_service(name) for name in known_services()}
with LocalImageService(latency=0) as local:
    account = Account(conn_id="c", service="acedatacloud", base_url=f"{local.url}/acedatacloud", key="k" * 9)
    with open_transport(account) as transport:
        transport.run(services["acedatacloud"].check_connection())
"""
# Airflow 3.4 itself speaks over httpx2.
OF_MCP = (
    "mcp mcp_types"
    if any("httpx2" in each for each in requires("apache-airflow-core") or ())
    else "mcp mcp_types httpx2"
)
NOT_LOADED = {
    "a Dag file, and so every process that runs one of its tasks": (DAG_FILE, "aiohttp requests PIL mcp openlineage"),
    "a call over HTTP": (DAG_FILE + HTTP_CALL, OF_MCP),
    "the local service": ("import airflow_provider_imagetasks.local.__main__", "airflow"),
}


@pytest.mark.parametrize(("program", "libraries"), NOT_LOADED.values(), ids=NOT_LOADED)
def test_a_library_that_is_not_needed_is_not_loaded(program: str, libraries: str) -> None:
    said = python(f"{program}\nimport sys\nprint([name for name in {libraries.split()} if name in sys.modules])")

    assert said.splitlines()[-1] == "[]"


def test_a_run_of_pytest_that_does_not_ask_for_the_fixture_loads_next_to_nothing() -> None:
    plugin = "airflow_provider_imagetasks.local.pytest_plugin"
    said = python(f"import sys, pytest\nbefore = set(sys.modules)\nimport {plugin}\nprint(*set(sys.modules) - before)")

    assert sorted(said.split()) == ["airflow_provider_imagetasks", "airflow_provider_imagetasks.local", plugin]


WITHOUT_THE_SDK = """
import sys
sys.modules["mcp"] = sys.modules["mcp_types"] = None
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.transports import open_transport
account = Account(conn_id="mine", service="acedatacloud_mcp", base_url="http://127.0.0.1:1/mcp", key="k")
try:
    open_transport(account).__enter__()
except Exception as error:
    print(type(error).__name__, error)
"""


def test_the_sdk_of_mcp_is_asked_for_by_name_where_it_is_missing() -> None:
    said = python(WITHOUT_THE_SDK)

    assert said.startswith("InvalidRequestError")
    assert "pip install 'airflow-provider-imagetasks[mcp]'" in said
    assert "It was not billed" in said
