"""The connection hook: the image task APIs behind one connection, for workers and for event loops."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.accounts.book import submitting_book_of
from airflow_provider_imagetasks.accounts.submission_in_turn import within_account
from airflow_provider_imagetasks.exceptions import (
    DownloadError,
    ImageTaskError,
    InvalidRequestError,
    RateLimitError,
    ResultExpiredError,
)
from airflow_provider_imagetasks.files.filenames import DEFAULT_FILENAME
from airflow_provider_imagetasks.files.input_images import with_files_read
from airflow_provider_imagetasks.files.object_storage import open_folder
from airflow_provider_imagetasks.files.picture_store import DownloadedFile, download_images
from airflow_provider_imagetasks.hooks import connection_form
from airflow_provider_imagetasks.hooks.connection import aread_connection
from airflow_provider_imagetasks.hooks.errors import errors_of_reading
from airflow_provider_imagetasks.hooks.service_hook import ServiceHook
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.polling.poller import StatusPoller, status_poller
from airflow_provider_imagetasks.polling.reads import read_all, read_moved
from airflow_provider_imagetasks.polling.session import pace_of
from airflow_provider_imagetasks.polling.waiting import Progress, WaitLog, Watch, check_seconds, failure, wait
from airflow_provider_imagetasks.services.account import DEFAULT_CONN_ID, Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.exchange import LONGEST_PAUSE, typed, typed_submission
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.services.submission_limits import SubmissionLimits, Watched
from airflow_provider_imagetasks.services.wire import Flow, Result
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState
from airflow_provider_imagetasks.transports import open_async_transport

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

LONGEST_KEY = 200
LONG_READ_SECONDS = 10.0
"""A read that takes longer than this, because of ``query_rate``, is announced in the log."""
_submission_limits: dict[Account, SubmissionLimits] = {}


class ImageTaskHook(ServiceHook):
    """Submits, reads and downloads image tasks of the service that a connection names.

    The methods whose names start with ``a`` do the same on an event loop. Reading is free; only :meth:`submit` costs
    money. All raise the errors of :mod:`airflow_provider_imagetasks.exceptions`.

    :param conn_id: id of a connection of the type ``imagetasks``.
    """

    # Airflow 3.1 looks for these two in the very class that the provider names, and not where it inherits.
    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields for Airflow 3.1; newer versions read them from the provider's metadata."""
        return connection_form.widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return labels, placeholders and hidden fields of the form for Airflow 3.1."""
        return connection_form.BEHAVIOUR

    def __init__(self, conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(conn_id, **kwargs)
        self._found: set[tuple[str, str | None]] = set()
        """Whose record was read: the id, or ``""`` with the trace id."""

    def complete(self, request: ImageRequest) -> ImageRequest:
        """Return the request as it would be sent: its files read, model and callback URL filled in. Nothing is sent.

        :raises InvalidRequestError: a file cannot be used, or the service cannot do what is asked for.
        """
        return self.service.complete(with_files_read(request), self.account)

    def submit(self, request: ImageRequest, *, key: str | None = None) -> ImageTask:
        """Ask for a picture and return the image task at once. Costs money.

        Waits first where the connection's ``submit_rate`` or ``max_active_tasks`` asks for it; they count what all
        processes submit, or without an account store only this one.

        :param key: identifies this submission; the same on a retry of it. Where the service recognises it, a
            repetition is free, or the image task can be found by it.
        :raises UnknownOutcomeError: the service may have taken it; it was not sent again.
        :raises QuotaExceededError: the account has no balance, or (code ``budget``) it would exceed a budget.
        :raises ImageTaskError: it was refused, and not billed.
        """
        try:
            task = self.submit_completed(self.complete(request), key=key)
        except ImageTaskError as error:
            metrics.not_submitted(self.service.name, error)
            raise
        metrics.submitted(self.service.name)
        return task

    def submit_completed(self, request: ImageRequest, *, key: str | None = None, watched: Watched = None) -> ImageTask:
        """Do what :meth:`submit` does, for a caller that completed the request and counts what became of it.

        :param request: as :meth:`complete` returns it.
        :param watched: wraps the submission with what is due right before each of its requests.
        """
        if key is not None and not (key.isascii() and key.isprintable() and 0 < len(key) <= LONGEST_KEY):
            raise InvalidRequestError(f"key is {key!r}; it must be 1 to {LONGEST_KEY} printable ASCII characters")
        service = self.service
        limits = _submission_limits.setdefault(self.account, SubmissionLimits(self.account))
        poll_interval = self.account.poll_interval or service.poll_interval
        read = partial(read_all, service, pace_of(self.account, service))
        submission = typed_submission(
            service.submit(request, key=key), service=service.name, how_to_look=service.how_to_look
        )
        how: dict[str, Any] = {"poll_interval": poll_interval, "say": self.log.info, "watched": watched}
        book = submitting_book_of(self.account)
        if book is None:
            flow = limits.within_all(submission, read, **how)
        else:
            wanted = book.wanted(service, request, key, is_made_once=watched is not None)
            flow = within_account(book, wanted, submission, limits=limits, read=read, **how)
        task = self.run(flow)
        # Whatever happens to the caller next, the id of what is being paid for stands in the log.
        about = f"connection {self.conn_id}, model {task.model}{f', trace id {task.trace_id}' if task.trace_id else ''}"
        self.log.info("Submitted image task %s to %s (%s).", task.id[:80], service.title, about)
        return task

    def get_task(self, image_task_id: str | None = None, *, trace_id: str | None = None) -> ImageTask:
        """Return one image task by its id or by the trace id it was submitted with; free.

        :raises ValueError: both or neither are given.
        """
        ids = _asked_for(image_task_id, trace_id)
        return self._each(ids, self.read(ids, trace_id=trace_id))[ids[0]]

    def get_tasks(self, ids: Sequence[str]) -> dict[str, ImageTask]:
        """Return image tasks by id, in as few requests as the service allows, within ``query_rate``; free."""
        return self._each(ids, self.read(ids))

    def read(
        self,
        ids: Sequence[str],
        *,
        trace_id: str | None = None,
        enough: Callable[[ImageTask], bool] = lambda _task: False,
        patience: float = LONGEST_PAUSE,
        insists: bool = False,
        until: float = math.inf,
        failed: Callable[[ImageTaskError], None] = lambda _error: None,
    ) -> dict[str, ImageTask]:
        """Do what :meth:`get_tasks` does, for sensor and download: an image task that the hook has read and that the
        service denies now, again and again, is left out.

        :param ids: ``[""]`` stands for ``trace_id``.
        :param enough: ends it early where it is true of an answer; the others are then left out.
        :param patience: the longest pause, in seconds, that the service may ask for.
        :param insists: whether one that the hook has not read before is asked for some times before it is not found.
        :param until: Unix time after which nobody waits for a turn to ask; what has had none by then is left out.
        :param failed: told of each status request that failed and is made again.
        :raises RateLimitError: it asks for a longer one.
        """
        with errors_of_reading():
            pace = pace_of(self.account, self.service)
        seconds = pace.seconds_for(len(ids) / self.service.batch_size)
        if seconds > LONG_READ_SECONDS:
            self.log.info("Reading %s image tasks may take %.0f s: query_rate is %s.", len(ids), seconds, pace.rate)
        how: dict[str, Any] = {"enough": enough, "patience": patience, "insists": insists, "until": until}
        return self._read(lambda service: self._reading(service, pace, ids, trace_id=trace_id, failed=failed, **how))

    def list_tasks(self, **filters: Any) -> list[ImageTask]:
        """Return the account's image tasks, by the service's own filters; free."""
        return self._read(lambda service: typed(service.list_tasks(**filters), service=service.name))

    def cancel(self, image_task_id: str) -> None:
        """Ask the service to stop an image task; what that means for the bill stands in the log.

        :raises InvalidRequestError: the service cannot, or no longer can.
        """
        with errors_of_reading():
            note = self.run(typed(self.service.cancel(image_task_id), service=self.service.name))
        self.log.warning("Image task %s: %s", image_task_id[:80], note)

    def wait(self, image_task_id: str, *, timeout: float = 3600, poll_interval: float | None = None) -> ImageTask:
        """Ask until the image task is finished, and return it. Blocks.

        :param timeout: seconds.
        :param poll_interval: seconds; None takes the connection's, then the service's.
        :raises ImageTaskTimeoutError: it is not finished in time; it goes on at the service.
        :raises ImageTaskError: why it failed.
        """
        with errors_of_reading():
            watch = self._watch(image_task_id, timeout, poll_interval)
            pace, log = pace_of(self.account, self.service), WaitLog(self.log)

        def wait_and_read(service: Service) -> Flow[ImageTask]:
            end = yield from wait(watch, service, pace, first_pause=0, log=log)
            return (yield from self._at_the_end(watch, end, service, pace, log))

        return self._outcome(self._read(wait_and_read))

    def _at_the_end(self, watch: Watch, end: str, service: Service, pace: Pace, log: WaitLog) -> Flow[ImageTask]:
        """Read an image task once more after the wait for it; past its deadline only where that may be at once."""
        is_late, (image_task_id,) = end == "deadline", watch.image_task_ids
        until = watch.deadline if is_late else math.inf
        try:
            found = yield from self._reading(
                service, pace, [image_task_id], insists=True, until=until, failed=log.failed
            )
        except RateLimitError as error:
            if not is_late:
                raise
            log.failed(error)
            found = {}
        if image_task_id in found:
            return found[image_task_id]
        return service.not_asked(image_task_id, log.problem) if is_late else service.not_found(image_task_id)

    def download(
        self, task: ImageTask, output_path: str, *, filename: str = DEFAULT_FILENAME, overwrite: bool = False
    ) -> list[DownloadedFile]:
        """Fetch, verify and store the pictures of a finished image task; free.

        :param output_path: a folder on any ``ObjectStoragePath``.
        :param filename: name pattern with ``{image_task_id}``, ``{index}`` and ``{ext}``.
        :param overwrite: whether an intact file of that name is fetched again.
        :raises DownloadError: nothing incomplete is left behind; a retry fetches what is missing.
        """
        files, failures = self.store([task], open_folder(output_path), filename=filename, overwrite=overwrite)
        if failures:
            raise failures[0]
        return files

    def store(
        self, tasks: Sequence[ImageTask], folder: ObjectStoragePath, *, filename: str, overwrite: bool
    ) -> tuple[list[DownloadedFile], list[DownloadError]]:
        """Store the pictures of finished image tasks, several at a time; free.

        Where addresses have expired since the image tasks were read, those are read once more, within ``query_rate``.

        :param folder: open.
        :returns: what is in place, in the order of the image tasks, and what could not be stored.
        :raises InvalidRequestError: the pattern cannot be used; nothing was fetched.
        """
        files, failures = download_images(tasks, folder, filename=filename, overwrite=overwrite, account=self.account)
        expired = {error.image_task_id for error in failures if isinstance(error, ResultExpiredError)}
        gone = [task for task in tasks if task.id in expired]
        moved = self._read(lambda service: read_moved(service, pace_of(self.account, service), gone)) if gone else []
        if moved:
            ids, order = {task.id for task in moved}, [task.id for task in tasks]
            more, lasting = download_images(moved, folder, filename=filename, overwrite=overwrite, account=self.account)
            files = [file for file in files if file.image_task_id not in ids] + more
            files.sort(key=lambda file: (order.index(file.image_task_id), file.index))
            failures = [error for error in failures if error.image_task_id not in ids] + lasting
        return files, failures

    async def aget_task(self, image_task_id: str | None = None, *, trace_id: str | None = None) -> ImageTask:
        """Do what :meth:`get_task` does, on an event loop."""
        ids = _asked_for(image_task_id, trace_id)
        return self._each(ids, await self._aread(ids, trace_id=trace_id))[ids[0]]

    async def aget_tasks(self, ids: Sequence[str]) -> dict[str, ImageTask]:
        """Do what :meth:`get_tasks` does, on an event loop."""
        return self._each(ids, await self._aread(ids))

    async def alist_tasks(self, **filters: Any) -> list[ImageTask]:
        """Do what :meth:`list_tasks` does, on an event loop."""
        return await self._arun(lambda service, _pace: typed(service.list_tasks(**filters), service=service.name))

    async def await_task(
        self, image_task_id: str, *, timeout: float = 3600, poll_interval: float | None = None
    ) -> ImageTask:
        """Do what :meth:`wait` does, on an event loop; waits there for one connection share their requests."""
        self._account = await aread_connection(self.conn_id)
        self.require_lasting_server()
        watch = self._watch(image_task_id, timeout, poll_interval)
        log = WaitLog(self.log)
        end = await self.poller().wait(Progress(watch, log), first_pause=0)
        return self._outcome(await self._arun(lambda service, pace: self._at_the_end(watch, end, service, pace, log)))

    def poller(self) -> StatusPoller:
        """Return the status poller that all waits of the connection share in the running event loop."""
        return status_poller(self.conn_id, lambda fresh: aread_connection(self.conn_id, fresh=fresh))

    def _read(self, flow_of: Callable[[Service], Flow[Result]]) -> Result:
        with errors_of_reading(), self._transport() as transport:
            before = transport.requests_made
            try:
                return transport.run(flow_of(self.service))
            finally:
                metrics.polled(self.service.name, transport.requests_made - before)

    async def _aread(self, ids: Sequence[str], **how: Any) -> dict[str, ImageTask]:
        return await self._arun(lambda service, pace: self._reading(service, pace, ids, **how))

    def _reading(
        self, service: Service, pace: Pace, ids: Sequence[str], *, trace_id: str | None = None, **how: Any
    ) -> Flow[dict[str, ImageTask]]:
        """Read image tasks, and remember whose record was read: what denies it later is not believed at once."""
        known = [each for each in ids if (each, trace_id) in self._found]
        found = yield from read_all(service, pace, ids, trace_id=trace_id, known=known, **how)
        self._found |= {(each, trace_id) for each, task in found.items() if task.state is not TaskState.NOT_FOUND}
        return found

    def _each(self, ids: Sequence[str], found: Mapping[str, ImageTask]) -> dict[str, ImageTask]:
        """Return an answer for each id: those that were left out are not found."""
        return {each: found.get(each) or self.service.not_found(each) for each in dict.fromkeys(ids)}

    async def _arun(self, flow_of: Callable[[Service, Pace], Flow[Result]]) -> Result:
        with errors_of_reading():
            account = self._account = await aread_connection(self.conn_id)
            self.require_lasting_server()
            async with open_async_transport(account) as transport:
                try:
                    return await transport.run(flow_of(self.service, pace_of(account, self.service)))
                finally:
                    metrics.polled(account.service, transport.requests_made)

    def _watch(self, image_task_id: str, timeout: float, poll_interval: float | None) -> Watch:
        check_seconds(timeout=timeout, poll_interval=poll_interval)
        now = time.time()
        return Watch(
            image_task_ids=(image_task_id,),
            trace_id=None,
            asked_at=now,
            deadline=now + timeout,
            poll_interval=poll_interval or self.account.poll_interval or self.service.poll_interval,
        )

    def _outcome(self, task: ImageTask) -> ImageTask:
        error = failure(task, service=self.service, conn_id=self.conn_id)
        metrics.ended(task, error)
        if error is not None:
            raise error
        return task


def _asked_for(image_task_id: str | None, trace_id: str | None) -> list[str]:
    """Return what to ask for, by id; ``""`` stands for the trace id."""
    if image_task_id and trace_id:
        raise ValueError(
            "give image_task_id or trace_id, not both: if the service gets both, trace_id takes precedence"
        )
    if not image_task_id and not trace_id:
        raise ValueError("give image_task_id or trace_id")
    return [image_task_id or ""]
