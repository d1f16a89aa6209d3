"""Operators that submit an image task, and that download the pictures of finished ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_imagetasks.exceptions import ImageTaskError, ImageTaskFailedError, ImageTaskNotFoundError
from airflow_provider_imagetasks.files.filenames import DEFAULT_FILENAME, check_filename
from airflow_provider_imagetasks.files.object_storage import open_folder, require_known_scheme
from airflow_provider_imagetasks.files.picture_store import DownloadedFile
from airflow_provider_imagetasks.hooks.errors import errors_for_airflow, errors_of_reading, errors_pushed
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.hooks.links import PicturesLink, ServiceConsoleLink
from airflow_provider_imagetasks.hooks.references import (
    ReferencesArgument,
    conn_ids_of_dag,
    known_ids,
    read_references,
    rendered_text,
)
from airflow_provider_imagetasks.hooks.task_settings import execution_timeout_told
from airflow_provider_imagetasks.observability.assets import Announcement, announce_pictures, picture_extra
from airflow_provider_imagetasks.observability.lineage import Lineage, Made, ReportsLineage, gathered
from airflow_provider_imagetasks.operators.submission import (
    OnUnknownOutcome,
    Submission,
    has_shared_trace_id,
    named_in_errors,
)
from airflow_provider_imagetasks.polling.waiting import combine, failure
from airflow_provider_imagetasks.services.account import DEFAULT_CONN_ID
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.fields import text
from airflow_provider_imagetasks.submissions import callback_urls
from airflow_provider_imagetasks.submissions.departure import REPLACED
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot, slot_of
from airflow_provider_imagetasks.submissions.ledger import SubmissionLedger, say_what_is_on_record
from airflow_provider_imagetasks.submissions.stores import store_for
from airflow_provider_imagetasks.tasks import PROMPT_EXCERPT, ImageRequest, ImageTask, iso_time, prompt_excerpt

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

RECORDS_WITH_PICTURES = 16
"""How many records are read, and their pictures stored, at the same time where the records hold those."""
LOOKS_FIRST = "A retry continues from the record of the submission, or asks the service if there is none."
FETCHES_THE_REST = "A retry fetches what is missing, at no cost."
READY = "The picture is ready at %s already, and billed."
GOES_ON = (
    "The image task goes on at the service: failing or clearing later tasks does not stop it, and it may be billed."
)
CAN_BE_STOPPED = (
    "The image task goes on at the service, and may be billed. To stop it, mark the sensor that waits for it, or its "
    "Dag run, failed (cancel_on_kill; a deferred sensor needs Airflow 3.3 or newer), or call ImageTaskHook.cancel. "
    "Clearing later tasks does not stop it."
)


class ImageTaskSubmitOperator(ReportsLineage, BaseOperator):
    """Submit an image task and return its id, without waiting for the picture.

    The XCom is the id as text; ``image_task`` holds ``{id, service, conn_id, trace_id, model, prompt, submitted_at}``,
    the prompt cut at 300 characters. Costs one picture at the service per ``n``. Where nothing was submitted,
    ``image_task_refused`` says why: ``{conn_id, service, model, prompt, error, advice}``.

    :param prompt: text of what to draw; not needed beside ``images`` for a model that takes no text.
    :param model: the service's model name, ``api/model`` at one of its further APIs; None takes the connection's, then
        the service's default.
    :param options: further fields for the service, sent untouched (size, quality, n, ...).
    :param images: references to edit from; not empty makes it an edit.
    :param mask: the edit mask; only None leaves it out.
    :param callback_url: URL of your own that the service calls when it is done; wins over the connection's, and over
        Airflow's own (``[imagetasks] callback_base_url``).
    :param trace_id: correlation id of your own, where the service keeps one.
    :param conn_id: an ``imagetasks`` connection.
    :param on_unknown_outcome: what to do where the service may have taken the request and no answer came: ``"fail"``
        stops, since sending it again may pay twice; ``"resubmit"`` lets Airflow's retries send it again.
    :raises UnknownOutcomeError: the service may have taken it. See ``on_unknown_outcome``.
    :raises ImageTaskError: it was refused and not billed; whether a retry helps depends on the class.
    """

    template_fields: Sequence[str] = (
        *("prompt", "model", "options", "images", "mask"),
        *("callback_url", "trace_id", "conn_id"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"prompt": "md", "options": "json"}
    operator_extra_links = (PicturesLink(), ServiceConsoleLink())
    ui_color = "#f7e3d4"

    def __init__(
        self,
        *,
        prompt: str | None = None,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        images: Sequence[str] | None = None,
        mask: str | None = None,
        callback_url: str | None = None,
        trace_id: str | None = None,
        conn_id: str | None = None,
        on_unknown_outcome: OnUnknownOutcome = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_unknown_outcome not in get_args(OnUnknownOutcome):
            raise ValueError(f"on_unknown_outcome is {on_unknown_outcome!r}; it must be 'fail' or 'resubmit'")
        self.prompt = prompt
        self.model = model
        self.options = options
        self.images = images
        self.mask = mask
        self.callback_url = callback_url
        self.trace_id = trace_id
        self.conn_id = conn_id
        self.on_unknown_outcome = on_unknown_outcome

    def execute(self, context: Context) -> str:
        """Submit, push ``image_task`` and return the image task id."""
        with errors_for_airflow(self), execution_timeout_told(self, LOOKS_FIRST):
            hook = ImageTaskHook(rendered_text("conn_id", self.conn_id) or DEFAULT_CONN_ID)
            slot = slot_of(context)
            store = store_for(context, slot)
            try:
                self.image_service_console_url = hook.service.console_url
                hook.require_lasting_server()
                request = hook.complete(self._request(hook, slot))
                ledger = SubmissionLedger(store, slot, request, hook.account)
                task = Submission(
                    hook,
                    ledger,
                    request,
                    resubmits=self.on_unknown_outcome == "resubmit",
                    shares_trace_id=has_shared_trace_id(self, context),
                ).carry_out()
            except ImageTaskError as error:
                say_what_is_on_record(error, store, slot)
                # What a start pushes that was replaced would stand for what the other comes to.
                if error.code != REPLACED:
                    self._push_refusal(context, error, hook)
                raise
            if self.do_xcom_push:
                value = {
                    "id": task.id,
                    "service": task.service,
                    "conn_id": hook.conn_id,
                    "trace_id": task.trace_id,
                    "model": task.model,
                    "prompt": prompt_excerpt(task.prompt),
                    "submitted_at": iso_time(task.created_at),
                }
                context["ti"].xcom_push(key="image_task", value=value)
                # Before it counts as handed on: a Clear of what did not get so far finds the picture again.
                context["ti"].xcom_push(key="return_value", value=task.id)
            if task.state.is_final:
                self.log.info(READY, hook.service.title)
            else:
                self.log.info("%s", _what_follows(hook.service, request))
                self._warn_of_slow_questions(hook, request)
            with named_in_errors(task):
                ledger.finish()
        self.lineage = Lineage(
            service=task.service,
            models=[task.model] if task.model else [],
            image_task_ids=[task.id],
            submitted=True,
            references=[*(self.images or ()), *([self.mask] if self.mask else [])],
        )
        return task.id

    def _request(self, hook: ImageTaskHook, slot: SubmissionSlot) -> ImageRequest:
        return ImageRequest(
            prompt=rendered_text("prompt", self.prompt),
            model=rendered_text("model", self.model) or None,
            options=self.options or {},
            images=() if self.images is None else self.images,
            mask=self.mask,
            callback_url=rendered_text("callback_url", self.callback_url)
            or callback_urls.callback_url_of(slot, hook.account, hook.service),
            trace_id=rendered_text("trace_id", self.trace_id) or None,
        )

    def _warn_of_slow_questions(self, hook: ImageTaskHook, request: ImageRequest) -> None:
        """Warn where the pictures may be deleted before the first status request that finds them."""
        life = hook.service.results_life(request)
        interval = hook.account.poll_interval or hook.service.poll_interval
        if callback_urls.are_used_for(hook.account, hook.service):
            interval = max(interval, callback_urls.POLL_INTERVAL)
        if life is not None and 2 * interval >= life:
            self.log.warning(
                "The service keeps its pictures for %.0f s, but a wait with this connection only asks every %.0f s "
                "whether they are ready: they may be billed and gone before a download can start. Set a shorter "
                "poll_interval, or use a batch, which stores pictures as soon as they are ready.",
                life,
                interval,
            )

    def _push_refusal(self, context: Context, error: ImageTaskError, hook: ImageTaskHook) -> None:
        if self.do_xcom_push:
            value = {
                "conn_id": hook.conn_id,
                "service": error.service,
                "model": text(self.model),
                "prompt": prompt_excerpt(
                    text(self.prompt if self.prompt is None else str(self.prompt), most=PROMPT_EXCERPT + 1)
                ),
                "error": error.as_xcom(),
                "advice": error.retry_advice,
            }
            context["ti"].xcom_push(key="image_task_refused", value=value)


def _what_follows(service: Service, request: ImageRequest) -> str:
    """Return whether an image task can be stopped, and for how long its pictures can be had."""
    told = CAN_BE_STOPPED if service.can_cancel else f"{GOES_ON} {service.title} cannot stop it either."
    life = service.results_life(request)
    if life is None:
        return told
    span = f"{life / 3600:g} hours" if life >= 2 * 3600 else f"{life / 60:g} minutes"
    return f"{told} Download its pictures within {span} after they are made; after that they may be gone."


class ImageTaskDownloadOperator(ReportsLineage, BaseOperator):
    """Fetch, verify and store the pictures of finished image tasks. Free, and safe to repeat.

    The image task is read again, since result URLs expire. A picture whose name holds the id and that is already
    there intact is not fetched again. Returns ``{"files": [{uri, sha256, bytes, width, height, media_type,
    image_task_id, index}]}``.

    Where some could not be stored, ``image_files`` holds the others in the form of the result, ``image_task_error`` and
    ``image_task_failures`` say why, as a sensor's do.

    Once all are stored, an ``AssetAlias`` in ``outlets`` gets an event for each picture, an ``Asset`` one for all.

    :param image_task_id: an id, a dict that a submit task or sensor pushed, or any sequence of them.
    :param output_path: a folder on any ``ObjectStoragePath`` (``file:///...``, ``s3://conn@bucket/...``).
    :param filename: pattern of the names, with ``{image_task_id}``, ``{index}`` and ``{ext}`` (by the content).
    :param overwrite: fetch again what is already there.
    :param conn_id: an ``imagetasks`` connection; None takes the dict's, if a task of this Dag names it too, then
        ``imagetasks_default``.
    :raises DownloadError: nothing incomplete stays; a retry fetches what is missing.
    :raises InvalidRequestError: an argument is wrong; nothing was fetched.
    """

    image_task_id = ReferencesArgument()
    template_fields: Sequence[str] = ("image_task_id", "output_path", "filename", "conn_id")
    operator_extra_links = (PicturesLink(),)
    ui_color = "#dcebdd"

    def __init__(
        self,
        *,
        image_task_id: Any,
        output_path: str | os.PathLike[str],
        filename: str = DEFAULT_FILENAME,
        overwrite: bool = False,
        conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # The pictures are paid for by the time this task runs, so what can be known is said when the Dag is read.
        require_known_scheme(output_path)
        self.image_task_id = image_task_id
        self.output_path = output_path
        self.filename = filename
        self.overwrite = overwrite
        self.conn_id = conn_id

    def execute(self, context: Context) -> dict[str, list[dict[str, Any]]]:
        """Read the image tasks, store their pictures and return what was stored."""
        with (
            errors_for_airflow(),
            errors_pushed(context, lambda: known_ids(self.image_task_id)),
            execution_timeout_told(self, FETCHES_THE_REST),
        ):
            files, tasks = self._download(context)
        by_id = {task.id: task for task in tasks}
        stored = [file.as_xcom() for file in files]
        pictures = [_announced(file, by_id[file["image_task_id"]]) for file in stored]
        total = sum(file.picture.bytes for file in files)
        announce_pictures(context, self.outlets, Announcement(pictures=pictures, count=len(files), bytes=total))
        self.lineage = Lineage(
            service=tasks[0].service,
            models=sorted({task.model for task in tasks if task.model}),
            image_task_ids=[task.id for task in tasks],
            files=gathered([Made(uri=file.uri, size=file.picture.bytes) for file in files], str(self.output_path)),
        )
        return {"files": stored}

    def _download(self, context: Context) -> tuple[list[DownloadedFile], list[ImageTask]]:
        with errors_of_reading():
            check_filename(self.filename)
            references = read_references(self.image_task_id)
            references.warn_of_repeated(self.log)
            explicit = rendered_text("conn_id", self.conn_id)
            hook = ImageTaskHook(references.conn_id(explicit, partial(conn_ids_of_dag, self, context)))
            references.require_service(hook.account.service, hook.conn_id)
            folder = open_folder(str(self.output_path))
        files: list[DownloadedFile] = []
        tasks: list[ImageTask] = []
        problems: list[ImageTaskError] = []
        ids = tuple(dict.fromkeys(references.ids))
        most = RECORDS_WITH_PICTURES if hook.service.records_hold_pictures else len(ids)
        for start in range(0, len(ids), most):
            found = list(hook.read(ids[start : start + most], insists=True).values())
            stored, failures = hook.store(found, folder, filename=self.filename, overwrite=self.overwrite)
            for file in stored:
                picture, done = file.picture, "stored" if file.fetched else "already there"
                self.log.info("%s %s (%s x %s, %s bytes)", file.uri, done, picture.width, picture.height, picture.bytes)
            files += stored
            problems += [*(self._unready(task, hook) for task in found if not task.images), *failures]
            tasks += [replace(task, images=(), raw={}) for task in found]
        if problems:
            if self.do_xcom_push:
                # What is in place is told of all the same, as the result would.
                context["ti"].xcom_push(key="image_files", value={"files": [file.as_xcom() for file in files]})
            retryable = any(error.retryable for error in problems)
            total = len(files) + len(problems)
            raise combine(problems, total, rest="the others are in place", retryable=retryable)
        return files, tasks

    def _unready(self, task: ImageTask, hook: ImageTaskHook) -> ImageTaskError:
        error = failure(task, service=hook.service, conn_id=hook.conn_id)
        if error is None:
            what = "The image task succeeded without a picture"
            return ImageTaskFailedError(what, image_task_id=task.id, service=task.service)
        if isinstance(error, ImageTaskNotFoundError):
            error.retryable, error.retry_advice = True, f"A retry asks again. {ImageTaskFailedError.default_advice}"
        if error.retryable or task.state.is_final:
            return error
        return ImageTaskError(
            f"There is nothing to download yet: the service reports {task.raw_state or task.state!s}",
            image_task_id=task.id,
            service=task.service,
            retryable=True,
            retry_advice="A retry reads it again; better put an ImageTaskSensor before this task.",
        )


def _announced(file: Mapping[str, Any], task: ImageTask) -> dict[str, Any]:
    return picture_extra(file, service=task.service, model=task.model, prompt=task.prompt, usage=task.usage)
