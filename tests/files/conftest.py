from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_imagetasks.services.account import Account


@pytest.fixture
def account() -> Callable[..., Account]:
    """Make an account whose API is at a public host, unless told otherwise."""

    def make(**fields: Any) -> Account:
        defaults = {
            "conn_id": "c",
            "service": "acedatacloud",
            "base_url": "https://api.example.com",
            "key": "secret-key",
        }
        return Account(**{**defaults, **fields})

    return make
