from __future__ import annotations

from typing import Any

import pytest

from tests.task_runner import TaskRunner


@pytest.fixture
def runner(connection: dict[str, Any]) -> TaskRunner:
    """The task runner, with a connection to the local image service as the default one."""
    return TaskRunner(connections={"imagetasks_default": connection})
