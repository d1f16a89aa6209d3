"""Drives a flow by hand: made-up answers in, the requests and pauses that it asked for out. No I/O, no clock."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.wire import (
    Answer,
    Blocking,
    Call,
    Flow,
    NoResponse,
    Response,
    Result,
    Sleep,
    Step,
    ToolAnswer,
    run_flow_at_once,
)

NOW = 1_790_000_000.0
"""When a driven flow begins."""


@dataclass
class DrivenFlow:
    """What a flow did: ``result`` or ``error``, and on the way there ``requests`` and ``pauses`` above zero.

    :param requested_at: when each request was made; likewise ``blocked_at``, for what blocks.
    :param now: when it ended.
    """

    result: Any = None
    error: ImageTaskError | None = None
    requests: list[Call] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    requested_at: list[float] = field(default_factory=list)
    blocked_at: list[float] = field(default_factory=list)
    now: float = NOW


def response(body: Any = None, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer; ``body`` is sent as JSON, except bytes, which are sent as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status=status, headers=dict(headers or {}), content=content, at=NOW)


def tool_answer(said: Any = "", *, tool: str = "a_tool", is_error: bool = False, code: int | None = None) -> ToolAnswer:
    """Return what an MCP server's tool says: text as it is, everything else as JSON."""
    text = said if isinstance(said, str) else json.dumps(said)
    return ToolAnswer(
        content=text.encode(),
        at=NOW,
        server="the MCP server",
        tool=tool,
        is_error=is_error or code is not None,
        code=code,
    )


def no_response(*, may_have_left: bool) -> NoResponse:
    """Return what a transport reports where no answer came."""
    return NoResponse(reason="the line went dead", may_have_left=may_have_left, at=NOW)


def drive(flow: Flow[Result], *answers: Answer, otherwise: Answer | None = None, now: float = NOW) -> DrivenFlow:
    """Run ``flow`` to its end; the n-th request gets the n-th answer, and only pauses take time.

    :param otherwise: the answer to every request after those; without one they are an error.
    :param now: when it begins.
    """
    driven, waiting = DrivenFlow(now=now), list(answers)

    def performed(step: Step) -> Answer | float:
        if isinstance(step, Sleep):
            driven.now += step.seconds
            driven.pauses += [step.seconds] if step.seconds else []
            return driven.now
        if isinstance(step, Blocking):
            driven.blocked_at.append(driven.now)
            step.function()
            return driven.now
        driven.requests.append(step)
        driven.requested_at.append(driven.now)
        answer = waiting.pop(0) if waiting else otherwise
        assert answer, f"the flow asked more often than foreseen: {step}"
        return replace(answer, at=driven.now)

    try:
        driven.result = run_flow_at_once(flow, performed)
    except ImageTaskError as error:
        driven.error = error
    assert not waiting, f"the flow did not ask for {waiting}"
    return driven
