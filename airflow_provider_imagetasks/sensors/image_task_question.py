"""What a sensor's rendered arguments ask for, and how a worker asks it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.exceptions import InvalidRequestError, RateLimitError
from airflow_provider_imagetasks.hooks.errors import errors_of_reading
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.hooks.references import (
    ImageTaskReferences,
    conn_ids_of_dag,
    read_references,
    rendered_text,
)
from airflow_provider_imagetasks.polling.waiting import WaitLog, Watch
from airflow_provider_imagetasks.submissions import callback_urls
from airflow_provider_imagetasks.tasks import NOT_FOUND_GRACE, ImageTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

MOST_IMAGE_TASKS = 500


class SensorQuestion:
    """What a sensor asks for, checked, and how it is asked.

    :param sensor: rendered; told where its service is looked at, and what to cancel where it is killed.
    """

    @errors_of_reading()
    def __init__(self, sensor: Any, context: Context) -> None:
        self._trace_id = rendered_text("trace_id", sensor.trace_id)
        references = ImageTaskReferences(items=(), is_sequence=False)
        if not sensor.is_told_a_trace_id:
            references = read_references(sensor.image_task_id)
            if len(references.items) > MOST_IMAGE_TASKS:
                raise InvalidRequestError(
                    f"image_task_id holds {len(references.items)} image tasks, more than {MOST_IMAGE_TASKS}; map the "
                    "sensor over them, or use a batch"
                )
        elif self._trace_id is None or self._trace_id.strip() in ("", "None"):
            raise InvalidRequestError(f"trace_id is {self._trace_id!r}; give the one that it was submitted with")
        explicit = rendered_text("conn_id", sensor.conn_id)
        conn_id = references.conn_id(explicit, lambda: conn_ids_of_dag(sensor, context))
        self.hook = ImageTaskHook(conn_id)
        self.hook.keeps_pictures = False
        self.hook.require_lasting_server()
        account, service = self.hook.account, self.hook.service
        references.require_service(account.service, conn_id)
        self.references = references
        """Without items where only a trace id is known."""
        self.is_sequence = references.is_sequence
        """Whether the result is to be a list."""
        sensor.image_service_console_url = service.console_url
        self.poll_interval = sensor.poll_interval or account.poll_interval or service.poll_interval
        self.is_called_back = callback_urls.are_used_for(account, service)
        self._latest: dict[str, ImageTask] = {}
        self._unanswered: set[str] = set()
        self._log = WaitLog(sensor.log)
        sensor.cancel_when_killed(context, account, self.unfinished)

    @property
    def everything(self) -> list[ImageTask]:
        """What was read last, with a stand-in for each image task that could not be asked for."""
        return [self._last_known(one) for one in self.references.ids or ("",)]

    def _last_known(self, image_task_id: str) -> ImageTask:
        task = self._latest.get(image_task_id)
        problem = self._log.problem if image_task_id in self._unanswered else ""
        if task is None:
            return replace(self.hook.service.not_asked(image_task_id, problem), trace_id=self._trace_id)
        if task.state.is_final or not problem:
            return task
        return replace(task, raw_state=f"{task.raw_state or task.state!s}; since then {problem}")

    def unfinished(self) -> list[str]:
        """Return the ids of what is not known to be over."""
        return [task.id for task in self.everything if task.id and not task.state.is_final]

    def watch(self, *, deadline: float, asked_at: float | None = None) -> Watch:
        """Return what to wait for; ``asked_at`` is the Unix time of the first question, where that was earlier."""
        submitted = [item.submitted_at for item in self.references.items if item.submitted_at is not None]
        now = time.time()
        return Watch(
            image_task_ids=self.references.ids,
            trace_id=self._trace_id,
            # A moment to come would put off the end of the wait for what nobody knows.
            asked_at=min(max(submitted, default=None) or asked_at or now, now),
            deadline=deadline,
            poll_interval=self.poll_interval,
        )

    def ask(self, watch: Watch, *, until: float, until_unfinished: bool = False) -> list[ImageTask]:
        """Read the present state of everything, and say what changed; nothing where the service wants to be left alone.

        :param until: Unix time after which nobody waits for a turn to ask.
        :param until_unfinished: whether the first that is not over ends it: the triggerer will ask for all of them, and
            a worker would only be held for as long as ``query_rate`` takes.
        """

        def is_enough(task: ImageTask) -> bool:
            return until_unfinished and not watch.is_settled(task, time.time())

        # A wait of its own goes on meanwhile, on the triggerer or until the next poke.
        patience = 0.0 if until_unfinished else self.poll_interval
        # Before that, to be not found ends nothing.
        insists = time.time() >= watch.asked_at + NOT_FOUND_GRACE
        how: dict[str, Any] = {"enough": is_enough, "patience": patience, "insists": insists, "until": until}
        self._unanswered = set(watch.asked_for)
        try:
            found = self.hook.read(watch.asked_for, trace_id=watch.trace_id, failed=self._log.failed, **how)
        except RateLimitError as error:
            self._log.failed(error)
            return []
        self._latest |= found
        self._unanswered.difference_update(found)
        if not self._unanswered:
            self._log.problem = ""
        tasks = [self._latest[image_task_id] for image_task_id in watch.asked_for if image_task_id in self._latest]
        self._log.read(tasks)
        return tasks
