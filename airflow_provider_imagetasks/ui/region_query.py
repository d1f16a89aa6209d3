"""How a route's address names an iteration of a loop: ``region_id`` and ``region_index``, as Airflow 3.4's own do."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query


def _region(
    region_id: UUID | None = None, region_index: Annotated[int | None, Query(ge=-1, le=2**31 - 1)] = None
) -> str:
    return f"{region_id}/{region_index}" if region_id is not None and region_index is not None else ""


Region = Annotated[str, Depends(_region)]
"""The region as an ``XCom`` has it; empty where the address names none."""
