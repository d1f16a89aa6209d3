"""Keeps the submissions of one process within what an account allows, rather than being refused."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_imagetasks.account import Account
from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.pacing import Pace
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.wire import Flow, pause
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask

Say = Callable[[str], None]


class SubmissionLimits:
    """What one process has submitted with one account. It knows nothing of other processes: for those, use a pool.

    :param account: its ``submit_rate`` and ``max_active_tasks`` are kept; those that it does not set are no limit.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._pace = Pace(account.submit_rate)
        self._active: dict[str, float] = {}
        """When each image task that may still be running was submitted, in Unix seconds."""

    def submit(
        self, request: ImageRequest, service: Service, *, key: str | None, say: Say = lambda _text: None
    ) -> Flow[ImageTask]:
        """Wait until the account allows another image task, then submit it.

        :param request: completed.
        :param key: identifies this submission.
        :param say: told why it waits.
        :raises ImageTaskError: as ``Service.submit`` does.
        """
        try:
            yield from self._wait_for_room(service, say)
        except ImageTaskError as error:
            # That was a question about others: nothing has been submitted yet.
            error.billed = "no"
            raise
        now = yield from self._wait_for_rate(say)
        self._pace.count(now)
        task = yield from service.submit(request, key=key)
        if not task.state.is_final:
            self._active[task.id] = now
        return task

    def _wait_for_rate(self, say: Say) -> Flow[float]:
        now = yield from pause(0)
        while (seconds := self._pace.next_at() - now) > 0:
            say(f"The account's submit_rate is {self._account.submit_rate}: waiting {seconds:.1f} s to submit")
            now = yield from pause(seconds)
        return now

    def _wait_for_room(self, service: Service, say: Say) -> Flow[None]:
        most = self._account.max_active_tasks
        said = False
        while most is not None and len(self._active) >= most:
            tasks = yield from service.get_tasks(list(self._active))
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
            yield from pause(self._account.poll_interval or service.poll_interval)
