"""A connection that starts its own MCP server: a real process over stdio, for one session."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    ImageTaskTimeoutError,
    InvalidRequestError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from airflow_provider_imagetasks.operators.image_task import ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account, ServerCommand
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from airflow_provider_imagetasks.transports import open_async_transport, open_transport
from tests.task_runner import TaskRunner

SERVICE, MCP_JOB = get_service("gpt_image_mcp"), "0b6c2c4e-1111-4222-8333-444444444444"
KEY = "sk-of-openai-nobody-may-see"
SMALL = {"n": 2, "size": "64x64"}
ARGUMENTS = ("-m", "airflow_provider_imagetasks.local.stdio", "--latency", "0.2")


def account(folder: Path, *arguments: str, command: str = sys.executable, **fields: Any) -> Account:
    started = ServerCommand(command=command, args=arguments or ARGUMENTS)
    usual = {"conn_id": "mine", "service": "gpt_image_mcp", "base_url": "", "key": KEY, "request_timeout": 100}
    return Account(**{**usual, "output_dir": str(folder), "server_command": started, **fields})


def submission(account: Account, prompt: str = "a red kite") -> Any:
    request = ImageRequest(prompt=prompt, options={"size": "64x64"})
    return SERVICE.submit(SERVICE.complete(request, account))


def failure(account: Account) -> ImageTaskError:
    with open_transport(account) as transport, pytest.raises(ImageTaskError) as raised:
        transport.run(submission(account))
    assert KEY not in str(raised.value)
    return raised.value


@pytest.fixture
def hook(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> ImageTaskHook:
    """A hook of that connection, which may start its own server."""
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__ALLOW_STDIO_COMMANDS", "True")
    return ImageTaskHook("mine")


@pytest.fixture
def runner(hook: ImageTaskHook, connection: dict[str, Any]) -> TaskRunner:
    return TaskRunner(connections={"imagetasks_default": connection})


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A connection that starts its own server; Airflow knows it as 'mine'."""
    extra = {"service": "gpt_image_mcp", "command": sys.executable, "args": list(ARGUMENTS)}
    fields = {"password": KEY, "extra": {"output_dir": str(tmp_path / "server"), "request_timeout": 100, **extra}}
    monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps({"conn_type": "imagetasks", **fields}))
    return fields


def servers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "local.stdio" in command_of(child)]


