"""Airflow connections to a local service, one for each service that it speaks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DIALECT_PATHS = {
    "local": "acedatacloud",
    "acedatacloud": "acedatacloud",
    "xhuoapi": "xhuoapi/v1",
    "aigptimage": "aigptimage",
    "kie": "kie",
    "acedatacloud_mcp": "mcp/acedatacloud",
    "gpt_image_mcp": "mcp/gpt-image",
}
"""Under which path each ``service`` of a connection is spoken to."""


def connection_to(url: str, service: str, *, server_folder: Path | None = None, **extra: Any) -> str:
    """Return a connection as JSON, the value of an ``AIRFLOW_CONN_...`` environment variable.

    :param url: scheme, host and port of the local service.
    :param service: what the connection's ``service`` is to be.
    :param server_folder: where the GPT-Image MCP server writes its pictures; for its own service only.
    :param extra: further extra fields of it.
    :raises ValueError: the local service does not speak for that service.
    """
    if service not in DIALECT_PATHS:
        raise ValueError(
            f"the local image service does not speak for {service!r}; known are {', '.join(DIALECT_PATHS)}"
        )
    if service == "gpt_image_mcp" and server_folder is not None:
        extra = {"output_dir": str(server_folder), **extra}
    return json.dumps(
        {
            "conn_type": "imagetasks",
            "host": f"{url}/{DIALECT_PATHS[service]}",
            "password": "any-key-will-do",
            "extra": {"service": service, **extra},
        }
    )
