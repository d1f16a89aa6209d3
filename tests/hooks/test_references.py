from __future__ import annotations

import logging
from collections import UserList
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.hooks.references import ImageTaskReference, read_references
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from tests.image_dag import ImageDag
from tests.task_runner import Outcome

SUBMITTED = {
    "id": "task-1",
    "service": "acedatacloud",
    "conn_id": "mine",
    "trace_id": None,
    "model": "gpt-image-2",
    "prompt": "a red kite",
    "submitted_at": "2026-09-21T14:13:20+00:00",
}
TEAM = "finance_team"
MODES: list[dict[str, Any]] = [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}]
READERS: list[Callable[..., Any]] = [
    *(lambda how=how, **given: ImageTaskSensor(task_id="wait", **how, **given) for how in MODES),
    lambda **given: ImageTaskDownloadOperator(task_id="wait", output_path="file:///nowhere", **given),
]

OF_ONE_SERVICE = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)


def test_an_id_alone_or_the_xcom_of_a_submit_task_or_of_a_sensor() -> None:
    alone = read_references(" task-1 ")
    (submitted,) = read_references(SUBMITTED).items
    record = {"id": "task-1", "service": "acedatacloud", "created_at": "2026-09-21T14:13:20+00:00"}

    assert alone.items == (ImageTaskReference(id="task-1"),)
    assert (alone.ids, alone.is_sequence) == (("task-1",), False)
    assert submitted == ImageTaskReference(
        id="task-1", conn_id="mine", service="acedatacloud", submitted_at=1790000000.0
    )
    assert read_references(record).items[0].submitted_at == 1790000000.0
    for moment in (None, 5, "yesterday", "0001-01-01T00:00:00", ""):
        assert read_references({**SUBMITTED, "submitted_at": moment}).items[0].submitted_at is None


@pytest.mark.parametrize("make", [list, tuple, UserList])
def test_any_sequence_of_them_keeps_its_order(make: Any) -> None:
    # The XCom of a mapped task is neither a list nor a tuple.
    references = read_references(make(["task-2", SUBMITTED]))

    assert (references.ids, references.is_sequence) == (("task-2", "task-1"), True)


@pytest.mark.parametrize(("ids", "said"), [(["a", "b"], 0), (["a", "b", "a"], 1), (["a", "b", "a", "b"], 1)])
def test_an_image_task_that_is_named_twice_is_said(ids: list[str], said: int, caplog: pytest.LogCaptureFixture) -> None:
    read_references(ids).warn_of_repeated(logging.getLogger("airflow_provider_imagetasks.tests"))

    assert caplog.text.count("names image task a more than once") == said


REFUSED: dict[str, list[Any]] = {
    "give an id": [b"task-1", {1, 2}],
    "pushed no id": [None, "", "  ", "None", "null", ["task-1", ""], {"id": "", "service": "acedatacloud"}],
    "must be text": [True, 1.2e46, ["task-1", 5.5], float("nan")],
    "submit.output": ["['task-1', 'task-2']", "a red kite", "x" * 513, "inline:" + "x" * 65_536],
    "render_template_as_native_obj": ["{'id': 'task-1'}"],
    "empty sequence": [[]],
    "an id or a dict": [[["task-1"]], ["task-1", {1}]],
    "did not push": [
        *({}, {"id": "task-1"}, {"id": 5, "service": "acedatacloud"}),
        {"files": [{"uri": "file:///tmp/kite.png"}]},
    ],
}


@pytest.mark.parametrize("fix", REFUSED)
def test_anything_else_is_refused_with_a_fix(fix: str) -> None:
    for value in REFUSED[fix]:
        with pytest.raises(InvalidRequestError) as caught:
            read_references(value)
        assert "image_task_id" in str(caught.value)
        assert fix in str(caught.value)
        assert len(str(caught.value)) < 500


def test_the_connection_is_the_explicit_one_then_the_dict_s_then_the_default_and_two_are_an_error() -> None:
    references = read_references([SUBMITTED, {**SUBMITTED, "conn_id": "yours"}])

    assert read_references(SUBMITTED).conn_id("other", set) == "other"
    assert read_references([SUBMITTED, "task-2"]).conn_id(None, lambda: {"mine"}) == "mine"
    assert read_references("task-1").conn_id(None, set) == "imagetasks_default"
    with pytest.raises(InvalidRequestError, match=r"image_task_id.*mine, yours.*per connection"):
        references.conn_id(None, lambda: {"mine", "yours"})


def test_a_dict_may_name_the_default_connection_and_those_that_the_dag_names_and_no_other() -> None:
    default = read_references({**SUBMITTED, "conn_id": "imagetasks_default"})

    assert default.conn_id(None, set) == "imagetasks_default"
    with pytest.raises(InvalidRequestError, match=r"names the connection 'mine'.*conn_id='mine' here"):
        read_references(SUBMITTED).conn_id(None, lambda: {"yours"})