def command_of(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def test_one_session_submits_waits_and_collects_and_the_server_ends_with_it(
    hook: ImageTaskHook, tmp_path: Path
) -> None:
    with hook.session():
        tasks = [hook.submit(ImageRequest(prompt=f"kite {number}", options=SMALL)) for number in range(3)]
        finished = [hook.wait(task.id, timeout=30, poll_interval=0.1) for task in tasks]
        files = [file for task in finished for file in hook.download(task, f"file://{tmp_path}/kept")]
        hook.submit(ImageRequest(prompt="[never]"))
        assert len(servers()) == 1

    assert servers() == []
    assert len({file.uri for file in files}) == 6
    assert all(Path(file.uri.removeprefix("file://")).stat().st_size == file.picture.bytes for file in files)


def test_a_job_that_was_left_behind_runs_for_ever_and_the_wait_says_so(hook: ImageTaskHook) -> None:
    with hook.session():
        left = hook.submit(ImageRequest(prompt="[latency=2]"))
    with hook.session():
        # Until the other server has started, nobody says that it runs.
        assert hook.get_task(left.id).state is TaskState.RUNNING
        with pytest.raises(ImageTaskTimeoutError, match=r"running.*restarted meanwhile"):
            hook.wait(left.id, timeout=3, poll_interval=0.5)


def test_without_a_session_the_hook_refuses(hook: ImageTaskHook) -> None:
    with pytest.raises(InvalidRequestError, match="ImageBatchOperator"):
        hook.submit(ImageRequest(prompt="a red kite"))
    with pytest.raises(InvalidRequestError, match="ImageBatchOperator"):
        asyncio.run(hook.aget_task(MCP_JOB))


def test_the_connection_test_starts_nothing(hook: ImageTaskHook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    monkeypatch.setattr("asyncio.create_subprocess_exec", None)

    good, said = hook.test_connection()

    assert good
    assert "does not start" in said


def test_a_command_is_refused_unless_the_configuration_allows_it(connection: dict[str, Any]) -> None:
    hook = ImageTaskHook("mine")

    with pytest.raises(InvalidRequestError, match="allow_stdio_commands"):
        _ = hook.account
    assert hook.test_connection()[0] is False


def batch(folder: Path, *, deferrable: bool) -> ImageBatchOperator:
    where: dict[str, Any] = {"output_path": f"file://{folder}/kept", "options": {"size": "64x64"}}
    prompts = [f"kite {number}" for number in range(4)]
    return ImageBatchOperator(task_id="a", prompts=prompts, deferrable=deferrable, **where)


NEEDS_IT_LATER: dict[str, Callable[[Path], Any]] = {
    "submit": lambda _: ImageTaskSubmitOperator(task_id="a", prompt="a kite"),
    "sensor": lambda _: ImageTaskSensor(task_id="a", image_task_id="b"),
    "deferrable": lambda _: ImageTaskSensor(task_id="a", image_task_id="b", deferrable=True),
    "batch that would defer": lambda folder: batch(folder, deferrable=True),
}


@pytest.mark.parametrize("name", NEEDS_IT_LATER)
def test_what_would_need_the_server_later_refuses_with_what_to_do(name, runner: TaskRunner, tmp_path: Path) -> None:
    outcome = runner.run(lambda: NEEDS_IT_LATER[name](tmp_path))

    assert (outcome.state, isinstance(outcome.error, InvalidRequestError)) == ("failed", True)
    assert "deferrable=False" in str(outcome.error)
    assert name.startswith("batch") or "set Host" in str(outcome.error)
    assert servers() == []


def test_a_batch_submits_waits_and_collects_in_one_session(runner: TaskRunner, tmp_path: Path) -> None:
    outcome = runner.run(lambda: batch(tmp_path, deferrable=False))

    assert outcome.state == "success", outcome.error
    assert runner.xcoms["a", "return_value"]["succeeded"] == 4
    assert len(list((tmp_path / "kept").glob("*.png"))) == 4
    assert servers() == []


def test_a_server_that_dies_ends_the_start_of_its_batch_and_no_row_is_called_unbilled(
    runner: TaskRunner, tmp_path: Path
) -> None:
    prompts, over = [f"kite {number} [never]" for number in range(3)], threading.Event()

    def kill_once_the_batch_has_all_ids() -> None:
        while not over.wait(0.05):
            if _texts(tmp_path / "kept").count('"image_task_id"') == len(prompts):
                for server in servers():
                    server.kill()
                return

    killing = threading.Thread(target=kill_once_the_batch_has_all_ids)
    killing.start()
    where: dict[str, Any] = {"output_path": f"file://{tmp_path}/kept", "options": {"size": "64x64"}, "poll_interval": 1}
    outcome = runner.run(
        lambda: ImageBatchOperator(task_id="a", prompts=prompts, deferrable=False, retries=1, **where), max_tries=1
    )
    over.set()
    killing.join()

    assert (outcome.state, type(outcome.error)) == ("up_for_retry", ServiceUnavailableError), outcome
    assert "may be billed" in str(outcome.error)
    assert "It was not billed" not in str(outcome.error)
    manifests = [line for file in (tmp_path / "kept").rglob("*.jsonl") for line in file.read_text().splitlines()]
    assert not [line for line in manifests if json.loads(line).get("status") == "failed"]


def _texts(folder: Path) -> str:
    """All that the files of a folder hold; those that are put in place meanwhile may be missing."""
    texts = []
    for file in folder.rglob("*.jsonl"):
        with suppress(FileNotFoundError):
            texts.append(file.read_text())
    return "".join(texts)


SAYS_ITS_KEY = "import os, sys; sys.exit('no luck today, ' + os.environ['OPENAI_API_KEY'])"
SAYS_SOMETHING_ELSE = "print('hello'); input(); input()"


@pytest.mark.parametrize(
    ("arguments", "fields", "said"),
    [
        ((), {"command": "/no/such/program"}, "must name a program on this worker"),
        (("-c", SAYS_ITS_KEY), {}, "no luck today, ***"),
        ((), {"key": None}, "OPENAI_API_KEY environment variable is required"),
        (("-c", SAYS_SOMETHING_ELSE), {"request_timeout": 2}, "no session within 2 s"),
    ],
    ids=["no such program", "ends at once", "no key", "no MCP server"],
)
def test_a_program_that_is_no_server_is_named_with_its_last_words(arguments, fields, said, tmp_path: Path) -> None:
    started = time.monotonic()
    error = failure(account(tmp_path, *arguments, **fields))

    assert (type(error), error.billed) == (InvalidRequestError, "no")
    assert said in error.message
    assert time.monotonic() - started < 90


async def test_a_server_that_dies_in_the_session_is_not_started_again(tmp_path: Path) -> None:
    mine = account(tmp_path)
    async with open_async_transport(mine) as transport:
        task = await transport.run(submission(mine, "[never]"))
        (process,) = servers()
        process.kill()
        await asyncio.to_thread(process.wait, 10)

        with pytest.raises(ServiceUnavailableError):
            await transport.run(SERVICE.read_one(task.id))
        started = time.monotonic()
        for flow, billed in ((SERVICE.read_one(task.id), "unknown"), (submission(mine), "no")):
            with pytest.raises(
                ServiceUnavailableError, match=r"has ended; what it had begun .* may be billed"
            ) as raised:
                await transport.run(flow)
            assert (raised.value.billed, raised.value.concerns_account) == (billed, True)
        assert time.monotonic() - started < 10, "it was asked again"
    assert servers() == []


DIES_IN_A_CALL = """
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "tools/call":
        sys.stderr.write("out of memory"); sys.stderr.flush(); os._exit(9)
    result = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
    if message["method"] != "initialize":
        result = {"tools": [{"name": "start_generation_job", "inputSchema": {"type": "object"}}]}
    if "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


def test_a_server_that_dies_during_a_start_leaves_an_unknown_outcome(tmp_path: Path) -> None:
    error = failure(account(tmp_path, "-c", DIES_IN_A_CALL))

    assert (type(error), error.billed) == (UnknownOutcomeError, "unknown")
    assert all(words in error.message for words in ("out of memory", "start_generation_job"))


def test_the_key_is_handed_over_and_nothing_else_of_the_worker_s_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "secret of Airflow's")
    code = "import json, os, sys; sys.exit(json.dumps(sorted(os.environ)))"
    command = ServerCommand(command=sys.executable, args=("-c", code), env=(("MINE", "1"),))
    said = failure(account(tmp_path, server_command=command)).message

    assert all(f'"{name}"' in said for name in ("MINE", "OPENAI_API_KEY", "OPENAI_IMAGE_OUTPUT_DIR"))
    assert "AIRFLOW__" not in said
    other = failure(account(tmp_path, server_command=command, service="acedatacloud_mcp")).message
    assert '"ACEDATACLOUD_API_TOKEN"' in other
    assert "OPENAI" not in other


def test_several_at_once_share_the_one_server(tmp_path: Path) -> None:
    mine = account(tmp_path)

    async def together() -> list[TaskState]:
        async with open_async_transport(mine) as transport:
            tasks = await asyncio.gather(*(transport.run(submission(mine, f"kite {n}")) for n in range(10)))
            assert len(servers()) == 1
            while True:
                found = await asyncio.gather(*(transport.run(SERVICE.read_one(task.id)) for task in tasks))
                if all(task.state.is_final for task in found):
                    return [task.state for task in found]

    assert asyncio.run(together()) == [TaskState.SUCCEEDED] * 10
    assert len([name for name in os.listdir(tmp_path) if name.endswith(".png")]) == 10  # noqa: PTH208
