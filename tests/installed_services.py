"""Services of other people, as if their distributions were installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_imagetasks import services
from airflow_provider_imagetasks.services import ENTRY_POINT_GROUP, get_service, known_services


@dataclass(frozen=True)
class _Entry:
    name: str
    load: Callable[[], Any]


@contextmanager
def installed(**loads: Callable[[], Any]) -> Iterator[None]:
    """Install services by name, each by what its entry point loads."""
    entries = [_Entry(name, load) for name, load in loads.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "entry_points", lambda group: entries if group == ENTRY_POINT_GROUP else [])
        _forget()
        yield
    _forget()


def _forget() -> None:
    known_services.cache_clear()
    get_service.cache_clear()
