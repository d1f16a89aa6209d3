"""Signals that end a program, as an exception: what was started gets stopped on the way out."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

INTERRUPTING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The user or the system asked the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def raise_on_interruption() -> None:
    """Raise ``Interrupted`` at the first signal; ignore later ones, so that the clean-up is not cut short."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for each in INTERRUPTING_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    for number in INTERRUPTING_SIGNALS:
        signal.signal(number, interrupt)


@contextlib.contextmanager
def interruptions_held() -> Iterator[None]:
    """Keep the signals until the end of the block, and then let them have their effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    handlers = {number: signal.getsignal(number) for number in INTERRUPTING_SIGNALS}
    for number in INTERRUPTING_SIGNALS:
        signal.signal(number, lambda received, _frame: held.append(received))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for received in held[:1]:
            signal.raise_signal(received)
