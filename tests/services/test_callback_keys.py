"""Keys that sign callbacks are asked for seldom, also while they cannot be had, and there are few."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from airflow_provider_imagetasks.exceptions import ServiceUnavailableError
from airflow_provider_imagetasks.services.callback_keys import MOST_KEYS, RememberedKeys
from airflow_provider_imagetasks.services.wire import Flow
from tests.flow_driver import NOW, DrivenFlow, drive


class Publisher:
    """Publishes keys; ``asked`` counts how often."""

    def __init__(self, *keys: bytes) -> None:
        self.keys: Sequence[bytes] | None = keys
        self.asked, self.tried = 0, 0

    def ask(self) -> Flow[Sequence[bytes]]:
        yield from ()
        self.asked += 1
        if self.keys is None:
            raise ServiceUnavailableError("The keys cannot be had", service="any")
        return self.keys

    def fits(self, key: bytes) -> bool:
        self.tried += 1
        return key == b"good"

    def checked(self, known: RememberedKeys, at: float) -> DrivenFlow:
        return drive(known.one_fits("me", at, self.ask, self.fits))


def test_keys_that_cannot_be_had_are_asked_for_once_a_minute_however_many_callbacks_come() -> None:
    known, publisher = RememberedKeys(), Publisher()
    publisher.keys = None
    errors = [publisher.checked(known, NOW + second).error for second in range(50)]
    asked_meanwhile = publisher.asked
    publisher.keys = [b"good"]

    assert {type(error) for error in errors} == {ServiceUnavailableError}
    assert asked_meanwhile == 1
    assert publisher.checked(known, NOW + 61).result is True


def test_keys_that_are_known_go_on_while_new_ones_cannot_be_had() -> None:
    known, publisher = RememberedKeys(), Publisher(b"good")
    publisher.checked(known, NOW)
    publisher.keys = None

    assert publisher.checked(known, NOW + 3_600).result is True
    assert publisher.asked == 1


@pytest.mark.parametrize("count", [MOST_KEYS, 100_000])
def test_a_callback_has_few_keys_tried(count: int) -> None:
    publisher = Publisher(*[b"another"] * count)

    assert publisher.checked(RememberedKeys(), NOW).result is False
    assert publisher.tried == MOST_KEYS
