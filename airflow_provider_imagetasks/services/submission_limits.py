"""Keeps the submissions of one process within what an account allows, rather than being refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.services.wire import Flow, Sleep, pause
from airflow_provider_imagetasks.tasks import ImageTask

Read = Callable[[Sequence[str]], Flow[dict[str, ImageTask]]]
Say = Callable[[str], None]
Watched = Callable[[Flow[ImageTask]], Flow[ImageTask]] | None


class SubmissionLimits:
    """What one process has submitted with one account. It knows nothing of other processes: for those, use a pool.

    :param account: its ``submit_rate`` and ``max_active_tasks`` are kept; those that it does not set are no limit.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._pace = Pace(account.submit_rate)
        self._active: dict[str, float] = {}
        """When each image task that may still be running was submitted, in Unix seconds."""

    def within_all(
        self,
        submission: Flow[ImageTask],
        read: Read,
        *,
        poll_interval: float,
        say: Say,
        watched: Watched = None,
    ) -> Flow[ImageTask]:
        """Run a submission once the account allows another image task.

        :param submission: what ``Service.submit`` returned, not begun.
        :param read: asks for image tasks by id, to see which are over.
        :param poll_interval: seconds between two such questions.
        :param say: told why it waits.
        :param watched: wraps the submission with what is due right before each of its requests.
        :raises ImageTaskError: as the submission does, or as ``read`` does; then nothing was submitted.
        """
        try:
            yield from self._wait_for_room(read, poll_interval, say)
        except ImageTaskError as error:
            # That was a question about others: nothing has been submitted yet.
            error.billed = "no"
            raise
        paced = self.within_rate(submission, say=say)
        task = yield from watched(paced) if watched else paced
        if not task.state.is_final:
            self._active[task.id] = yield from pause(0)
        return task

    def within_rate(self, submission: Flow[ImageTask], *, say: Say = lambda _text: None) -> Flow[ImageTask]:
        """Run a submission as soon as ``submit_rate`` allows it, for a caller that counts running image tasks itself.

        Several of these flows may run at the same time. What the service asks of the account, all of them wait for; a
        pause of one submission's own, as between two attempts to connect, is only its own. A request that is made
        again counts again.

        :param submission: what ``Service.submit`` returned, not begun.
        :raises ImageTaskError: as the submission does.
        """
        yield from self._wait_for_rate(say)
        try:
            step = next(submission)
            while True:
                if isinstance(step, Sleep) and step.seconds > 0:
                    if step.for_account:
                        self._pace.pause_until((yield from pause(0)) + step.seconds)
                    yield from pause(step.seconds)
                    step = submission.send((yield from self._wait_for_rate(say)))
                else:
                    step = submission.send((yield step))
        except StopIteration as end:
            task: ImageTask = end.value
            return task

    def next_at(self) -> float:
        """Return the Unix time from which the rate allows another submission; it may lie in the past."""
        return self._pace.next_at()

    def submitted_before(self, moments: Iterable[float]) -> None:
        """Count what another process submitted with the account.

        :param moments: Unix seconds, in order.
        """
        for moment in moments:
            self._pace.count(moment)

    def _wait_for_rate(self, say: Say) -> Flow[float]:
        """Wait for the next place within the rate, and take it: between the look and the count nothing else runs."""
        now = yield from pause(0)
        while (seconds := self._pace.next_at() - now) > 0:
            say(f"The account's submit_rate is {self._account.submit_rate}: waiting {seconds:.1f} s to submit")
            now = yield from pause(seconds)
        self._pace.count(now)
        return now

    def _wait_for_room(self, read: Read, poll_interval: float, say: Say) -> Flow[None]:
        most = self._account.max_active_tasks
        said = False
        while most is not None and len(self._active) >= most:
            tasks = yield from read(list(self._active))
            now = yield from pause(0)
            self._active = {
                name: self._active[name]
                for name, task in tasks.items()
                if not (task.state.is_final or task.is_lost(self._active[name], now))
            }
            if len(self._active) < most:
                return
            if not said:
                said = True
                say(f"{len(self._active)} image tasks of this process are running (max_active_tasks): waiting for one")
            yield from pause(poll_interval)
