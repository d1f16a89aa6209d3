from __future__ import annotations

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.exchange import ATTEMPTS
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from tests.flow_driver import DrivenFlow, drive, response
from tests.services import (
    acedatacloud_mcp_rules,
    gpt_image_mcp_rules,
    jobs_api_cases,
    kie_cases,
    kie_rules,
    tasks_api_cases,
    tasks_api_rules,
    xhuoapi_rules,
)
from tests.services.protocol_rows import (
    ACEDATACLOUD_MCP,
    GPT_IMAGE_MCP,
    JOBS_API_ERRORS,
    JOBS_API_STATES,
    KIE,
    KIE_ERRORS,
    KIE_STATES,
    ROWS,
    SIBLINGS,
    TASKS_API_BATCH,
    TASKS_API_ERRORS,
    TASKS_API_PICTURES,
    TASKS_API_STATES,
    XHUOAPI,
)
from tests.services.row_cases import ErrorCase, RuleCase, StateCase, parameters

AIGPTIMAGE, KIE_AI = get_service("aigptimage"), get_service("kie")
TASKS_API = pytest.mark.parametrize(
    "service", [get_service("acedatacloud"), get_service("xhuoapi")], ids=["acedatacloud", "xhuoapi"]
)
STATE_CASES = tasks_api_cases.STATE_CASES + jobs_api_cases.STATE_CASES + kie_cases.STATE_CASES + kie_cases.SIBLINGS
ERROR_CASES = tasks_api_cases.ERROR_CASES + jobs_api_cases.ERROR_CASES + kie_cases.ERROR_CASES
RULES = [
    *tasks_api_rules.RULES,
    *xhuoapi_rules.RULES,
    *kie_rules.RULES,
    *acedatacloud_mcp_rules.RULES,
    *gpt_image_mcp_rules.RULES,
]
REQUEST = ImageRequest(prompt="a red kite", model="gpt-image-2")


@pytest.mark.parametrize(
    ("rows", "cases"),
    [
        pytest.param(TASKS_API_STATES, tasks_api_cases.STATE_CASES, id="1.6"),
        pytest.param(TASKS_API_BATCH | TASKS_API_PICTURES, tasks_api_rules.RULES, id="1.7-1.8"),
        pytest.param(TASKS_API_ERRORS, tasks_api_cases.ERROR_CASES, id="1.9"),
        pytest.param(XHUOAPI, xhuoapi_rules.RULES, id="2"),
        pytest.param(JOBS_API_STATES, jobs_api_cases.STATE_CASES, id="3.1-states"),
        pytest.param(JOBS_API_ERRORS, jobs_api_cases.ERROR_CASES, id="3.1-codes"),
        pytest.param(KIE_STATES, kie_cases.STATE_CASES, id="3.2-states"),
        pytest.param(KIE_ERRORS, kie_cases.ERROR_CASES, id="3.2-codes"),
        pytest.param(KIE, kie_rules.RULES, id="3.2"),
        pytest.param(SIBLINGS, kie_cases.SIBLINGS, id="3.3"),
        pytest.param(ACEDATACLOUD_MCP, acedatacloud_mcp_rules.RULES, id="1.12"),
        pytest.param(GPT_IMAGE_MCP, gpt_image_mcp_rules.RULES, id="4"),
    ],
)
def test_every_row_has_a_test_case_and_every_test_case_a_row(
    rows: dict[str, str], cases: list[StateCase] | list[ErrorCase] | list[RuleCase]
) -> None:
    assert {case.row for case in cases} == set(rows)


def test_the_ids_of_the_test_cases_begin_with_their_row_and_are_unique() -> None:
    every = [*parameters(STATE_CASES), *parameters(ERROR_CASES), *parameters(RULES)]

    assert all(parameter.id.startswith(parameter.values[0].row) for parameter in every)
    assert all(parameter.values[0].row in ROWS for parameter in every)
    assert {parameter.values[0].row for parameter in every} == set(ROWS)
    assert len({parameter.id for parameter in every}) == len(every)


@pytest.mark.parametrize("case", parameters(RULES))
def test_a_rule_of_the_protocol_is_observed(case: RuleCase) -> None:
    case.check()


@TASKS_API
@pytest.mark.parametrize("case", parameters(tasks_api_cases.STATE_CASES))
def test_a_record_of_the_tasks_api_is_understood(case: StateCase, service: Service) -> None:
    driven = drive(service.get_task(tasks_api_cases.TASK_ID), response(case.record))

    check_state(driven, case, tasks_api_cases.TASK_ID)


