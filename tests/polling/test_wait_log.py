from __future__ import annotations

import logging

import pytest

from airflow_provider_imagetasks.exceptions import ServiceUnavailableError
from airflow_provider_imagetasks.polling.waiting import WaitLog
from airflow_provider_imagetasks.tasks import ImageTask, TaskState


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def task(image_task_id: str, state: str, raw_state: str | None = None) -> ImageTask:
    return ImageTask(id=image_task_id, service="local", state=TaskState(state), raw_state=raw_state)


def test_only_news_are_logged(said: pytest.LogCaptureFixture) -> None:
    log = WaitLog()
    for state in ("running", "running", "running", "succeeded"):
        log.read([task("a", state)])

    assert said.messages == ["Image task a: running", "Image task a: succeeded"]


def test_the_service_s_own_word_is_shown_where_it_says_more(said: pytest.LogCaptureFixture) -> None:
    WaitLog().read([task("a", "running", "mixing-the-paint"), task("b", "running", "running")])

    assert said.messages == ["Image task a: running (mixing-the-paint)", "Image task b: running"]


def test_many_are_counted(said: pytest.LogCaptureFixture) -> None:
    WaitLog().read([task(str(number), "running" if number else "succeeded") for number in range(40)])

    assert said.messages == ["Of 40 image tasks: 1 succeeded, 39 running"]


def test_a_failed_question_is_a_warning(said: pytest.LogCaptureFixture) -> None:
    WaitLog().failed(ServiceUnavailableError("no luck"))

    assert [record.levelname for record in said.records] == ["WARNING"]
    assert "no luck" in said.text
