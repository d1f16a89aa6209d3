"""What identifies a submission among all others, so that a repetition can be recognised as one. Pure."""

from __future__ import annotations

import hashlib


def submission_identity(
    *, dag_id: str, task_id: str, run_id: str, map_index: int, generation: int, item_index: int = 0, attempt: int = 0
) -> str:
    """Return 64 hexadecimal digits that are the same for every try of one submission.

    :param map_index: -1 for a task that is not mapped.
    :param generation: rises when somebody clears the task to have it done anew; never the try number.
    :param item_index: position in a batch.
    :param attempt: rises in a batch each time that an item is asked for anew within a generation.
    """
    parts: tuple[str, ...] = (dag_id, task_id, run_id, str(map_index), str(item_index), str(generation))
    if attempt:
        parts += (str(attempt),)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def batch_identity(*, dag_id: str, task_id: str, run_id: str, map_index: int) -> str:
    """Return 64 hexadecimal digits that are the same for every start of one batch.

    :param map_index: -1 for a task that is not mapped.
    """
    return hashlib.sha256("\0".join((dag_id, task_id, run_id, str(map_index))).encode()).hexdigest()
