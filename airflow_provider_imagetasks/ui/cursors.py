"""Where the pages of the gallery end, as the browser hands it back. It may hand back anything. Pure."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any


def cursor(*parts: Any) -> str:
    """Return the text that stands for where a page ended."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def offset_of(text: str | None) -> int:
    """Return how many came before, of a list that is counted through; 0 where the text is none of ours."""
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0


def newest_position(text: str | None) -> tuple[datetime, int, str, int] | None:
    """Return timestamp, run key, task id and map index of the last one of a page; None for the first page."""
    match _parts(text):
        case [str() as told, int() as run_key, str() as task_id, int() as map_index]:
            with suppress(ValueError, OverflowError):
                moment = datetime.fromisoformat(told)
                is_key = 0 <= run_key < 2**63 and not isinstance(run_key, bool)
                if moment.tzinfo is not None and is_key and _is_place(task_id, map_index):
                    return moment.astimezone(UTC), run_key, task_id, map_index
    return None


def run_position(text: str | None) -> tuple[str, int] | None:
    """Return task id and map index of the last one of a page; None for the first page."""
    match _parts(text):
        case [str() as task_id, int() as map_index] if _is_place(task_id, map_index):
            return task_id, map_index
    return None


def _is_place(task_id: str, map_index: int) -> bool:
    """Whether a database can be asked for it."""
    if isinstance(map_index, bool):
        return False
    return "\0" not in task_id and task_id.isprintable() and -1 <= map_index < 2**31


def _parts(text: str | None) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode((text or "") + "=" * (-len(text or "") % 4)))
    except (ValueError, RecursionError):
        return None
