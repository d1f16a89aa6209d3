"""What lets somebody in stands nowhere in what Airflow keeps, whatever a service repeats and however a run ends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import pytest

from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from tests.files.result_server import TASK_ID, ResultServer, serving
from tests.image_dag import ImageDag
from tests.operators.what_is_kept import (
    CALLBACK,
    IN_URL,
    INPUT,
    KEY,
    PASSWORD,
    SIGNATURE,
    TOKEN,
    WITH_USER,
    kept,
    leaks,
    runner_for,
)
from tests.scripted_server import CutAfterReading, ReceivedRequest, Reply, ScriptedServer, Step

by_url = pytest.mark.parametrize("service", ["acedatacloud", "kie"])


PARAMETERS = ("auth_key", "key", "tok", "token", "Policy", "Signature", "X-Amz-Signature", "api_key")
ECHOES: dict[str, Callable[[ReceivedRequest], Any]] = {
    "the body": lambda asked: asked.content.decode(),
    "the URLs": lambda _asked: f"cannot fetch {INPUT}, cannot call {CALLBACK}",
    "the parts": lambda _asked: f"bad Signature={IN_URL} ({SIGNATURE}) and token {TOKEN}",
    "in HTML": lambda _asked: f"<a href='{INPUT.replace('&', '&amp;')}'>{CALLBACK}</a>",
    "encoded": lambda _asked: f"redirect={quote(INPUT, safe='')}&to={quote(CALLBACK, safe='')}",
    "the user": lambda _asked: f"no bucket for AKIDEXAMPLE:{PASSWORD}",
    "the password": lambda _asked: f"{unquote(PASSWORD)} is wrong, {PASSWORD} too",
    "an address with a user": lambda _asked: WITH_USER,
    "that as PHP": lambda _asked: WITH_USER.replace("/", "\\/"),
    "that encoded": lambda _asked: quote(WITH_USER, safe=""),
    "no scheme": lambda _asked: f"see //cdn.example/y.png?auth_key={IN_URL}",
    "neither scheme nor slashes": lambda _asked: f"see cdn.example/y.png?v={IN_URL}",
    "other schemes": lambda _asked: f"s3://AKIDEXAMPLE:{PASSWORD}@bucket/y.png, ftp://cdn.example/y?v={IN_URL}",
    "parameters": lambda _asked: " ".join(f"{name}={IN_URL}" for name in PARAMETERS),
    "the headers": lambda asked: json.dumps(dict(asked.headers)),
    "as PHP": lambda _asked: json.dumps({"url": INPUT, "to": CALLBACK}).replace("/", "\\/"),
}


@pytest.mark.usefixtures("skipped_pauses")
@by_url
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize(("status", "is_page"), [(400, False), (200, False), (429, True)])
def test_what_a_service_repeats_of_a_submission_is_not_kept(
    service: str, echo: Callable[[ReceivedRequest], Any], status: int, is_page: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def answers(asked: ReceivedRequest) -> Step:
        if asked.path.endswith("/tasks"):
            # What is repeated of a submission, by itself, is known only where its answer is read.
            return Reply({"items": []})
        said = echo(asked)
        if is_page:
            return Reply(said.encode(), status=status, headers={"Content-Type": "text/html"})
        error = {"code": said, "message": said, "type": said}
        return Reply({"error": error, "trace_id": said, "code": status, "msg": said}, status=status)

    with ScriptedServer(otherwise=answers) as server:
        runner = runner_for(service, server.url)
        given = {"prompt": "winter", "images": [INPUT, WITH_USER], "callback_url": CALLBACK}
        outcome = runner.run(lambda: ImageTaskSubmitOperator(task_id="submit", **given))

    assert outcome.error is not None
    assert leaks(kept(runner, outcome, capsys)) == []


@by_url
def test_nor_is_it_kept_of_a_batch_s_rows(service: str, capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    def answers(asked: ReceivedRequest) -> Step:
        return Reply({"error": {"code": "bad_request", "message": asked.content.decode()}, "code": 422}, status=422)

    with ScriptedServer(otherwise=answers) as server:
        runner = runner_for(service, server.url, callback_url=CALLBACK)
        rows = [{"prompt": "winter", "images": [INPUT]}]
        given = {"requests": rows, "output_path": f"file://{tmp_path}/out", "deferrable": False}
        outcome = runner.run(lambda: ImageBatchOperator(task_id="batch", **given))

    assert outcome.error is not None
    assert leaks(kept(runner, outcome, capsys)) == []
    (manifest,) = tmp_path.rglob("manifest.jsonl")
    assert leaks(manifest.read_text()) == []


@pytest.mark.parametrize("mode", [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}], ids=str)
def test_a_record_that_fails_repeats_no_address(mode: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    said = f"cannot fetch {INPUT}; told {CALLBACK}"
    failed = {"id": "a", "finished_at": 5.5, "response": {"error": {"code": "x", "message": said}, "success": False}}
    with ScriptedServer(otherwise=lambda _asked: Reply(failed)) as server:
        runner = runner_for("acedatacloud", server.url)
        outcome = runner.run(lambda: ImageTaskSensor(task_id="wait", image_task_id="a", **mode))

    assert outcome.state == "failed"
    assert "bucket.example/in.png" in str(outcome.error)
    assert leaks(kept(runner, outcome, capsys)) == []


BROKEN: dict[str, Step] = {
    "status line": CutAfterReading(b"HTTP/9 what\r\n\r\n"),
    "length": CutAfterReading(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nx"),
    "chunk": CutAfterReading(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "header": CutAfterReading(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"),
    "cut": CutAfterReading(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx"),
    "nothing": CutAfterReading(),
    "page": Reply(b"<html>", headers={"Content-Type": "text/html"}),
    "gone": Reply(b"gone", status=410),
    "redirect": Reply(b"", status=302, headers={"Location": f"ftp://x.example/?{IN_URL}"}),
    "gzip": Reply(b"no gzip", headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_the_signature_of_a_result_is_not_in_the_log_of_a_download_that_failed(
    broken: Step, capsys: pytest.CaptureFixture[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_imagetasks.files.fetching.FIRST_PAUSE", 0.01)
    with ScriptedServer(otherwise=lambda _asked: broken) as store:
        url = f"{store.url}/a.png?Signature={IN_URL}"
        record = {"id": "a", "finished_at": 5.5, "response": {"data": [{"url": url}]}}
        with ScriptedServer(otherwise=lambda _asked: Reply(record)) as server:
            runner = runner_for("acedatacloud", server.url, allow_private_hosts=True)
            given = {"image_task_id": "a", "output_path": f"file://{tmp_path}/out"}
            outcome = runner.run(lambda: ImageTaskDownloadOperator(task_id="save", **given))

    assert outcome.error is not None
    assert leaks(kept(runner, outcome, capsys)) == []


@pytest.mark.parametrize(
    "given",
    [
        {"callback_url": [CALLBACK]},
        {"callback_url": {"url": CALLBACK}},
        {"images": [{"url": INPUT}]},
        {"images": [[INPUT]]},
        {"images": INPUT},
        {"images": [INPUT, f"data:image/png;base64,{SIGNATURE}"]},
        {"images": [INPUT], "mask": {"url": INPUT}},
        {"images": [INPUT], "mask": [INPUT]},
        {"images": [INPUT], "mask": INPUT},
    ],
    ids=str,
)
def test_an_argument_of_a_wrong_type_is_not_shown(given: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    runner = runner_for("acedatacloud", "http://127.0.0.1:1")

    outcome = runner.run(lambda: ImageTaskSubmitOperator(task_id="submit", prompt="winter", **given))

    assert outcome.state == "failed"
    assert outcome.error.billed == "no"
    assert leaks(kept(runner, outcome, capsys)) == []


@pytest.mark.parametrize(
    "extra",
    [
        *({"webhook_secret": value} for value in ([KEY], {"a": KEY}, 5)),
        *({"callback_url": value} for value in ([CALLBACK], {"a": CALLBACK}, f"ftp://{TOKEN}")),
        *({"args": value} for value in (KEY, {"a": KEY}, [[KEY]], f'["{KEY}"')),
        *({"env": value} for value in (KEY, [KEY], {"OPENAI_API_KEY": [KEY]}, f'{{"A": "{KEY}"')),
        *(
            {name: [KEY]}
            for name in ("default_model", "verify", "trust_env", "poll_interval", "submit_rate", "command")
        ),
        *({name: KEY} for name in ("poll_interval", "request_timeout", "max_active_tasks", "allow_private_hosts")),
        *({name: KEY} for name in ("trust_env", "submit_rate", "query_rate")),
        *({name: {"a": KEY}} for name in ("download_hosts", "path_map", "output_dir", "max_active_tasks")),
    ],
    ids=lambda extra: re.sub(r"[^a-z_]", "", str(extra))[:40],
)
@pytest.mark.parametrize("service", ["acedatacloud", "gpt_image_mcp"])
def test_a_field_of_the_connection_of_a_wrong_type_is_not_shown(
    service: str, extra: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__ALLOW_STDIO_COMMANDS", "True")
    command = {"command": "a-program", "output_dir": "/tmp"} if service == "gpt_image_mcp" else {}
    runner = runner_for(service, "http://127.0.0.1:1/mcp", **{**command, **extra})

    outcome = runner.run(lambda: ImageTaskSubmitOperator(task_id="submit", prompt="winter"))

    assert outcome.state != "success"
    assert leaks(kept(runner, outcome, capsys)) == []


@pytest.mark.parametrize("host", [f"https://x.example:{KEY}", f"https://user:{KEY}@x.example", f"https://[{KEY}]"])
def test_a_key_in_the_host_is_not_shown(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    runner = runner_for("acedatacloud", host)

    outcome = runner.run(lambda: ImageTaskSubmitOperator(task_id="submit", prompt="winter"))

    assert outcome.state != "success"
    assert leaks(kept(runner, outcome, capsys)) == []


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_a_trigger_is_not_given_the_addresses_that_an_id_may_hold(dag: ImageDag) -> None:
    whole, running = dag.submitted("a kite [sync=anonymous]"), dag.submitted("a kite [never]")

    deferred = dag.wait([whole, running], deferrable=True)

    assert deferred.message.trigger_kwargs["image_task_ids"] == [running]
    over = dag.wait([whole, running], resume=deferred, event={"status": "done"}, deferrable=True)
    assert over.message.trigger_kwargs["image_task_ids"] == [running]
    assert dag.wait([whole], deferrable=True).state == "success"


TAKEN: dict[str, Callable[[ImageTaskSensor], Any]] = {
    "the output of a sensor": lambda wait: wait.output,
    "a list of them": lambda wait: [wait.output, "b"],
    "as text": lambda _wait: "{{ ti.xcom_pull(task_ids='wait') }}",
    "a list as text": lambda _wait: "{{ [ti.xcom_pull(task_ids='wait')] }}",
    "as JSON": lambda _wait: "{{ ti.xcom_pull(task_ids='wait') | tojson }}",
    "a dict that nobody takes": lambda _wait: {"images": [{"url": INPUT}], "id": "a", INPUT: 1},
    "a list of addresses": lambda _wait: [INPUT, [INPUT], {"id": INPUT, "service": "local"}],
}


@pytest.mark.parametrize("taken", TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("is_sensor", [True, False], ids=["sensor", "download"])
def test_the_addresses_of_a_record_are_not_in_the_rendered_templates_of_who_takes_it(
    taken: Callable[[ImageTaskSensor], Any], is_sensor: bool, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    def take() -> Any:
        given = taken(ImageTaskSensor(task_id="wait", image_task_id="a"))
        if is_sensor:
            return ImageTaskSensor(task_id="take", image_task_id=given, timeout=1, poll_interval=1)
        return ImageTaskDownloadOperator(task_id="take", image_task_id=given, output_path=f"file://{tmp_path}/out")

    answers = ResultServer(results=[f"{{url}}/a.png?Signature={IN_URL}"])
    with serving(answers):
        runner = runner_for("acedatacloud", answers.url)
        assert runner.run(lambda: ImageTaskSensor(task_id="wait", image_task_id=TASK_ID)).state == "success"
        assert leaks(str(runner.xcoms["wait", "return_value"])) == [IN_URL]
        outcome = runner.run(take)

    assert runner.rendered["image_task_id"]
    assert leaks(str(runner.rendered)) == []
    for result in (("wait", "return_value"), ("take", "return_value"), ("take", "image_tasks")):
        runner.xcoms.pop(result, None)
    assert leaks(kept(runner, outcome, capsys)) == []
    if taken is TAKEN["the output of a sensor"]:
        assert outcome.state == "success"
        assert outcome.task.image_task_id.keys() == {"id", "service", "conn_id", "created_at"}


@pytest.mark.parametrize("operator", [ImageTaskSensor, ImageTaskDownloadOperator])
def test_nor_in_those_of_a_task_that_is_mapped_over_records(operator: Any) -> None:
    further = {"output_path": "file:///tmp/a"} if operator is ImageTaskDownloadOperator else {}
    record = {"id": "a", "service": "local", "images": [{"url": INPUT}]}

    task = operator.partial(task_id="take", **further).expand(image_task_id=[record]).unmap({"image_task_id": record})

    assert task.image_task_id == {"id": "a", "service": "local"}
