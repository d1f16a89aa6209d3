from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from dev.interruption import INTERRUPTING_SIGNALS, Interrupted, raise_on_interruption


@pytest.fixture(autouse=True)
def restored_handlers() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in INTERRUPTING_SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_first_signal_ends_the_demo_and_later_ones_leave_its_clean_up_alone(number, exit_code) -> None:
    raise_on_interruption()
    with pytest.raises(Interrupted) as interruption:
        signal.raise_signal(number)
    assert interruption.value.exit_code == exit_code
    for each in INTERRUPTING_SIGNALS:
        signal.raise_signal(each)
