"""The service behind a connection, as Airflow knows it: its fields and form, its test, and the sessions with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError
from airflow_provider_imagetasks.hooks import connection_form
from airflow_provider_imagetasks.hooks.connection import CONNECTION_TYPE, read_connection
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import DEFAULT_CONN_ID, Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.exchange import typed
from airflow_provider_imagetasks.services.wire import Flow, Result
from airflow_provider_imagetasks.submissions.callback_urls import webhook_url_of
from airflow_provider_imagetasks.transports import open_transport
from airflow_provider_imagetasks.transports.http import Transport


class ServiceHook(BaseHook):
    """Reads a connection of the type ``imagetasks``, and runs what its service is asked.

    :param conn_id: the connection's id.
    """

    conn_name_attr = "conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = CONNECTION_TYPE
    hook_name = connection_form.HOOK_NAME
    keeps_pictures = True
    """Whether somebody looks at the pictures that records hold; a wait leaves them out as they come in."""

    def __init__(self, conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self._account: Account | None = None
        self._session: Transport | None = None

    @property
    def account(self) -> Account:
        """What the connection says, read once.

        :raises InvalidRequestError: names the field that is wrong.
        :raises AuthenticationError: there is no key.
        """
        if self._account is None:
            self._account = read_connection(self.conn_id)
        return self._account

    @property
    def service(self) -> Service:
        """The service that the connection names."""
        return get_service(self.account.service)

    def get_conn(self) -> Transport:
        """Return an open transport; close it, or use it in ``with``."""
        return open_transport(self.account, keeps_pictures=self.keeps_pictures)

    def test_connection(self) -> tuple[bool, str]:
        """Make a free request that shows whether the key is good; nothing is billed, and nothing is started."""
        try:
            if self.account.server_command is not None:
                return True, "The fields can be read. This test does not start the MCP server of 'command'."
            return True, self.run(typed(self.service.check_connection(), service=self.service.name))
        except ImageTaskError as error:
            return False, f"{type(error).__name__}: {error.message}"

    def webhook_url(self) -> str | None:
        """Return the URL to enter at a service that calls one URL for all image tasks.

        :returns: None where the service has no such webhook, or ``[imagetasks] callback_base_url`` and
            ``callback_secret`` are not set.
        """
        return webhook_url_of(self.account, self.service)

    def run(self, flow: Flow[Result]) -> Result:
        """Drive a flow of the service, on the calling thread: in the open :meth:`session`, or in one of its own.

        :raises InvalidRequestError: the connection starts its own MCP server, and there is no open session.
        """
        with self._transport() as transport:
            return transport.run(flow)

    @contextmanager
    def _transport(self) -> Iterator[Transport]:
        """Hand out the open session, or one of its own."""
        if self._session is not None:
            yield self._session
            return
        self.require_lasting_server()
        with self.get_conn() as transport:
            yield transport

    @contextmanager
    def session(self) -> Iterator[Self]:
        """Keep one session open for everything that the hook does meanwhile.

        A connection with ``command`` has its MCP server started by the first call, and ended with the session: whatever
        is not collected by then is lost, though paid for.
        """
        with self.get_conn() as transport:
            self._session = transport
            try:
                yield self
            finally:
                self._session = None

    def require_lasting_server(self) -> None:
        """Refuse a connection that starts its own MCP server, whose image tasks would end with it.

        :raises InvalidRequestError: it does.
        """
        if self.account.server_command is not None:
            raise InvalidRequestError(
                f"Connection {self.conn_id!r} starts its own MCP server (extra field 'command'), whose jobs end with "
                "the task that started it, so no other task could wait for this one. Use ImageBatchOperator with "
                "deferrable=False, which submits, waits and collects in one session; or run the server on its own, "
                "behind a bridge to streamable HTTP, and set Host"
            )
