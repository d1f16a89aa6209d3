"""Where the pages of the gallery end, as the browser hands it back. It may hand back anything. Pure."""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

_PLACE_IN_ORDER = re.compile(r"([0-9a-f]{16})\.([0-9]{1,9})")


def cursor(*parts: Any) -> str:
    """Return the text that stands for where a page ended."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def offset_of(text: str | None) -> int:
    """Return how many came before, of a list that is counted through; 0 where the text is none of ours."""
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0


def place_in_order(text: str | None) -> tuple[str, int]:
    """Return the name of an order that was made and how many came before; none of both for the first page."""
    match = _PLACE_IN_ORDER.fullmatch(text or "")
    return (match[1], int(match[2])) if match else ("", 0)


def newest_position(text: str | None) -> tuple[datetime, int, str, int, int, str] | None:
    """Return timestamp and run key of the last one of a page, then what ``run_position`` returns.

    None for the first page.
    """
    match _parts(text):
        case [str() as told, int() as run_key, *place]:
            with suppress(ValueError, OverflowError):
                moment = datetime.fromisoformat(told)
                is_key = 0 <= run_key < 2**63 and not isinstance(run_key, bool)
                position = _place_of(place)
                if moment.tzinfo is not None and is_key and position is not None:
                    return moment.astimezone(UTC), run_key, *position
    return None


def run_position(text: str | None) -> tuple[str, int, int, str] | None:
    """Return task id, map index, iteration and Airflow's id of the task instance of the last one of a page.

    The id is empty before Airflow 3.4. None for the first page.
    """
    return _place_of(_parts(text))


def _place_of(parts: Any) -> tuple[str, int, int, str] | None:
    """Return a place as far as a database can be asked for it."""
    match parts:
        case [str() as task_id, int() as map_index, int() as iteration, str() as instance_id]:
            are_printable = "\0" not in task_id and task_id.isprintable()
            are_indexes = all(_is_index(each) for each in (map_index, iteration))
            with suppress(ValueError):
                own = str(UUID(instance_id)) if instance_id else ""
                return (task_id, map_index, iteration, own) if are_printable and are_indexes else None
    return None


def _is_index(number: int) -> bool:
    return not isinstance(number, bool) and -1 <= number < 2**31


def _parts(text: str | None) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode((text or "") + "=" * (-len(text or "") % 4)))
    except (ValueError, RecursionError):
        return None
