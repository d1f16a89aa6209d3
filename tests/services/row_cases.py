"""What a test case of a protocol table looks like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.tasks import TaskState


@dataclass(frozen=True, kw_only=True)
class StateCase:
    """A record, and how it is understood.

    :param row: key of ``protocol_rows.ROWS``; with ``variant`` the id of the test.
    """

    row: str
    variant: str = ""
    record: dict[str, Any]
    state: TaskState
    error: type[ImageTaskError] | None = None
    code: str | None = None


@dataclass(frozen=True, kw_only=True)
class ErrorCase:
    """An answer that refuses, and what it means when reading and when submitting.

    :param repeated_read: whether a status request is made again after it; likewise ``repeated_submit``.
    """

    row: str
    variant: str = ""
    answer: Response
    code: str
    on_read: type[ImageTaskError] | None
    on_submit: type[ImageTaskError]
    repeated_read: bool = False
    repeated_submit: bool = False


def parameters(cases: Iterable[StateCase | ErrorCase]) -> list[Any]:
    """Return pytest parameters whose ids name the rows."""
    return [pytest.param(case, id="-".join(filter(None, (case.row, case.variant)))) for case in cases]
