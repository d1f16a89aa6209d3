"""What a trigger says when its triggerer stops running it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def cancellation_explained(log: Any) -> Iterator[None]:
    """Tell the task's log why the wait ends here, where it is cancelled from outside.

    :param log: the trigger's.
    :raises asyncio.CancelledError: without the message that it came with.
    """
    try:
        yield
    except asyncio.CancelledError:
        log.info(
            "This triggerer stops asking: a callback woke the task, it was ended or cleared, another triggerer took "
            "the wait over, or this one shuts down. What was submitted goes on at the service."
        )
        # By the message of the cancellation Airflow would log a user's action, which it often was not.
        raise asyncio.CancelledError from None
