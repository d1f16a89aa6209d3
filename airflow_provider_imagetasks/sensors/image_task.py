"""Sensor that waits for image tasks: in a worker, rescheduled, or deferred to the triggerer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    ImageTaskTimeoutError,
    ProtocolError,
)
from airflow_provider_imagetasks.hooks.cancel_on_kill import CancelsOnKill
from airflow_provider_imagetasks.hooks.errors import errors_for_airflow, errors_pushed
from airflow_provider_imagetasks.hooks.links import PicturesLink, ServiceConsoleLink
from airflow_provider_imagetasks.hooks.references import ReferencesArgument, known_ids
from airflow_provider_imagetasks.hooks.task_settings import (
    execution_ends_at,
    execution_timeout_error,
    execution_timeout_told,
    failures_skipped,
)
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.observability.lineage import Lineage, ReportsLineage
from airflow_provider_imagetasks.polling.waiting import MOST_SECONDS, Watch, combine, failure
from airflow_provider_imagetasks.sensors.image_task_question import SensorQuestion
from airflow_provider_imagetasks.services.exchange import LONGEST_PAUSE
from airflow_provider_imagetasks.services.fields import INLINE_PREFIX
from airflow_provider_imagetasks.submissions import callback_urls
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from airflow_provider_imagetasks.triggers.image_task import EVENT_STATUSES, FIRST_PAUSE_WITH_CALLBACKS, ImageTaskTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class ImageTaskSensor(CancelsOnKill, ReportsLineage, BaseSensorOperator):
    """Wait until image tasks succeed or fail. Status requests are free.

    Returns ``{id, service, conn_id, trace_id, state, model, prompt, images, image_count_requested, created_at,
    finished_at, duration, usage}``, or a list of such dicts in the given order for a sequence. The result is the same
    in all three modes.

    An image task that failed, was refused or ran out of time fails the sensor without retries, since asking again
    changes nothing; before that, ``image_task_error`` is pushed as ``{class, code, message, billed}``, the same of each
    image task with its ``id`` and an ``advice`` as ``image_task_failures`` and, for a sequence, the good records as
    ``image_tasks``. The sensor's retries serve status requests that fail.

    :param image_task_id: an id, a dict that a submit task pushed, or any sequence of up to 500 of them.
    :param trace_id: waited for instead, where the service finds image tasks by trace id.
    :param timeout: seconds after which waiting ends; the image task goes on at the service.
    :param poll_interval: seconds between two status requests; None takes the connection's, then the service's.
    :param cancel_on_kill: cancel them, where the service can, once this task or its run is marked failed.
    :param deferrable: wait on the triggerer, without a worker; None takes ``[operators] default_deferrable``.
    :param conn_id: an ``imagetasks`` connection; None takes the dict's, if a task of this Dag names it too, then
        ``imagetasks_default``.
    :raises ImageTaskFailedError: the service reports that it failed.
    :raises ContentPolicyError: it was refused.
    :raises ImageTaskTimeoutError: it is not finished in time, and may still finish and be billed.
    :raises ImageTaskNotFoundError: the service does not know it, 60 s after its submission.
    """

    image_task_id = ReferencesArgument()
    template_fields: Sequence[str] = ("image_task_id", "trace_id", "conn_id")
    operator_extra_links = (PicturesLink(), ServiceConsoleLink())
    ui_color = "#d9e6f2"

    def __init__(
        self,
        *,
        image_task_id: Any = None,
        trace_id: str | None = None,
        timeout: timedelta | float = 3600,
        poll_interval: float | None = None,
        deferrable: bool | None = None,
        cancel_on_kill: bool = True,
        conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        if poll_interval is None and "poke_interval" in kwargs:
            poke_interval = kwargs["poke_interval"]
            poll_interval = poke_interval.total_seconds() if isinstance(poke_interval, timedelta) else poke_interval
        is_number = isinstance(poll_interval, int | float) and not isinstance(poll_interval, bool)
        if poll_interval is not None and not (is_number and 1 <= poll_interval <= MOST_SECONDS):
            raise ValueError(f"poll_interval is {poll_interval!r}; it must be a number of seconds, at least 1")
        if isinstance(timeout, bool) or (isinstance(timeout, int | float) and not timeout <= MOST_SECONDS):
            raise ValueError(f"timeout is {timeout!r}; it must be a number of seconds, at most {MOST_SECONDS:,}")
        super().__init__(timeout=timeout, **kwargs)
        if (image_task_id is None) == (trace_id is None):
            raise ValueError("give either image_task_id or trace_id")
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.image_task_id = image_task_id
        self.trace_id = trace_id
        # Either may render to nothing.
        self.is_told_a_trace_id = trace_id is not None
        self.poll_interval = poll_interval
        self.deferrable, self.cancel_on_kill = deferrable, cancel_on_kill
        self.conn_id = conn_id

    def execute(self, context: Context) -> Any:
        """Ask once; wait in the sensor's mode if that is not enough."""
        with failures_skipped(self), errors_for_airflow(), self._told(context):
            question = SensorQuestion(self, context)
            question.references.warn_of_repeated(self.log)
            if not self.deferrable:
                return self._execute_in_worker(context, question)
            watch = question.watch(deadline=time.time() + self.timeout)
            # Beyond that a worker would be held only for its turn to ask.
            longest = min(self.timeout, LONGEST_PAUSE)
            tasks = question.ask(watch, until=time.time() + longest, until_unfinished=True)
            if watch.is_over(tasks, time.time()):
                return self._result(tasks, question, context)
            self._defer(watch, question, execution_ends_at(self, context))

    def _execute_in_worker(self, context: Context, question: SensorQuestion) -> Any:
        self.poke_interval = question.poll_interval
        self._question, self._began_at = question, time.time()
        try:
            return super().execute(context)
        except (AirflowSensorTimeout, AirflowSkipException) as end:
            if isinstance(end, ImageTaskError):
                raise
            if end.__cause__ is not None:
                # Airflow skips, and would not say why.
                raise end.__cause__ from end.__cause__.__cause__
            with errors_for_airflow():
                return self._result(question.everything, question, context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Ask once; done when everything is over."""
        question = self._question
        # Airflow keeps the first poke in reschedule mode, where each one has a process of its own.
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        asked_at = first.timestamp() if first else self._began_at
        watch = question.watch(deadline=time.time() + self.timeout, asked_at=asked_at)
        tasks = question.ask(watch, until=asked_at + self.timeout)
        if not watch.is_over(tasks, time.time()):
            return PokeReturnValue(is_done=False)
        with errors_for_airflow():
            return PokeReturnValue(is_done=True, xcom_value=self._result(tasks, question, context))

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,
        deadline: float | None = None,
        asked_at: float | None = None,
        ends_at: float | None = None,
    ) -> Any:
        """Read the records again after the trigger's event, which is only a hint; defer again if they are not over.

        :param event: what the trigger fired.
        :param deadline: Unix seconds, as set at the first deferral; likewise ``asked_at``, and ``ends_at``, where
            ``execution_timeout`` is over.
        """
        with failures_skipped(self), errors_for_airflow(), self._told(context):
            if not isinstance(event, Mapping) or event.get("status") not in EVENT_STATUSES:
                raise ProtocolError(f"The trigger sent an event that this version does not know: {event!r}"[:300])
            question = SensorQuestion(self, context)
            watch = question.watch(
                deadline=deadline or event.get("deadline") or time.time() + self.timeout,
                asked_at=asked_at or event.get("asked_at"),
            )
            ends_at = ends_at or execution_ends_at(self, context)
            # What is not found is asked for again, also where the trigger's time was up.
            until = max(watch.deadline, time.time() + LONGEST_PAUSE)
            tasks = question.ask(watch, until=min(until, ends_at or until))
            now = time.time()
            is_over = watch.is_over(tasks, now)
            if not is_over and ends_at is not None and ends_at <= min(now, watch.deadline):
                raise execution_timeout_error(self)
            if is_over or now >= watch.deadline:
                return self._result(question.everything, question, context)
            self._defer(watch, question, ends_at)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume, with our own error where Airflow's timeout of the deferral struck before the trigger's deadline."""
        with failures_skipped(self):
            try:
                return super().resume_execution(next_method, next_kwargs, context)
            except AirflowSensorTimeout as error:
                if isinstance(error, ImageTaskError):
                    raise
                with errors_for_airflow(), errors_pushed(context, self._known_ids):
                    raise ImageTaskTimeoutError(
                        f"The wait of {self.timeout:.0f} s is over and no triggerer reported back in time. The image "
                        "task goes on at the service: it may still finish, and be billed"
                    ) from error

    @contextmanager
    def _told(self, context: Context) -> Iterator[None]:
        """Push what ends the block, Airflow's ``execution_timeout`` too; not before what is cancelled is."""
        with errors_pushed(context, self._known_ids), execution_timeout_told(self):
            try:
                yield
            finally:
                self.await_cancelling()

    def _known_ids(self) -> tuple[str, ...]:
        return known_ids(self.image_task_id)

    def _defer(self, watch: Watch, question: SensorQuestion, ends_at: float | None) -> None:
        """Leave the wait to the triggerer, until ``execution_timeout`` is over where that is before the deadline."""
        deadline = min(watch.deadline, ends_at or watch.deadline)
        remaining = max(0.0, deadline - time.time())
        poll_interval = max(watch.poll_interval, callback_urls.POLL_INTERVAL if question.is_called_back else 0.0)
        self.log.info(
            "Not finished yet: the triggerer asks every %.0f s for up to %.0f s%s, without a worker.",
            poll_interval,
            remaining,
            ", unless the service calls back earlier" if question.is_called_back else "",
        )
        self.log.info("%s", self.what_ending_does(question.hook.service))
        self.defer(
            trigger=ImageTaskTrigger(
                conn_id=question.hook.conn_id,
                # Those that are the record itself are over, and hold addresses, which Airflow would store in clear.
                image_task_ids=[one for one in watch.image_task_ids if not one.startswith(INLINE_PREFIX)]
                or watch.image_task_ids,
                trace_id=watch.trace_id,
                deadline=deadline,
                poll_interval=poll_interval,
                asked_at=watch.asked_at,
                cancel_on_kill=self.cancels(question.hook.service),
                first_pause=FIRST_PAUSE_WITH_CALLBACKS if question.is_called_back else None,
            ),
            method_name="execute_complete",
            kwargs={
                "deadline": watch.deadline,
                "asked_at": watch.asked_at,
                **({"ends_at": ends_at} if ends_at is not None else {}),
            },
            # Only a net: the trigger ends by itself at the deadline, with a better message.
            timeout=timedelta(seconds=remaining + poll_interval + 60),
        )

    def _result(self, tasks: Sequence[ImageTask], question: SensorQuestion, context: Context) -> Any:
        """Return what succeeded, or push what is known and raise why not all did."""
        hook = question.hook
        found = [failure(task, service=hook.service, conn_id=hook.conn_id) for task in tasks]
        for task, problem in zip(tasks, found, strict=True):
            metrics.ended(task, problem)
            if problem is not None:
                problem.image_task_id = problem.image_task_id or task.id
        failures = [error for error in found if error is not None]
        records = [task.as_xcom(hook.conn_id) for task in tasks if task.state is TaskState.SUCCEEDED]
        if failures:
            error = combine(failures, len(tasks), rest="the others are in XCom 'image_tasks'", retryable=False)
            if question.is_sequence:
                context["ti"].xcom_push(key="image_tasks", value=records)
            with errors_pushed(context):
                raise error
        for task in tasks:
            if len(task.images) < (asked := task.image_count_requested or 1):
                self.log.warning("Image task %s has %s of %s pictures.", task.id[:80], len(task.images), asked)
        self.lineage = Lineage(
            service=hook.account.service,
            models=sorted({task.model for task in tasks if task.model}),
            image_task_ids=[task.id for task in tasks],
        )
        return records if question.is_sequence else records[0]