@pytest.mark.parametrize("value", [["mine"], {"mine": 1}, [], {}, True, 5, 0, b"mine", " "], ids=repr)
@pytest.mark.parametrize("name", ["conn_id", "service"])
def test_a_dict_whose_connection_or_service_is_no_text_is_refused_and_not_read_with_another(
    name: str, value: Any
) -> None:
    for told in ({**SUBMITTED, name: value}, ["task-0", {**SUBMITTED, name: value}]):
        with pytest.raises(InvalidRequestError, match=rf"{name} is .*did not push it"):
            read_references(told)


def test_a_dict_without_a_connection_is_read_with_the_default() -> None:
    for told in ({**SUBMITTED, "conn_id": None}, {name: SUBMITTED[name] for name in ("id", "service")}):
        assert read_references(told).conn_id(None, set) == "imagetasks_default"


def test_digits_that_native_rendering_made_a_number_of_are_an_id() -> None:
    assert read_references([20250101, "007"]).ids == ("20250101", "007")


def test_a_connection_for_another_service_is_an_error_that_names_both() -> None:
    references = read_references(["task-0", SUBMITTED])

    references.require_service("acedatacloud", "mine")
    with pytest.raises(InvalidRequestError, match=r"acedatacloud.*'other'.*aigptimage.*conn_id") as caught:
        references.require_service("aigptimage", "other")
    assert caught.value.image_task_id == "task-1"


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from((*SUBMITTED, "other")), inner, max_size=4)
            | st.builds(lambda more: SUBMITTED | {"conn_id": more, "submitted_at": more}, inner)
        ),
        max_leaves=8,
    )
)
@settings(max_examples=200, deadline=None, database=None)
def test_any_xcom_is_a_reference_or_refused(value: Any) -> None:
    with suppress(InvalidRequestError):
        references = read_references(value)
        assert all(isinstance(image_task_id, str) and image_task_id for image_task_id in references.ids)


@pytest.fixture
def record(dag: ImageDag, output_folder: str) -> dict[str, Any]:
    """A dict as our operators push it, of a connection that is not the default one."""
    usable = dag.runner.connections["imagetasks_default"]
    dag.runner.connections[TEAM] = {**usable, "password": "the-key-of-the-finance-team"}
    return {"id": dag.submitted("a kite", conn_id=TEAM), "service": "acedatacloud", "conn_id": TEAM}


def read(dag: ImageDag, make: Callable[..., Any], beside: Callable[[], Any], **given: Any) -> Outcome:
    """Read an image task, in a Dag with another task."""

    def tasks() -> Any:
        beside()
        task = make(**given)
        if hasattr(task, "output_path"):
            task.output_path = dag.output_folder
        return task

    return dag.runner.run(tasks)


@OF_ONE_SERVICE
@pytest.mark.parametrize("make", READERS)
def test_data_cannot_name_a_connection_that_the_dag_does_not(
    dag: ImageDag, record: dict[str, Any], make: Callable[..., Any]
) -> None:
    queries = dag.image_service.stats()["dialects"]["acedatacloud"]["status_queries"]

    for value in (record, [record, record["id"]]):
        outcome = read(dag, make, lambda: None, image_task_id=value)

        assert outcome.state == "failed"
        assert isinstance(outcome.error, InvalidRequestError)
        assert f"conn_id='{TEAM}' here" in str(outcome.error)
        assert outcome.error.billed == "unknown"
    assert dag.image_service.stats()["dialects"]["acedatacloud"]["status_queries"] == queries


NAMED: dict[str, Callable[[], Any]] = {
    "a submit task": lambda: ImageTaskSubmitOperator(task_id="submit", prompt="a kite", conn_id=TEAM),
    "by a template": lambda: ImageTaskSubmitOperator(task_id="submit", prompt="a", conn_id="{{ 'finance' }}_team"),
    "a mapped task": lambda: ImageTaskSubmitOperator.partial(task_id="submit", conn_id=TEAM).expand(prompt=["a"]),
    "a list": lambda: ImageTaskSubmitOperator.partial(task_id="submit", prompt="a").expand(conn_id=["x", TEAM]),
    "a batch": lambda: ImageBatchOperator(task_id="make", prompts=["a"], output_path="file:///tmp/x", conn_id=TEAM),
}


@OF_ONE_SERVICE
@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("make", READERS)
def test_it_may_name_one_that_another_task_of_the_dag_names(
    dag: ImageDag, record: dict[str, Any], make: Callable[..., Any], named: str
) -> None:
    assert read(dag, make, NAMED[named], image_task_id=record).state in ("success", "deferred", "up_for_reschedule")


@OF_ONE_SERVICE
@pytest.mark.parametrize("make", READERS)
def test_the_task_s_own_connection_wins(dag: ImageDag, record: dict[str, Any], make: Callable[..., Any]) -> None:
    outcome = read(dag, make, lambda: None, image_task_id=record, conn_id=TEAM)

    assert outcome.state in ("success", "deferred", "up_for_reschedule")


@OF_ONE_SERVICE
def test_a_template_that_cannot_be_rendered_names_none(dag: ImageDag, record: dict[str, Any]) -> None:
    outcome = read(
        dag,
        READERS[0],
        lambda: ImageTaskSubmitOperator(task_id="submit", prompt="a", conn_id="{{ 1 / 0 }}"),
        image_task_id=record,
    )

    assert isinstance(outcome.error, InvalidRequestError)
