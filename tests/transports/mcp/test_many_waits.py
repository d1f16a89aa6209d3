"""Many waits on one MCP server share one session, and its calls stay within the account's rate."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from airflow_provider_imagetasks.polling.poller import StatusPoller
from airflow_provider_imagetasks.polling.waiting import Progress
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.rates import Rate, Window
from tests.polled_accounts import KEY, AccountReader, names, until, watch
from tests.scripted_server import ReceivedRequest, ScriptedServer, Step
from tests.tool_server_by_hand import ToolServer, says

WAITS = 200
JOB_TOOLS = ("check_job_status", "get_job_result")


class FinishingServer(ToolServer):
    """Answers status calls of both services; everything is finished when it is asked for the second time."""

    def __init__(self, **options: Any) -> None:
        super().__init__(says(""), **options)
        self.asked: Counter[str] = Counter()
        self.tools_called: list[str] = []

    def __call__(self, request: ReceivedRequest) -> Step:
        params = (request.body or {}).get("params", {})
        if (request.body or {}).get("method") == "tools/call":
            self.tools_called.append(params["name"])
            self.calls = [says(self._said(params["name"], params["arguments"]))]
        return super().__call__(request)

    def _said(self, tool: str, arguments: dict[str, Any]) -> Any:
        if tool == "openai_list_tasks":
            return {"items": [self._record(name) for name in arguments["ids"]], "count": len(arguments["ids"])}
        job_id = arguments["job_id"]
        if tool == "get_job_result":
            head = f"✅ Job Result\n\n🆔 Job ID: {job_id}\n🛠️  Tool: a\n📅 Completed: now\n💬 Prompt: a kite\n\n"
            return f"{head}📁 Output Files (1):\n  1. /srv/images/a.png\n"
        self.asked[job_id] += 1
        word = "COMPLETED" if self.asked[job_id] > 1 else "RUNNING"
        return f"📊 Job Status\n\n🆔 Job ID: {job_id}\n🔄 Status: {word}\n📈 Progress: 30%\n\n"

    def _record(self, image_task_id: str) -> dict[str, Any]:
        self.asked[image_task_id] += 1
        if self.asked[image_task_id] < 2:
            return {"id": image_task_id, "finished_at": None}
        picture = {"url": "https://x.example/a.png"}
        return {"id": image_task_id, "finished_at": 5.5, "response": {"data": [picture]}}


async def wait_for_all(server: ScriptedServer, service: str, ids: list[str], per_second: int) -> list[str]:
    """Wait until each is over; nothing is left running then."""
    rate = Rate((Window(per_second, 1),))
    fields = {"base_url": f"{server.url}/mcp", "key": KEY, "query_rate": rate, "output_dir": "/srv/images"}
    poller = StatusPoller(AccountReader([Account(conn_id="mine", service=service, **fields)]))
    waits = (poller.wait(Progress(watch(name, seconds=60, interval=1)), first_pause=0.2) for name in ids)
    ends = await asyncio.gather(*waits)
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    return ends


async def test_two_hundred_waits_are_one_session_and_a_few_batches() -> None:
    tools = FinishingServer()
    with ScriptedServer(otherwise=tools) as server:
        ends = await wait_for_all(server, "acedatacloud_mcp", names(WAITS), 20)

    assert ends == ["done"] * WAITS
    assert tools.methods.count("initialize") == 1
    assert set(tools.tools_called) == {"openai_list_tasks"}
    assert len(tools.tools_called) <= 2 * (WAITS // 50 + 1)
    assert max(tools.asked.values()) == 2


async def test_where_each_is_asked_for_alone_the_rate_holds() -> None:
    ids = [f"0b6c2c4e-1111-4222-8333-{number:012d}" for number in range(WAITS)]
    tools = FinishingServer(tools=JOB_TOOLS, session_id="the-session")
    started = time.monotonic()
    with ScriptedServer(otherwise=tools) as server:
        ends = await wait_for_all(server, "gpt_image_mcp", ids, 100)
    seconds = time.monotonic() - started

    assert ends == ["done"] * WAITS
    assert tools.methods.count("initialize") == 1
    assert Counter(tools.tools_called) == {"check_job_status": 2 * WAITS, "get_job_result": WAITS}
    assert tools.tools_called.count("check_job_status") <= 100 * (seconds + 1)
