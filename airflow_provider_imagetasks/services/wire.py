"""The steps of a flow, the answers of its transport, and the loop between. A flow does no I/O itself."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypeVar

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.fields import cleaned
from airflow_provider_imagetasks.tasks import ImageFile

Result = TypeVar("Result")
MOST_VALUES = 50_000
"""Values, names and lists that an answer may hold: a thousand for each of fifty records. They take a hundred times the
memory of their text, and hold up whoever reads them."""
_TEXTS = re.compile(rb'"(?:[^"\\]++|\\.)*+\\?"?', re.DOTALL)
"""Also one without an end, which would else be looked for from each quote in it anew."""


def excerpt(text: str, length: int = 300) -> str:
    """Return the beginning of a text on one line, for messages.

    :param length: the most characters.
    """
    return " ".join(cleaned(text, most=4 * length).split())[:length]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file in a multipart form.

    :param name: of the form field; may occur several times.
    """

    name: str
    file: ImageFile


@dataclass(frozen=True, kw_only=True)
class AnswerFile:
    """A file that an answer is written to as it arrives, so that a large one takes no memory.

    It is there once the flow is sent a response with a status from 200 to 299, whose ``content`` is then empty. Another
    status leaves no file: that answer is a response as ever. What is written is the body as it came.

    :param path: is written anew by each request that names it; its folder has to be there.
    :param most_bytes: an answer that is larger counts as none.
    :param seconds: that the whole answer may take; its pieces may be the connection's ``request_timeout`` apart.
    """

    path: Path
    most_bytes: int
    seconds: float = 3600.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """An API request. The transport adds base URL, key and User-Agent, so a flow can only reach its own service.

    :param host: scheme and host of another server of the service, where one has to be asked; the service says by
        ``key_hosts`` which those may be.
    :param path: below the account's base URL, with a leading slash.
    :param body: sent as JSON, or as the text fields of a multipart form where there are ``parts``; None sends no body.
    :param parts: the files of a multipart form.
    :param parameters: the query string.
    :param headers: further headers.
    :param sends_key: False for what the service publishes for everybody; then ``host`` may be any.
    :param streams_to: where an answer goes that is too large to be held; None takes it into memory, within bounds.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    body: Mapping[str, Any] | None = None
    parts: tuple[Part, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    host: str | None = None
    sends_key: bool = True
    streams_to: AnswerFile | None = None

    @property
    def form(self) -> dict[str, str]:
        """The text fields of a multipart form: text as it is, everything else as JSON."""
        fields = {name: value for name, value in (self.body or {}).items() if value is not None}
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A call of a tool of an MCP server; the transport adds server and key.

    :param arguments: plain JSON.
    """

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ToolListing:
    """A question to an MCP server: which tools it has. The answer is a JSON list of their names."""


@dataclass(frozen=True)
class Sleep:
    """A pause: the transport waits, and answers with the time.

    :param seconds: how long; 0 only asks for the time.
    :param for_account: whether the service asked for it, so that other submissions of the account wait as well.
    """

    seconds: float
    for_account: bool = False


@dataclass(frozen=True)
class Blocking:
    """A call that blocks: the transport makes it, off its event loop where it has one, and answers with the time.

    :param function: what it raises goes through the flow, where it is an ``ImageTaskError``.
    """

    function: Callable[[], None]


