"""Dags with ``render_template_as_native_obj=True``: numbers, lists and dicts, where texts look like them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from tests.image_dag import ImageDag
from tests.task_runner import Outcome

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)


def run(dag: ImageDag, operator: Any, **arguments: Any) -> Outcome:
    """Run an operator in a Dag that renders natively."""

    def make() -> Any:
        task = operator(task_id="native", **arguments)
        task.dag.render_template_as_native_obj = True
        return task

    return dag.runner.run(make)


def test_a_prompt_a_model_and_a_connection_of_digits_are_texts(dag: ImageDag) -> None:
    dag.runner.connections["4711"] = dag.runner.connections["imagetasks_default"]
    given = {"prompt": "{{ 2026 }}", "model": "{{ 20250101 }}", "conn_id": "{{ 4711 }}", "trace_id": "{{ 17 }}"}

    outcome = run(dag, ImageTaskSubmitOperator, **given, options="{{ {'n': 1, 'size': '256x256'} }}", mask="{{ None }}")

    assert outcome.state == "success", outcome.error
    pushed = dag.runner.xcoms["native", "image_task"]
    assert (pushed["prompt"], pushed["model"], pushed["conn_id"], pushed["trace_id"]) == (
        *("2026", "20250101", "4711", "17"),
    )
    assert dag.created[0]["prompt"] == "2026"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prompt": "{{ 1.5 }}"}, "prompt is of the type float"),
        ({"prompt": "{{ ['a', 'b'] }}"}, "prompt is of the type list"),
        ({"prompt": "{{ None }}"}, "Did its template render nothing"),
        ({"prompt": "a kite", "model": "{{ 5.2 }}"}, "model is of the type float"),
        ({"prompt": "a kite", "conn_id": "{{ True }}"}, "conn_id is of the type bool"),
        ({"prompt": "a kite", "options": "{{ '1024' }}"}, "options must be a dict, not int"),
        ({"prompt": "a kite", "options": {"n": "{{ 1.5 }}"}}, "n=1.5"),
        ({"prompt": "a kite", "images": "{{ 'https://x.example/a.png' }}"}, "images must be a list"),
        ({"prompt": "a kite", "images": "{{ [None] }}"}, "images holds"),
        ({"prompt": "a kite", "images": "{{ False }}"}, "images must be a list"),
        ({"prompt": "a kite", "images": ["https://x.example/a.png"], "mask": "{{ '' }}"}, "mask holds"),
        ({"prompt": "a kite", "images": ["https://x.example/a.png"], "mask": "{{ False }}"}, "mask holds"),
        ({"prompt": "a kite", "images": "{{ '' }}"}, "did a template render one, or nothing?"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_billed(
    dag: ImageDag, given: dict[str, Any], said: str
) -> None:
    outcome = run(dag, ImageTaskSubmitOperator, **given)

    assert isinstance(outcome.error, InvalidRequestError), outcome.error
    assert said in str(outcome.error)
    assert outcome.error.billed == "no"
    assert dag.created == []


@pytest.mark.parametrize("operator", [ImageTaskSensor, ImageTaskDownloadOperator])
class TestIds:
    def arguments(self, dag: ImageDag, operator: Any) -> dict[str, Any]:
        return {} if operator is ImageTaskSensor else {"output_path": dag.output_folder}

    def test_a_list_and_a_dict_of_ours_are_taken(self, dag: ImageDag, operator: Any) -> None:
        image_task_id = dag.submitted()
        for value in ([image_task_id], {"id": image_task_id, "service": "acedatacloud"}, image_task_id):
            outcome = run(dag, operator, image_task_id=f"{{{{ {value!r} }}}}", **self.arguments(dag, operator))
            assert outcome.state == "success", outcome.error

    def test_an_id_of_digits_is_one_and_a_number_that_cannot_be_turned_back_is_refused(
        self, dag: ImageDag, operator: Any
    ) -> None:
        unknown = (
            run(dag, operator, image_task_id="{{ [20250101, '007'] }}", timeout=0, **self.arguments(dag, operator))
            if operator is ImageTaskSensor
            else run(dag, operator, image_task_id="{{ 20250101 }}", **self.arguments(dag, operator))
        )
        refused = run(dag, operator, image_task_id="{{ '12e45' }}", **self.arguments(dag, operator))

        assert "20250101" in str(unknown.error)
        assert isinstance(refused.error, InvalidRequestError)
        assert "use the output of the upstream task" in str(refused.error)

    def test_nothing_is_said_to_be_nothing(self, dag: ImageDag, operator: Any) -> None:
        outcome = run(dag, operator, image_task_id="{{ None }}", **self.arguments(dag, operator))

        assert isinstance(outcome.error, InvalidRequestError)
        assert "image_task_id is 'None': the task that should have submitted pushed no id" in str(outcome.error)


def test_a_trace_id_of_digits_is_waited_for(dag: ImageDag) -> None:
    image_task_id = dag.submitted("a kite", trace_id="17")

    assert run(dag, ImageTaskSensor, trace_id="{{ 17 }}").state == "success"
    assert dag.runner.xcoms["native", "return_value"]["id"] == image_task_id


def test_the_arguments_of_a_batch_are_what_they_look_like(dag: ImageDag) -> None:
    dag.runner.connections["4711"] = dag.runner.connections["imagetasks_default"]
    outcome = run(
        dag,
        ImageBatchOperator,
        prompts="{{ ['a kite', 'a boat'] }}",
        output_path=dag.output_folder,
        conn_id="{{ 4711 }}",
        model="{{ 20250101 }}",
        options="{{ {'size': '256x256'} }}",
        max_failed="{{ 0.5 }}",
        max_active_tasks="{{ 2 }}",
        max_cost="{{ 10 }}",
        prices="{{ {'20250101': 0.5} }}",
        deferrable=False,
    )

    assert outcome.state == "success", outcome.error
    assert dag.runner.xcoms["native", "return_value"]["cost"] == 1.0
    assert dag.runner.xcoms["native", "image_batch"]["model"] == "20250101"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prompts": "{{ 2026 }}"}, "they are int"),
        ({"prompts": "{{ [2026, 2027] }}"}, "with a prompt, not int"),
        ({"prompts": "{{ None }}"}, "did their template render nothing"),
        ({"requests_path": "{{ None }}"}, "did their template render nothing"),
        ({"prompts": "a kite", "model": "{{ [] }}"}, "model is of the type list"),
        ({"prompts": "a kite", "filename": "{{ 7 }}"}, "filename is 7"),
        ({"prompts": "a kite", "submit_rate": "{{ 20 }}"}, "submit_rate is '20'"),
        ({"prompts": "a kite", "prices": "{{ 0.5 }}"}, "prices is 0.5"),
    ],
)
def test_what_cannot_be_meant_of_a_batch_is_refused_before_anything_is_billed(
    dag: ImageDag, given: dict[str, Any], said: str
) -> None:
    outcome = run(dag, ImageBatchOperator, output_path=dag.output_folder, deferrable=False, **given)

    assert outcome.state == "failed", outcome.error
    assert said in str(outcome.error)
    assert dag.created == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_cost": "{{ None }}"}, "max_cost is empty"),
        ({"max_cost": "{{ True }}"}, "max_cost is True"),
        ({"max_active_tasks": "{{ 1.5 }}"}, "max_active_tasks is 1.5"),
        ({"max_failed": "{{ None }}"}, "max_failed is None"),
        ({"max_failed": "{{ [1] }}"}, "max_failed is [1]"),
    ],
)
def test_numbers_of_a_batch_that_are_none_are_refused_before_anything_is_billed(
    dag: ImageDag, given: dict[str, Any], said: str
) -> None:
    rows: dict[str, Any] = {"prompts": ["a kite"], "output_path": dag.output_folder, "prices": {"gpt-image-2": 1}}

    outcome = run(dag, ImageBatchOperator, **rows, **given)

    assert isinstance(outcome.error, InvalidRequestError), outcome.error
    assert said in str(outcome.error)
    assert (outcome.error.billed, dag.created) == ("no", [])


def test_numbers_of_a_batch_may_be_rendered(dag: ImageDag) -> None:
    rows: dict[str, Any] = {"prompts": ["a kite"], "output_path": dag.output_folder, "prices": {"gpt-image-2": 1}}
    numbers = {"max_cost": "{{ 2 }}", "max_active_tasks": "{{ 3.0 }}", "max_failed": "{{ 0.5 }}"}

    assert run(dag, ImageBatchOperator, **rows, **numbers, deferrable=False).state == "success"
