from __future__ import annotations

from airflow_provider_imagetasks.services import get_service, known_services
from tests.flow_driver import drive, tool_answer

JOB = "3f0c1a52-7d1e-4a55-9d5a-0b8f5c3f2f10"


def test_a_status_question_makes_one_request_except_where_status_and_result_are_two() -> None:
    costs = {name: get_service(name).requests_per_read for name in known_services()}

    assert costs.pop("gpt_image_mcp") == 2
    assert set(costs.values()) == {1}


def test_what_a_status_question_makes_at_most_is_what_it_makes() -> None:
    service = get_service("gpt_image_mcp")
    finished = f"📊 Job Status\n\n🆔 Job ID: {JOB}\n✅ Status: COMPLETED\n📈 Progress: 100%\n"
    result = f"✅ Job Result\n\n🆔 Job ID: {JOB}\n🛠️  Tool: generate_image\n📅 Completed: now\n💬 Prompt: a kite\n"

    driven = drive(service.read_one(JOB), tool_answer(finished), tool_answer(result))

    assert len(driven.requests) == service.requests_per_read
