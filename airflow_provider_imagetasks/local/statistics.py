"""What the local service counts about the requests it receives."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.records import TaskRecord

_KEPT_CREATIONS = 1_000


@dataclass(slots=True)
class DialectStatistics:
    """The counts of one dialect.

    Every submission is one of ``created``, ``duplicates`` (answered with an earlier image task) or ``refused``.
    """

    submissions: int = 0
    created: int = 0
    edits: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    status_queries: int = 0
    batch_queries: int = 0
    ids_queried: int = 0
    not_found: int = 0
    queries_refused: Counter[str] = field(default_factory=Counter)
    credit_queries: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON types."""
        return {
            "submissions": self.submissions,
            "created": self.created,
            "edits": self.edits,
            "duplicates": self.duplicates,
            "refused": dict(self.refused),
            "status_queries": self.status_queries,
            "batch_queries": self.batch_queries,
            "ids_queried": self.ids_queried,
            "not_found": self.not_found,
            "queries_refused": dict(self.queries_refused),
            "credit_queries": self.credit_queries,
        }


class Statistics:
    """All counts of one local service."""

    def __init__(self, dialects: tuple[str, ...]) -> None:
        self._names = dialects
        self.reset()

    def reset(self) -> None:
        """Set every count to zero."""
        self.dialects = {name: DialectStatistics() for name in self._names}
        self.files_served = 0
        self.files_refused = 0
        self.files_redirected = 0
        self.files_hostile = 0
        self.files_with_authorization = 0
        self.callbacks: Counter[str] = Counter(sent=0, failed=0, not_sent=0)
        self._created: deque[dict[str, Any]] = deque(maxlen=_KEPT_CREATIONS)

    def note_created(self, record: TaskRecord) -> None:
        """Count an image task that was created."""
        counts = self.dialects[record.dialect]
        counts.created += 1
        counts.edits += bool(record.references.names)
        self._created.append(
            {
                "id": record.id,
                "prompt": record.prompt,
                "dialect": record.dialect,
                "trace_id": record.trace_id,
                "request_id": record.request_id,
                "created_at": record.created_at,
                "references": list(record.references.names),
                "mask": record.references.mask,
            }
        )

    def as_dict(self, *, active: int, peak_active: int, remembered: int) -> dict[str, Any]:
        """Return all counts as plain JSON types.

        :param active: how many image tasks are running now.
        :param peak_active: how many were running at the busiest moment.
        :param remembered: how many image tasks the service still knows.
        """
        return {
            "dialects": {name: counts.as_dict() for name, counts in self.dialects.items()},
            "active_tasks": active,
            "peak_active_tasks": peak_active,
            "remembered_tasks": remembered,
            "files_served": self.files_served,
            "files_refused": self.files_refused,
            "files_redirected": self.files_redirected,
            "files_hostile": self.files_hostile,
            "files_with_authorization": self.files_with_authorization,
            "callbacks": dict(self.callbacks),
            "created": list(self._created),
        }
