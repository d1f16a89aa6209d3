"""An MCP server that is started over stdio for one session, and what it said before it ended."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import zip_longest
from typing import IO, Any

from mcp.client.stdio import StdioServerParameters, stdio_client

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account

_LAST_LINES = 6
_LAST_BYTES = 2000
_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)


class ServerProcess:
    """The process of an account's ``server_command``.

    :param account: its service says by which variables the server is told of it, unless its ``env`` says otherwise.
    """

    def __init__(self, account: Account) -> None:
        if account.server_command is None:
            raise ValueError("the account does not say what to start")
        self._conn_id = account.conn_id
        self._command = account.server_command
        given = get_service(account.service).server_environment(account)
        self._environment = {**{name: value for name, value in given.items() if value}, **dict(self._command.env)}
        self._said: IO[str] | None = None
        self._words = ""
        self.was_started = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that must not stand in a message."""
        named = [(name, value) for name, value in self._environment.items()]
        # "--api-key=..." and "--api-key", "..."
        for flag, following in zip_longest(self._command.args, self._command.args[1:], fillvalue=""):
            name, separator, value = flag.partition("=")
            named.append((name, value if separator else following))
        return tuple(value for name, value in named if _SECRET_NAME.search(name))

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Any]:
        """Start it, and hand out the streams to and from it; end it and all its children afterwards.

        :raises InvalidRequestError: there is no such program.
        """
        self.was_started = True
        # A file, since whoever writes the last words must not wait for a reader.
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            self._said = said
            parameters = StdioServerParameters(
                command=self._command.command, args=list(self._command.args), env=self._environment
            )
            try:
                async with stdio_client(parameters, errlog=said) as streams:
                    yield streams
            except OSError as error:
                raise InvalidRequestError(
                    # Not what it names, which may be a key in the wrong field.
                    f"The MCP server of connection {self._conn_id!r} could not be started: {error.strerror}. Its extra "
                    "field 'command' must name a program on this worker"
                ) from None
            finally:
                self._words = self.last_words()
                self._said = None

    def last_words(self) -> str:
        """Return the end of what it wrote to stderr, as the end of a sentence; empty where it wrote nothing."""
        if self._said is None:
            return self._words
        self._said.seek(0, 2)
        self._said.seek(max(0, self._said.tell() - _LAST_BYTES))
        lines = [line.strip() for line in self._said.read().splitlines() if line.strip()]
        return f"; its last words: {' | '.join(lines[-_LAST_LINES:])}" if lines else ""
