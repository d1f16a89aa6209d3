from __future__ import annotations

from dev.task_log import last_lines, log_text

FAILURE = {
    "timestamp": "2026-01-01T00:00:00Z",
    "level": "error",
    "event": "Task failed with exception",
    "dag_id": "d",
    "ti_id": "t",
    "error_detail": [
        {
            "exc_type": "ValueError",
            "exc_value": "no such size",
            "frames": [{"filename": "dag.py", "lineno": 3, "name": "paint"}],
        }
    ],
}


def test_shows_the_error_with_where_it_came_from() -> None:
    assert log_text([FAILURE]).splitlines() == [
        "2026-01-01T00:00:00Z error Task failed with exception",
        "    dag.py:3 in paint",
        "  ValueError: no such size",
    ]


def test_last_lines_are_without_sources_and_folding_marks() -> None:
    content = ["::group::Log message source details", "/a/log", "::endgroup::", "x ::group::Run", "one", "::endgroup::"]
    text = log_text([*content, {"event": "two", "attempt": 2}])
    assert last_lines(text, 5) == "one\ntwo attempt=2"
    assert last_lines(text, 1) == "two attempt=2"
