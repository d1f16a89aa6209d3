"""What a test case of a protocol table looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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

    :param on_read: None means that there is no such image task.
    :param fails_task: whether, when reading, it is the image task that failed, rather than the status request.
    :param repeated_read: whether a status request is made again after it; likewise ``repeated_submit``.
    """

    row: str
    variant: str = ""
    answer: Response
    code: str
    on_read: type[ImageTaskError] | None
    on_submit: type[ImageTaskError]
    fails_task: bool = False
    repeated_read: bool = False
    repeated_submit: bool = False


@dataclass(frozen=True, kw_only=True)
class RuleCase:
    """A row that is no record and no refusal.

    :param check: fails where the row is not observed.
    """

    row: str
    variant: str
    check: Callable[[], None]


class Rules(list[RuleCase]):
    """Collects the functions that check a row each."""

    def row(self, name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
        """Note that the decorated function checks the row of this name."""

        def note(check: Callable[[], None]) -> Callable[[], None]:
            self.append(RuleCase(row=name, variant=check.__name__.replace("_", "-"), check=check))
            return check

        return note


def parameters(cases: Iterable[StateCase | ErrorCase | RuleCase]) -> list[Any]:
    """Return pytest parameters whose ids name the rows."""
    return [pytest.param(case, id="-".join(filter(None, (case.row, case.variant)))) for case in cases]
