from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.hooks.references import read_references
from airflow_provider_imagetasks.services.inline_ids import inline_id, task_from_inline_id
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState

TASK = ImageTask(
    id="",
    service="acedatacloud",
    state=TaskState.SUCCEEDED,
    raw_state="inline",
    trace_id="mine",
    model="gpt-image-2",
    prompt="ein roter Drachen über Köln",
    images=tuple(GeneratedImage(index=n, url=f"https://x.example/{n}.png?sig=%2B") for n in range(2)),
    image_count_requested=2,
    finished_at=1790000000.5,
)


def encoded(content: bytes) -> str:
    return "inline:" + base64.urlsafe_b64encode(content).decode().rstrip("=")


def test_the_id_is_the_record_with_a_long_prompt_cut_and_passes_wherever_ids_pass() -> None:
    image_task_id = inline_id(TASK)
    many = inline_id(replace(TASK, images=TASK.images * 500))
    long = task_from_inline_id(inline_id(replace(TASK, prompt="kite " * 5000)), "acedatacloud")

    assert task_from_inline_id(image_task_id, "acedatacloud") == replace(TASK, id=image_task_id)
    assert len(many) > 32_000
    assert read_references(many).ids == (many,)
    assert long.prompt == ("kite " * 60).rstrip() + "…"


def test_another_service_s_id_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequestError, match=r"image_task_id comes from the service acedatacloud.*aigptimage"):
        task_from_inline_id(inline_id(TASK), "aigptimage")


@pytest.mark.parametrize(
    "damaged",
    [
        *("inline:", "inline:a", "inline:ä"),
        *map(encoded, (b"no json", b"[]", b"5", b"\xff\xfe", b"[" * 50_000, b'{"urls": []}')),
        encoded(b'{"service": "acedatacloud"}'),
        *(encoded(b'{"urls": %s, "service": "acedatacloud"}' % urls) for urls in (b"null", b"[]", b'"abc"')),
    ],
    ids=lambda damaged: damaged[:50],
)
def test_a_damaged_id_is_refused_by_name(damaged: str) -> None:
    with pytest.raises(InvalidRequestError, match="image_task_id starts with 'inline:'"):
        task_from_inline_id(damaged, "acedatacloud")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
OPTIONAL = ("model", "prompt", "trace_id", "count", "finished_at")
URLS = st.lists(st.text(max_size=3), max_size=2) | JSON


@given(
    st.fixed_dictionaries({"service": st.just("acedatacloud"), "urls": URLS}, optional=dict.fromkeys(OPTIONAL, JSON))
)
@settings(max_examples=200, deadline=None, database=None)
def test_a_forged_id_is_read_or_refused(record: dict[str, Any]) -> None:
    try:
        task = task_from_inline_id(encoded(json.dumps(record).encode()), "acedatacloud")
    except InvalidRequestError:
        return
    assert json.dumps(task.as_xcom("mine"))
