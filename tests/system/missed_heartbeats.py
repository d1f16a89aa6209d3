"""A plugin that keeps the scheduler of Airflow 3.4.0b2 alive when a heartbeat is missed. The tests copy this file.

That scheduler sends the callback of the failure in the session of its thread, and by that closes it. What it archives
next is in no session any more, so that the next attempt collides with it, which ends the scheduler.
"""

from __future__ import annotations

from typing import Any

from airflow.callbacks.database_callback_sink import DatabaseCallbackSink
from airflow.utils.session import create_session

_send = DatabaseCallbackSink.send


def _send_apart(self: DatabaseCallbackSink, callback: Any) -> None:
    with create_session(scoped=False) as session:
        _send(self, callback, session=session)


DatabaseCallbackSink.send = _send_apart  # type: ignore[method-assign]
