"""Which transport an account gets, and what is loaded for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import Request, ToolCall, ask
from airflow_provider_imagetasks.transports import open_async_transport, open_transport

CALLS = {"acedatacloud_mcp": Request(method="GET", path="/"), "acedatacloud": ToolCall(tool="a")}


@pytest.mark.parametrize("service", CALLS)
async def test_an_http_request_is_no_tool_call(service: str) -> None:
    account = Account(conn_id="mine", service=service, base_url="http://127.0.0.1:1", key="k" * 9)

    async with open_async_transport(account) as transport:
        with pytest.raises(TypeError, match="is_tool_server"):
            await transport.run(ask(CALLS[service]))
    with open_transport(account) as on_worker, pytest.raises(TypeError, match="is_tool_server"):
        await asyncio.to_thread(on_worker.run, ask(CALLS[service]))


def test_the_sdk_is_asked_for_by_name_where_it_is_missing() -> None:
    code = """
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
    said = run_python(code)

    assert said.startswith("InvalidRequestError")
    assert "pip install 'airflow-provider-imagetasks[mcp]'" in said
    assert "It was not billed" in said


def test_nothing_but_a_call_imports_the_sdk() -> None:
    code = """
import sys
from airflow_provider_imagetasks.operators import image_task
from airflow_provider_imagetasks.sensors import image_task
from airflow_provider_imagetasks.triggers import image_task
import airflow_provider_imagetasks.provider_info as info
info.get_provider_info()
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.transports import open_transport
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.services import get_service, known_services
[get_service(name) for name in known_services()]
with LocalImageService(latency=0) as local:
    account = Account(conn_id="c", service="acedatacloud", base_url=f"{local.url}/acedatacloud", key="k" * 9)
    with open_transport(account) as transport:
        print(transport.run(get_service("acedatacloud").check_connection()))
print([name for name in sys.modules if name.split(".")[0] in ("mcp", "mcp_types", "httpx2")])
"""
    assert run_python(code).splitlines()[-1] == "[]"


def run_python(code: str) -> str:
    completed = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "AIRFLOW__CORE__UNIT_TEST_MODE": "True"},
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.strip()
