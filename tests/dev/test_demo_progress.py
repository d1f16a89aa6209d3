from __future__ import annotations

import io

from dev.demo_progress import ProgressLine, progress_text
from dev.rest_api import TaskInstance


def task(task_id: str, map_index: int, state: str | None) -> TaskInstance:
    return TaskInstance(task_id=task_id, map_index=map_index, state=state, try_number=1, max_tries=2, raw={})


def test_counts_pictures_by_how_far_they_are() -> None:
    tasks = [
        *(task("picture.submit", index, "success") for index in range(3)),
        task("picture.wait", 0, "deferred"),
        task("picture.wait", 1, "success"),
        task("picture.wait", 2, "success"),
        task("picture.save", 0, None),
        task("picture.save", 1, "success"),
        task("picture.save", 2, "up_for_retry"),
    ]
    assert progress_text(tasks) == (
        "submitted 3/3   waiting 1   ready 2/3   downloaded 1/3   picture.save[2] up_for_retry"
    )


def test_a_mapped_task_not_yet_expanded_counts_as_none() -> None:
    tasks = [task("submit", 0, "running"), task("wait", -1, None), task("save", -1, None)]
    assert progress_text(tasks) == "submitted 0/1   waiting 0   ready 0/1   downloaded 0/1"


def test_without_a_terminal_only_changes_are_shown() -> None:
    stream = io.StringIO()
    line = ProgressLine(stream)
    for text in ["one", "one", "two"]:
        line.show(text)
    line.end()
    assert [shown.split()[-1] for shown in stream.getvalue().splitlines()] == ["one", "two"]
    assert "\r" not in stream.getvalue()
