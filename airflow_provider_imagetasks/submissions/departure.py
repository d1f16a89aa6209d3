"""The last look before a request of a submission leaves: a start that has been replaced pays for nothing. Pure.

A process that was frozen, or that waited long for its rate, may wake up when another start has taken over and has
submitted the same. So whoever submits looks at the ledger right before each request, unless it did so a moment ago.
What has not begun to leave may also be held back because all is stopped, or because it was written down too long ago.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.wire import Blocking, Flow, Leaving, Sleep, pause
from airflow_provider_imagetasks.tasks import ImageTask

LOOK_SECONDS = 5.0
"""How old a look may be when a request leaves, in seconds. A start that takes over waits so much longer than the
service takes to record a submission, and then finds all that left."""
REPLACED = "replaced"
"""The error code of a start after which another one began."""
_STOPPED = ImageTaskError("Nothing more is submitted", billed="no")


class HeldBackError(Exception):
    """A request of a submission must not leave any more.

    :param why: what the look found.
    :param has_left: whether an earlier request of the same submission left, so that the service may have taken it.
    """

    def __init__(self, why: ImageTaskError, *, has_left: bool) -> None:
        super().__init__(str(why))
        self.why = why
        self.has_left = has_left
        self.is_replaced = why.code == REPLACED
        """Whether it is the other start's now; who gives its money back asks by this name."""


class Departure:
    """The looks of one start at the ledger, shared by its submissions.

    :param look: blocks; raises ``ImageTaskError`` where another start has taken over, or nobody can tell.
    :param look_seconds: how old a look may be.
    :param longest_intent: seconds after which a submission that has not left does not leave any more.
    """

    def __init__(
        self, look: Callable[[], None], *, look_seconds: float = LOOK_SECONDS, longest_intent: float = math.inf
    ) -> None:
        self._look = look
        self._look_seconds = look_seconds
        self._longest_intent = longest_intent
        self._looked_at = 0.0
        self.is_stopped = False
        """Whether no further submission leaves; those of which a request has left go on to their end."""
        self.is_replaced = False
        """Whether a look found that another start has taken over all that has not left."""

    def watched(self, submission: Flow[ImageTask], *, intended_at: float) -> Flow[ImageTask]:
        """Run a submission, and look before each of its requests where the last look is not of this moment.

        The look comes before others are told that the request leaves: a look may take long.

        :param submission: not begun.
        :param intended_at: Unix seconds since which it is on record; that was a look too.
        :raises HeldBackError: it must not leave any more.
        """
        step, has_left = next(submission), False
        while True:
            is_call = not isinstance(step, Sleep | Blocking)
            if is_call or isinstance(step, Leaving):
                now = yield from self._look_again(intended_at, has_left)
                if not has_left and (self.is_stopped or now - intended_at > self._longest_intent):
                    raise HeldBackError(_STOPPED, has_left=False)
                has_left = has_left or is_call
            answer = yield step
            try:
                step = submission.send(answer)
            except StopIteration as end:
                task: ImageTask = end.value
                return task

    def _look_again(self, intended_at: float, has_left: bool) -> Flow[float]:
        """Return the moment of the look."""
        now = yield from pause(0)
        if abs(now - max(self._looked_at, intended_at)) <= self._look_seconds:
            return now
        try:
            yield Blocking(self._look)
        except ImageTaskError as error:
            self.is_replaced = self.is_replaced or error.code == REPLACED
            raise HeldBackError(error, has_left=has_left) from error
        self._looked_at = now
        return (yield from pause(0))
