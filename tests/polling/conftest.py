"""A server that knows image tasks, for the tests of the shared poller."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.polled_accounts import Records
from tests.scripted_server import ScriptedServer


@pytest.fixture
def server(records: Records, no_proxy: None) -> Iterator[ScriptedServer]:
    with ScriptedServer(otherwise=records) as running:
        yield running
