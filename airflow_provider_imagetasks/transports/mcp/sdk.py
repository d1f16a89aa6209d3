"""The official ``mcp`` SDK: optional, slow to import, talkative."""

from __future__ import annotations

import logging
from importlib import import_module
from types import ModuleType

from airflow_provider_imagetasks.exceptions import InvalidRequestError

EXTRA = "airflow-provider-imagetasks[mcp]"
_TALKATIVE = ("mcp", "client", "httpx2", "httpcore2")
"""Loggers that write a line for every request or session: task logs are for the image tasks."""


def load_sessions() -> ModuleType:
    """Import what speaks to MCP servers; takes a second the first time, so not on an event loop.

    :raises InvalidRequestError: the SDK is not installed, or too old.
    """
    try:
        module = import_module("airflow_provider_imagetasks.transports.mcp.session")
    except ImportError as error:
        raise InvalidRequestError(
            f"MCP servers need the package 'mcp', version 2 or newer ({error}). Install it where tasks and triggers "
            f"run: pip install '{EXTRA}'"
        ) from error
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
    return module
