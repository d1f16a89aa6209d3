"""The protocol can be used where neither Airflow nor an HTTP library is installed."""

from __future__ import annotations

import subprocess
import sys
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
READ_BY_EVERY_TASK = ("operators.image_task", "operators.image_batch", "sensors.image_task", "decorators.image_batch")
"""What a Dag file imports, and so every process that runs one of its tasks."""
ONE_PICTURE = """
from airflow_provider_imagetasks.services.account import read_account
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from airflow_provider_imagetasks.polling.status_requests import pace_of, read_all
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
    waited = drive(wait(watch, service, pace_of(account, service), first_pause=10), response(finished))
    assert waited.result == "done", waited
    (task,) = drive(read_all(service, pace_of(account, service), watch.asked_for), response(finished)).result.values()
    assert task.state is TaskState.SUCCEEDED
    assert task.images[0].url == "https://x.example/a.png"
    assert failure(task, service=service, conn_id="mine") is None
print("done")
"""


def python(code: str) -> str:
    """Run ``code`` in a new process that can import nothing but Python's own library and this project."""
    command = [sys.executable, "-c", NOTHING_BUT_PYTHON + code]
    completed = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.strip()


def test_the_process_of_these_tests_cannot_import_them() -> None:
    with pytest.raises(AssertionError, match="requests must not be imported here"):
        python("import requests")


def test_the_pure_modules_are_imported_and_submit_and_wait_for_a_picture() -> None:
    imports = "\n".join(f"import {module}" for module in PURE_MODULES)

    assert python(f"{imports}\n{ONE_PICTURE}") == "done"


def test_to_read_a_dag_file_loads_no_http_client_and_no_picture_library() -> None:
    imports = "\n".join(f"import airflow_provider_imagetasks.{name}" for name in READ_BY_EVERY_TASK)
    program = f"import sys\n{imports}\nprint({{'aiohttp', 'requests', 'PIL', 'mcp'}} & set(sys.modules))"

    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert finished.stdout.splitlines()[-1] == "set()"