class Leaving(Blocking):
    """A blocking call right before a request leaves; the account store counts the request as sent from then on."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer that came back whole.

    :param headers: names in lower case.
    :param at: Unix seconds when it came.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    at: float

    def json(self) -> Any:
        """Return the parsed body.

        :raises ValueError: when it is not JSON, or none that an answer is.
        """
        value, problem = self._parsed
        if problem is not None:
            raise problem
        return value

    def read_ahead(self) -> Self:
        """Parse the body now, for a transport that does so off its event loop; return the same answer."""
        _ = self._parsed
        return self

    @cached_property
    def _parsed(self) -> tuple[Any, ValueError | None]:
        try:
            return read_json(self.content), None
        except ValueError as error:
            return None, error

    def excerpt(self) -> str:
        """Return the beginning of the body on one line, for messages."""
        return excerpt(self.content[:400].decode("utf-8", "replace"), 160)


def read_json(content: bytes | str) -> Any:
    """Return what JSON from outside holds.

    :raises ValueError: it is none, nested too deeply, or of more values than any answer.
    """
    if has_too_many_values(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")):
        raise ValueError("the answer holds too many values")
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("the answer is nested too deeply") from None


def has_too_many_values(content: bytes) -> bool:
    """Whether JSON has more values than any answer; a text, such as a prompt, may have as many commas as it likes."""
    if _marks(content) <= MOST_VALUES:
        return False
    marks, start = 0, 0
    for texts, found in enumerate(_TEXTS.finditer(content)):
        marks += _marks(content[start : found.start()])
        start = found.end()
        # Each text of JSON follows a mark: where there are more, it is none.
        if max(marks, texts) > MOST_VALUES:
            return True
    return marks + _marks(content[start:]) > MOST_VALUES


def _marks(content: bytes) -> int:
    return len(content) - len(content.translate(None, b"{[,:"))


@dataclass(frozen=True, kw_only=True)
class ToolAnswer(Response):
    """The answer of an MCP server to a tool call: its text as ``content``, as it came.

    :param server: where the server is, for messages; likewise ``tool``.
    :param from_tool: False for an HTTP answer that something before the tool gave, with its status and headers.
    :param is_error: whether the server marked it as an error.
    :param code: of the JSON-RPC error, where the server's protocol layer refused the call; ``content`` is its message.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    server: str
    tool: str
    from_tool: bool = True
    is_error: bool = False
    code: int | None = None

    @property
    def text(self) -> str:
        """The answer as text."""
        return self.content.decode("utf-8", "replace")


@dataclass(frozen=True, kw_only=True)
class NoResponse:
    """No usable answer came.

    :param reason: what happened, for messages.
    :param may_have_left: False only where the request certainly did not reach the service.
    :param at: Unix seconds when that was clear.
    :param ended: whether whoever would answer has ended for good, so that asking again in this session is in vain.
    """

    reason: str
    may_have_left: bool
    at: float
    ended: bool = False


Call: TypeAlias = Request | ToolCall | ToolListing
Answer: TypeAlias = Response | NoResponse
Step: TypeAlias = Call | Sleep | Blocking
Flow: TypeAlias = Generator[Step, Answer | float, Result]


async def run_flow(flow: Flow[Result], perform: Callable[[Step], Awaitable[Answer | float]]) -> Result:
    """Run a flow to its end, and return its result or raise its error.

    :param perform: performs a step, and returns what the flow is sent. An ``ImageTaskError`` of it goes through the
        flow, which knows whether a read or a submission was not made; anything else ends it.
    """
    try:
        step = next(flow)
        while True:
            try:
                reply = await perform(step)
            except ImageTaskError as error:
                step = flow.throw(error)
            else:
                step = flow.send(reply)
    except StopIteration as end:
        result: Result = end.value
        return result


def run_flow_at_once(flow: Flow[Result], perform: Callable[[Step], Answer | float]) -> Result:
    """Do what :func:`run_flow` does, without an event loop: ``perform`` blocks."""

    async def performed(step: Step) -> Answer | float:
        return perform(step)

    try:
        run_flow(flow, performed).send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise AssertionError("what blocks never waits")


def ask(request: Call) -> Flow[Answer]:
    """Make one request and return what came of it."""
    answer = yield request
    if isinstance(answer, float):
        raise TypeError("the transport answered a request with a time")
    return answer


def pause(seconds: float, *, for_account: bool = False) -> Flow[float]:
    """Wait for ``seconds`` and return the time after it, in Unix seconds.

    :param for_account: as in :class:`Sleep`.
    """
    now = yield Sleep(seconds, for_account)
    if not isinstance(now, float):
        raise TypeError("the transport answered a pause with a response")
    return now
