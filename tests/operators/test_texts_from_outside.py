"""Texts that are not ours: what users get wrong is refused unbilled, what services send is handed on clean."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskFailedError, InvalidRequestError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.submissions import reconciling
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.image_batch import ImageBatch
from tests.image_dag import ImageDag
from tests.scripted_server import CutAfterReading, ReceivedRequest, Reply, ScriptedServer

ACEDATACLOUD = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
ACEDATACLOUD_AND_KIE = pytest.mark.parametrize("service_name", ["acedatacloud", "kie"], indirect=True)
UNSENDABLE = pytest.mark.parametrize("bad", ["\0", "\udfff"], ids=ascii)
DIRTY = "a\0b\ud800c\x1b[31m\nd\u202ee\u2028f\x85g"
CLEAN = "abc[31m de f g"
TASK_ID = "11111111-2222-4333-8444-555555555555"


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


def with_bad(bad: str, value: Any) -> Any:
    return json.loads(json.dumps(value).replace("{}", json.dumps(bad)[1:-1]))


def submissions(dag: ImageDag) -> int:
    return sum(dialect.get("submissions", 0) for dialect in dag.image_service.stats()["dialects"].values())


FIELDS = (
    *(("prompt", "a {}kite"), ("model", "gpt{}"), ("trace_id", "mine{}"), ("callback_url", "https://me.example/{}")),
    *(("images", ["https://pictures.example/{}.png"]), ("images", ["/pictures/{}.png"])),
    *(("options", {"style": "{}"}), ("options", {"{}": 1}), ("options", {"style": [{"of": {"kite{}": 1}}]})),
)


@ACEDATACLOUD
@pytest.mark.parametrize(("field", "value"), FIELDS)
def test_a_text_that_cannot_be_stored_is_refused_before_anything_is_billed(
    dag: ImageDag, field: str, value: Any
) -> None:
    outcome = dag.submit(**{field: with_bad("\0", value)})

    assert outcome.state == "failed"
    assert isinstance(outcome.error, InvalidRequestError)
    assert f"{field} holds U+0000" in str(outcome.error)
    assert "It was not billed." in str(outcome.error)
    assert submissions(dag) == 0
    assert dag.runner.xcoms["submit", "image_task_refused"]["error"]["class"] == "InvalidRequestError"


@ACEDATACLOUD
@pytest.mark.parametrize("trace_id", ["order\t17", "order\u202e17", "order-17\x7f", "t" * 3_000])
def test_a_trace_id_that_could_not_be_found_again_is_refused_before_anything_is_billed(
    dag: ImageDag, trace_id: str
) -> None:
    outcome = dag.submit(trace_id=trace_id)

    assert outcome.state == "failed"
    assert isinstance(outcome.error, InvalidRequestError)
    assert "could not be found by it" in str(outcome.error)
    assert submissions(dag) == 0


@pytest.mark.parametrize(("field", "value"), [*FIELDS, ("mask", "/pictures/{}.png")])
@UNSENDABLE
def test_a_request_is_not_made_of_what_cannot_be_sent(field: str, value: Any, bad: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"{field} holds U\+{ord(bad):04X}") as caught:
        ImageRequest(**{"prompt": "a kite", "images": ["/a.png"], field: with_bad(bad, value)})
    assert caught.value.billed == "no"


@pytest.mark.parametrize("levels", [101, 900, 5_000])
def test_options_that_are_nested_too_deeply_make_no_request(levels: int) -> None:
    ImageRequest(prompt="a kite", options={"x": nested(50)})
    with pytest.raises(InvalidRequestError, match="options is nested more than"):
        ImageRequest(prompt="a kite", options={"x": nested(levels)})


@UNSENDABLE
def test_one_row_that_cannot_be_sent_is_one_failed_row(batch: ImageBatch, tmp_path: Path, bad: str) -> None:
    rows = [{"prompt": "a kite"}, {"prompt": f"a {bad}boat"}, {"prompt": "a tree", "id": f"tree{bad}"}]
    rows += [{"prompt": "a cup", "options": {"x": nested(levels)}} for levels in (150, 900)]
    rows += [{"prompt": "a hat", f"colour{bad}": "red"}, {"prompt": "a cat"}]
    path = tmp_path / "requests.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))

    outcome = batch.start(requests_path=f"file://{path}", options={}, max_failed=5)

    assert outcome.state == "success", outcome.error
    assert batch.statuses == "succeeded failed failed failed failed failed succeeded"
    assert {row["error"]["billed"] for row in batch.rows[1:6]} == {"no"}
    assert batch.created == ["a cat", "a kite"]


@ACEDATACLOUD
@pytest.mark.parametrize("argument", ["filename", "output_path", "model", "options"])
def test_an_argument_of_a_batch_that_cannot_be_stored_is_named(batch: ImageBatch, argument: str) -> None:
    value = {"x": "\0"} if argument == "options" else f"{batch.output_folder}\0"

    outcome = batch.start("a kite", **{argument: value}, max_failed=1.0)

    assert isinstance(outcome.error, InvalidRequestError)
    assert f"{argument} holds U+0000" in str(outcome.error)
    assert batch.created == []


@ACEDATACLOUD
def test_an_id_that_cannot_be_asked_for_is_refused(dag: ImageDag) -> None:
    for outcome in (dag.wait("a\0"), dag.save("a\0"), dag.save(["a\0", "b"])):
        assert isinstance(outcome.error, InvalidRequestError), outcome.error
        assert "image_task_id holds U+0000" in str(outcome.error)
    assert isinstance(dag.wait(trace_id="a\0").error, InvalidRequestError)


ASKS: list[Callable[[ImageTaskHook, str], Any]] = [
    lambda hook, bad: hook.get_task(bad),
    lambda hook, bad: hook.get_task(trace_id=bad),
    lambda hook, bad: hook.get_tasks(["b", bad]),
    lambda hook, bad: hook.list_tasks(type=bad),
    lambda hook, bad: hook.wait(bad),
]


@ACEDATACLOUD
@UNSENDABLE
def test_the_hook_asks_for_nothing_that_cannot_be_sent(
    connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_IMAGETASKS_DEFAULT", json.dumps(connection))
    for ask in ASKS:
        with pytest.raises(InvalidRequestError, match=r"U\+") as caught:
            ask(ImageTaskHook(), f"a{bad}")
        assert caught.value.billed == "unknown"


@pytest.fixture
def answers(dag: ImageDag, no_proxy: None) -> Iterator[ScriptedServer]:
    """A service that answers as a test says."""
    with ScriptedServer() as server:
        dag.runner.connections["imagetasks_default"]["host"] = server.url
        yield server


def record(**fields: Any) -> dict[str, Any]:
    return {
        "id": TASK_ID,
        "created_at": time.time(),
        "finished_at": time.time(),
        "request": {"prompt": "a red kite", "model": "gpt-image-2"},
        "response": {"success": True, "data": [{"url": "https://pictures.example/kite.png"}]},
        **fields,
    }


@ACEDATACLOUD
def test_what_a_service_says_is_stored_without_what_no_database_takes(dag: ImageDag, answers: ScriptedServer) -> None:
    told = record(
        trace_id=DIRTY,
        request={"prompt": DIRTY, "model": DIRTY, "n": 10**300},
        response={
            "data": [{"url": "https://pictures.example/a\0\ud800.png"}],
            "usage": {DIRTY: DIRTY, "tokens": 7, "deep": nested(300), "many": ["x" * 10**6] * 9, "huge": 10**400},
        },
        elapsed=-5,
    )
    submitted = {"task_id": f"{TASK_ID}\0\n", "trace_id": DIRTY}
    answers.otherwise = lambda request: Reply(told if "tasks" in request.path else submitted)

    assert dag.submit().state == "success"
    assert (dag.image_task_id, dag.runner.xcoms["submit", "image_task"]["trace_id"]) == (TASK_ID, CLEAN)
    assert dag.wait().state == "success"

    assert (dag.record["trace_id"], dag.record["model"], dag.record["prompt"]) == (CLEAN, CLEAN, CLEAN)
    assert dag.record["images"][0]["url"] == "https://pictures.example/a.png"
    assert (dag.record["usage"]["tokens"], dag.record["usage"][CLEAN]) == (7, CLEAN)
    assert (dag.record["image_count_requested"], dag.record["duration"]) == (1, None)
    assert len(json.dumps(dag.record)) < 10_000


FAILURES = {
    "acedatacloud": lambda words: record(response={"error": {"code": words, "message": words}, "trace_id": words}),
    "kie": lambda words: {
        "code": 200,
        "data": {"taskId": TASK_ID, "state": "fail", "failMsg": words, "failCode": words},
    },
}


@ACEDATACLOUD_AND_KIE
@pytest.mark.parametrize("words", [DIRTY, "no " * 2_800_000], ids=["control characters", "8 MiB"])
def test_a_reason_is_told_on_one_line_and_in_a_few_words(
    dag: ImageDag, answers: ScriptedServer, service_name: str, words: str
) -> None:
    answers.otherwise = lambda _request: Reply(FAILURES[service_name](words))

    outcome = dag.wait(TASK_ID)

    assert isinstance(outcome.error, ImageTaskFailedError)
    for told in (str(outcome.error), *(str(value) for value in dag.runner.xcoms.values())):
        assert len(told) < 10_000
        assert told.isprintable()


@ACEDATACLOUD
@pytest.mark.parametrize("answer", [Reply(b"\x1b[2J\x00 <h1>\nno</h1>", status=400), Reply(b"\xff\x00\n", status=200)])
def test_what_is_no_answer_is_told_on_one_line(dag: ImageDag, answers: ScriptedServer, answer: Reply) -> None:
    answers.otherwise = lambda _request: answer

    outcome = dag.submit()

    assert outcome.state == "failed"
    assert str(outcome.error).isprintable()
    assert dag.runner.xcoms["submit", "image_task_refused"]["error"]["message"].isprintable()


NO_MOMENT = (float("nan"), float("inf"), -1, 0, 1e300, 10**400, "soon", {}, 5e12)


@ACEDATACLOUD
@pytest.mark.parametrize("told", [lambda: time.time() * 1e3, *(lambda told=told: told for told in NO_MOMENT)])
@pytest.mark.parametrize("trace_id", [None, "mine"])
def test_a_lost_answer_is_handed_on_whatever_the_service_takes_for_the_time(
    dag: ImageDag,
    answers: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    told: Any,
    trace_id: str | None,
) -> None:
    monkeypatch.setattr(reconciling, "LOOK_PAUSES", ())
    # Where Airflow keeps no state itself.
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    sent: list[str] = []

    def step(request: ReceivedRequest) -> Any:
        if "tasks" not in request.path:
            sent.append(request.body["trace_id"])
            return CutAfterReading()
        moments = {"created_at": told(), "started_at": told(), "finished_at": told()}
        found = record(trace_id=sent[0], **(moments if trace_id is None else {"created_at": time.time() * 1e3}))
        return Reply({"items": [found], "count": 1} if request.body["action"] == "retrieve_batch" else found)

    answers.otherwise = step

    assert dag.submit("a red kite", trace_id=trace_id).state == "success"
    again = dag.submit("a red kite", trace_id=trace_id, try_number=2)

    assert again.state == "success", again.error
    assert (len(sent), dag.image_task_id) == (1, TASK_ID)
    assert dag.runner.xcoms["submit", "image_task"]["submitted_at"].startswith("20")


SIGNED = "https://bucket.example/in.png?X-Amz-Signature=s1gnature-of-the-input"
CALLED = "https://me.example/hooks/eyJjb25uX2lkIjoiYSJ9.t0ken-of-the-callback"
OWN = "https://me.example/services/T0SECRET/B0SECRET"
REPEATED = {
    "whole": f"cannot use {SIGNED} or {CALLED} or {OWN}",
    "in parts": "cannot use "
    + " or ".join(
        (SIGNED.partition("?")[2], CALLED.removeprefix("https://me.example"), OWN.removeprefix("https://me.example"))
    ),
    "as PHP writes JSON": f"cannot use {SIGNED} or {CALLED} or {OWN}".replace("/", "\\/"),
}


@ACEDATACLOUD
@pytest.mark.parametrize("repeated", REPEATED.values(), ids=REPEATED)
@pytest.mark.parametrize("callback_url", [CALLED, OWN])
@pytest.mark.parametrize("as_error", [True, False])
def test_a_service_that_repeats_what_it_was_sent_repeats_no_secret(
    dag: ImageDag, answers: ScriptedServer, repeated: str, callback_url: str, as_error: bool
) -> None:
    body = {"error": {"code": "bad_request", "message": repeated}} if as_error else {"detail": repeated}
    answers.otherwise = lambda _request: Reply(body, status=400)

    outcome = dag.submit(images=[SIGNED], callback_url=callback_url)

    secret = callback_url.rpartition("/")[2]
    for told in (str(outcome.error), json.dumps(list(dag.runner.xcoms.values()))):
        assert "cannot use" in told
        assert "s1gnature" not in told
        assert secret not in told


@ACEDATACLOUD_AND_KIE
def test_a_failure_that_is_told_later_repeats_no_secret_either(
    dag: ImageDag, answers: ScriptedServer, service_name: str
) -> None:
    words = f"cannot fetch {SIGNED}, cannot call {CALLED}"
    answers.otherwise = lambda _request: Reply(FAILURES[service_name](words))

    outcome = dag.wait(TASK_ID)

    for told in (str(outcome.error), json.dumps(list(dag.runner.xcoms.values()))):
        assert "https://bucket.example/in.png" in told
        assert "s1gnature" not in told
        assert "t0ken" not in told


@ACEDATACLOUD
def test_an_id_that_is_the_record_is_not_shown_whole_in_an_error(dag: ImageDag) -> None:
    image_task_id = dag.submitted("a red kite [sync=anonymous] [result-url=file:///etc/passwd]")
    assert image_task_id.startswith("inline:")

    for outcome in (dag.save(image_task_id), dag.save([image_task_id, image_task_id])):
        assert outcome.error is not None
        assert image_task_id[:80] in str(outcome.error)
        assert image_task_id[:120] not in str(outcome.error)


@ACEDATACLOUD
def test_a_manifest_has_one_line_for_each_row_whatever_its_prompt_holds(batch: ImageBatch) -> None:
    prompts = [f"a kite{end}red" for end in ("\u2028", "\u2029", "\x85", "\r", "\n", "\x0b", "\x1c")]

    assert batch.start(*prompts).state == "success"

    assert [row["prompt"] for row in batch.rows] == prompts


def test_a_record_that_holds_what_no_database_stores_is_handed_on_clean(dag: ImageDag) -> None:
    assert dag.submit("a kite [odd-texts]").state == "success"
    assert dag.wait().state == "success"
    assert dag.save().state == "success"

    assert dag.record["prompt"] in (None, "a kite [odd-texts]")