@TASKS_API
@pytest.mark.parametrize("case", parameters(tasks_api_cases.STATE_CASES))
def test_a_record_means_the_same_in_a_batch(case: StateCase, service: Service) -> None:
    ids = [tasks_api_cases.TASK_ID, "another"]

    driven = drive(service.read_batch(ids), response({"items": [case.record], "count": 1}))

    driven.result = driven.result[tasks_api_cases.TASK_ID]
    check_state(driven, case, tasks_api_cases.TASK_ID)


@pytest.mark.parametrize("case", parameters(jobs_api_cases.STATE_CASES + kie_cases.SIBLINGS))
def test_a_record_of_the_jobs_api_is_understood(case: StateCase) -> None:
    answer = response(jobs_api_cases.envelope(case.record))

    check_state(drive(AIGPTIMAGE.get_task(jobs_api_cases.TASK_ID), answer), case, jobs_api_cases.TASK_ID)


@pytest.mark.parametrize("case", parameters(kie_cases.STATE_CASES + kie_cases.SIBLINGS))
def test_a_record_of_kie_is_understood(case: StateCase) -> None:
    answer = response(jobs_api_cases.envelope(case.record))

    check_state(drive(KIE_AI.get_task(jobs_api_cases.TASK_ID), answer), case, jobs_api_cases.TASK_ID)


@TASKS_API
@pytest.mark.parametrize("case", parameters(tasks_api_cases.ERROR_CASES))
def test_an_error_of_the_tasks_api_ends_a_status_request(case: ErrorCase, service: Service) -> None:
    check_read(service, case)


@pytest.mark.parametrize("case", parameters(jobs_api_cases.ERROR_CASES))
def test_a_code_of_the_jobs_api_ends_a_status_request(case: ErrorCase) -> None:
    check_read(AIGPTIMAGE, case)


@pytest.mark.parametrize("case", parameters(kie_cases.ERROR_CASES))
def test_a_code_of_kie_ends_a_status_request_or_is_the_end_of_the_image_task(case: ErrorCase) -> None:
    check_read(KIE_AI, case)


@TASKS_API
@pytest.mark.parametrize("case", parameters(tasks_api_cases.ERROR_CASES))
def test_an_error_of_the_tasks_api_ends_a_submission(case: ErrorCase, service: Service) -> None:
    check_submit(service, case)


@pytest.mark.parametrize("case", parameters(jobs_api_cases.ERROR_CASES))
def test_a_code_of_the_jobs_api_ends_a_submission(case: ErrorCase) -> None:
    check_submit(AIGPTIMAGE, case)


@pytest.mark.parametrize("case", parameters(kie_cases.ERROR_CASES))
def test_a_code_of_kie_ends_a_submission(case: ErrorCase) -> None:
    check_submit(KIE_AI, case)


def check_state(driven: DrivenFlow, case: StateCase, image_task_id: str) -> None:
    task = driven.result
    assert (task.id, task.state) == (image_task_id, case.state)
    assert len(driven.requests) == 1
    if case.error is None:
        assert task.error is None
    else:
        assert type(task.error) is case.error
        assert (task.error.code, task.error.image_task_id) == (case.code, image_task_id)
        assert task.error.retryable is False
    assert bool(task.images) is (case.state is TaskState.SUCCEEDED)


def check_read(service: Service, case: ErrorCase) -> None:
    attempts = ATTEMPTS if case.repeated_read else 1

    driven = drive(service.get_task("an-id"), *[case.answer] * attempts)

    if case.on_read is None:
        assert driven.result == service.not_found("an-id")
    elif case.fails_task:
        assert (driven.result.id, driven.result.state) == ("an-id", TaskState.FAILED)
        check_error(driven.result.error, case.on_read, case, service)
        assert (driven.result.error.image_task_id, driven.result.error.billed) == ("an-id", "no")
    else:
        check_error(driven.error, case.on_read, case, service)
    assert len(driven.pauses) == attempts - 1


def check_submit(service: Service, case: ErrorCase) -> None:
    attempts = ATTEMPTS if case.repeated_submit else 1

    driven = drive(service.submit(REQUEST), *[case.answer] * attempts)

    check_error(driven.error, case.on_submit, case, service)
    assert driven.error is not None
    assert driven.error.billed == ("no" if case.on_submit is case.on_read or case.on_read is None else "unknown")
    assert driven.error.retryable is case.repeated_submit
    assert len(driven.pauses) == attempts - 1


def check_error(
    error: ImageTaskError | None, expected: type[ImageTaskError], case: ErrorCase, service: Service
) -> None:
    assert type(error) is expected
    assert error is not None
    assert error.code == case.code
    assert error.service == service.name
    assert "no luck" in error.message
