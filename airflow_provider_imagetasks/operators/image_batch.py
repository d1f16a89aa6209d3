"""A batch of pictures as one Airflow task."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import conf

from airflow_provider_imagetasks.batch.arguments import (
    BatchArguments,
    BatchLimits,
    Mode,
    check_row_attempts,
    poll_interval_for,
    read_timeout,
    with_limits,
)
from airflow_provider_imagetasks.batch.costs import by_model, currency_of, read_max_cost
from airflow_provider_imagetasks.batch.dry_run import dry_run
from airflow_provider_imagetasks.batch.manifest import MANIFEST_NAME, PictureSummary
from airflow_provider_imagetasks.batch.modes import USUAL_TIMEOUTS, check_mode, check_mode_arguments, run_of
from airflow_provider_imagetasks.batch.requests_file import RequestsSource, file_of, rows_of
from airflow_provider_imagetasks.batch.row_decisions import read_max_failed
from airflow_provider_imagetasks.batch.start import OpenBatch, open_batch
from airflow_provider_imagetasks.batch.state import ProgressReport
from airflow_provider_imagetasks.exceptions import InvalidRequestError, ProtocolError
from airflow_provider_imagetasks.files.filenames import DEFAULT_FILENAME, ROW_PLACEHOLDERS, check_filename
from airflow_provider_imagetasks.files.object_storage import require_known_scheme
from airflow_provider_imagetasks.hooks.cancel_on_kill import CancelsOnKill
from airflow_provider_imagetasks.hooks.errors import errors_for_airflow, errors_of_reading, errors_pushed
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.hooks.links import PicturesLink, ServiceConsoleLink
from airflow_provider_imagetasks.hooks.references import rendered_text
from airflow_provider_imagetasks.hooks.task_settings import (
    execution_ends_at,
    execution_timeout_error,
    execution_timeout_told,
    stay_ends_at,
)
from airflow_provider_imagetasks.observability.assets import announce_pictures
from airflow_provider_imagetasks.observability.lineage import ReportsLineage
from airflow_provider_imagetasks.operators.batch_waiting import announcement, deferral, say_at_begin
from airflow_provider_imagetasks.operators.rows_as_data import RowsAsData, check_rows_given
from airflow_provider_imagetasks.operators.submission import OnUnknownOutcome
from airflow_provider_imagetasks.polling.batch_wait import Counts
from airflow_provider_imagetasks.services import tiers_for
from airflow_provider_imagetasks.services.account import DEFAULT_CONN_ID
from airflow_provider_imagetasks.submissions.identity import slot_of
from airflow_provider_imagetasks.tasks import require_sendable
from airflow_provider_imagetasks.triggers.image_batch import EVENT_STATUSES, PROGRESS_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

try:
    from airflow.sdk.exceptions import TaskDeferralTimeout
except ImportError:
    # Before Airflow 3.2.
    from airflow.exceptions import TaskDeferralTimeout  # type: ignore[no-redef,attr-defined,unused-ignore]


class ImageBatchOperator(CancelsOnKill, ReportsLineage, RowsAsData):
    """Make any number of pictures as one task: submit within the account's limits, wait without a worker, download.

    Give one of ``prompts``, ``requests`` and ``requests_path``. Returns ``{manifest, total, succeeded, failed, usage,
    cost, currency}``; ``manifest`` is the URI of a JSONL file with a row for each request: ``{id, index, prompt,
    status, image_task_id, files, error, duration, usage, cost, currency}``. While it works and while it is deferred,
    XCom ``progress`` holds ``{total, submitted, succeeded, failed, running, updated_at}``; XCom ``image_batch`` says
    where the batch is kept.

    The first start freezes the requests under ``output_path``; every later start reads only those. A retry repeats rows
    whose failure was retryable and unbilled; Clear of a failed batch repeats all failed rows; Clear of a successful one
    makes new pictures. What was submitted is never submitted again by itself. Costs a picture per row and ``n``.

    Once it succeeds, an ``AssetAlias`` in ``outlets`` gets an event for each picture, an ``Asset`` one for all.

    :param prompts: a text, or a sequence of texts. A single text is a template; rows of a sequence are data.
    :param requests: dicts with ``prompt`` and, where wanted, ``model``, ``options``, ``images``, ``mask``, ``id``.
    :param requests_path: a JSONL file of such dicts, of any size, on any ``ObjectStoragePath``.
    :param output_path: a folder on any ``ObjectStoragePath``.
    :param filename: pattern of the pictures' names, with ``{image_task_id}``, ``{index}``, ``{row}``, ``{id}``,
        ``{ext}``. A file of a name without ``{image_task_id}`` is overwritten by later pictures of that name.
    :param conn_id: an ``imagetasks`` connection.
    :param model: for rows that name none; None takes the connection's, then the service's default.
    :param options: further fields for the service; those of a row come on top.
    :param max_failed: how many rows may fail without failing the task: a count, or a share like ``0.05``.
    :param max_active_tasks: image tasks that run at the same time, at most 500; None takes the connection's.
    :param submit_rate: ceiling for submissions like ``"20/10s"``, or a tier; None takes the connection's.
    :param row_attempts: how often a row is submitted within one try, where its failure cost nothing.
    :param mode: ``"tasks"`` submits each row alone. ``"provider_batch"`` sends rows in files as the provider's own
        batches, where the service has those: made within 24 hours at half the price, whatever ``max_active_tasks``.
    :param timeout: seconds that a row may take from its submission; None takes an hour, of a provider batch 26.
    :param poll_interval: seconds between two status requests; None takes the connection's, then the service's. A
        provider batch is asked for once a minute at most.
    :param max_cost: submit rows, in their order, until the next one would cost more than this altogether, by
        ``prices`` and what services publish; retries and Clears of failed rows included. The rest fail unsubmitted.
        Where a model's price is not known, nothing is submitted.
    :param prices: per picture by model, ``0.04`` or ``"0.04 EUR"``, all in one currency; None takes the connection's.
        They win over the published ones (US dollars), which beside another currency count as unknown.
    :param on_unknown_outcome: ``"fail"`` fails a row of which nobody can tell whether it was taken; ``"resubmit"``
        submits it again, at the risk of paying twice.
    :param cancel_on_kill: cancel what runs, where the service can, once this task or its run is marked failed.
    :param deferrable: wait on the triggerer; None takes ``[operators] default_deferrable``.
    :param dry_run: check everything, count and estimate; submit and write nothing. Where an earlier try began the
        batch, ``begun`` in the result says how far that is.
    :raises InvalidRequestError: an argument or too many rows are wrong; nothing was submitted.
    :raises ImageTaskError: more rows failed than ``max_failed`` allows; of the class of the failures where all are of
        one. The pictures of the others are in place.
    """

    template_fields: Sequence[str] = (
        *("prompts", "requests", "requests_path", "output_path", "filename", "conn_id", "model", "options"),
        *("max_failed", "max_active_tasks", "submit_rate", "max_cost", "prices"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"options": "json", "prices": "json"}
    operator_extra_links = (PicturesLink(), ServiceConsoleLink())
    ui_color = "#f3e2f0"
    limits = BatchLimits()

    def __init__(
        self,
        *,
        prompts: Any = None,
        requests: Any = None,
        requests_path: str | os.PathLike[str] | None = None,
        output_path: str | os.PathLike[str],
        filename: str = DEFAULT_FILENAME,
        conn_id: str | None = None,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        max_failed: float | str = 0,
        max_active_tasks: int | str | None = None,
        submit_rate: str | None = None,
        row_attempts: int = 2,
        mode: Mode = "tasks",
        timeout: timedelta | float | None = None,
        poll_interval: float | None = None,
        max_cost: float | str | None = None,
        prices: Mapping[str, float | str] | None = None,
        on_unknown_outcome: OnUnknownOutcome = "fail",
        cancel_on_kill: bool = True,
        deferrable: bool | None = None,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_known_scheme(output_path)
        if on_unknown_outcome not in ("fail", "resubmit"):
            raise ValueError(f"on_unknown_outcome is {on_unknown_outcome!r}; it must be 'fail' or 'resubmit'")
        check_row_attempts(row_attempts)
        check_rows_given(prompts, requests, requests_path)
        check_mode_arguments(mode, max_active_tasks=max_active_tasks, submit_rate=submit_rate, timeout=timeout)
        self.prompts, self.requests, self.requests_path = prompts, requests, requests_path
        self.output_path = output_path
        self.filename = filename
        self.conn_id = conn_id
        self.model = model
        self.options = options
        self.max_failed = max_failed
        self.max_active_tasks = max_active_tasks
        self.submit_rate = submit_rate
        self.row_attempts = row_attempts
        self.mode = mode
        self.timeout = read_timeout(timeout if timeout is not None else USUAL_TIMEOUTS[mode])
        self.poll_interval = poll_interval
        self.max_cost = max_cost
        # It may render to nothing.
        self._is_limited = max_cost is not None
        self.prices = prices
        self.on_unknown_outcome = on_unknown_outcome
        self.cancel_on_kill = cancel_on_kill
        default = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = default if deferrable is None else deferrable
        # `dry_run` is a method of every operator.
        self.only_dry_run = dry_run

    def execute(self, context: Context) -> Any:
        """Begin or go on, and return what the batch came to, or defer."""
        with errors_for_airflow(), errors_pushed(context), execution_timeout_told(self):
            if self.only_dry_run:
                kept = context.get("task_state_store")
                return dry_run(self._arguments(), self.rows_source(context), slot_of(context), kept, self.log)
            return self._work(context, resumes=False, ends_at=execution_ends_at(self, context))

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,
        output_path: str | None = None,
        ends_at: float | None = None,
    ) -> Any:
        """Go on after the trigger's event, which is only a hint.

        :param event: what the trigger fired.
        :param output_path: where the batch is; None for a deferral of an earlier version, or one that ran out of time.
        :param ends_at: Unix seconds at which ``execution_timeout`` is over, where there is one; None likewise.
        """
        with errors_for_airflow(), errors_pushed(context), execution_timeout_told(self):
            if not isinstance(event, Mapping) or event.get("status") not in EVENT_STATUSES:
                raise ProtocolError(f"The trigger sent an event that this version does not know: {event!r}"[:300])
            # It is not rendered again: a template may come to something else by now.
            self.output_path = output_path or self.output_path
            ends_at = ends_at or execution_ends_at(self, context)
            if event["status"] == "deadline" and ends_at is not None and ends_at <= time.time():
                raise execution_timeout_error(self)
            return self._work(context, resumes=True, ends_at=ends_at, over=event.get("over"))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume; where no triggerer ended the wait in time, this worker goes on with it."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self.log.warning("No triggerer reported back in time; asking the service from this worker.")
            return self.execute_complete(context, event={"status": "deadline"})

    def rows_source(self, context: Context) -> RequestsSource:
        """Return where the rows come from; asked only where nothing is frozen yet, or to see whether that changed."""
        if self.requests_path is not None:
            return file_of(self.requests_path)
        return rows_of(self.prompts if self.prompts is not None else self.requests)

    def _arguments(self) -> BatchArguments:
        check_filename(self.filename, ROW_PLACEHOLDERS)
        hook = ImageTaskHook(rendered_text("conn_id", self.conn_id) or DEFAULT_CONN_ID)
        self.image_service_console_url = hook.service.console_url
        if self.deferrable:
            hook.require_lasting_server()
        if self.options is not None and not isinstance(self.options, Mapping):
            raise InvalidRequestError(f"options must be a dict, not {type(self.options).__name__}")
        for name in ("model", "options"):
            require_sendable(name, getattr(self, name))
        provider = check_mode(self.mode, hook.service, self.limits)
        account = with_limits(
            hook.account,
            submit_rate=self.submit_rate,
            max_active_tasks=self.max_active_tasks,
            tiers=tiers_for(hook.service, self.submit_rate),
            prices=self.prices,
        )
        return BatchArguments(
            account=account,
            service=hook.service,
            model=rendered_text("model", self.model) or None,
            options=self.options or {},
            filename=self.filename,
            prices=by_model(account.prices),
            currency=currency_of(account.prices),
            output_path=str(self.output_path),
            max_failed=read_max_failed(self.max_failed),
            max_cost=read_max_cost("" if self.max_cost is None and self._is_limited else self.max_cost),
            row_attempts=self.row_attempts,
            timeout=self.timeout,
            poll_interval=poll_interval_for(self.poll_interval, hook.account, hook.service, provider),
            resubmits_unknown=self.on_unknown_outcome == "resubmit",
            defers=self.deferrable,
            limits=self.limits,
            mode=self.mode,
        )

    def _work(self, context: Context, *, resumes: bool, ends_at: float | None, over: Any = None) -> dict[str, Any]:
        slot, state_store, ends_here_at = slot_of(context), context.get("task_state_store"), stay_ends_at(self)
        with tempfile.TemporaryDirectory(prefix="imagetasks-") as folder:
            scratch = Path(folder)
            # What an earlier start submitted is at the service, whatever keeps this one from looking.
            with errors_of_reading() if resumes or slot.try_number > 1 else nullcontext():
                arguments, source = self._arguments(), self.rows_source(context)
                batch = open_batch(
                    arguments, source, slot, scratch, state_store=state_store, resumes=resumes, log=self.log
                )
            try:
                if not resumes:
                    # It is there already, and a later moment would move the batch to the front of the gallery.
                    if self.do_xcom_push:
                        context["ti"].xcom_push(key="image_batch", value=announcement(batch, arguments))
                    say_at_begin(batch, arguments, self.log)
                push = partial(context["ti"].xcom_push, PROGRESS_KEY) if self.do_xcom_push else None
                report = ProgressReport(self.log, push)
                report(batch.ledger.state.counts)
                run = run_of(arguments, batch, scratch, report=report, log=self.log, ends_at=ends_here_at, over=over)
                self.cancel_when_killed(context, arguments.account, lambda: run.unfinished, run.end)
                is_over = asyncio.run(run.run())
                report(counts := batch.ledger.state.counts, last=True)
                batch.keep_counts(state_store, counts, self.log)
                if not is_over:
                    if run.is_out_of_time:
                        raise execution_timeout_error(self)
                    self._defer(arguments, batch, counts, run.unfinished, ends_at)
                result = batch.finish(scratch, arguments.max_failed, self.log)
                pictures = PictureSummary(arguments.service.name, batch.requests, scratch / MANIFEST_NAME)
                announce_pictures(context, self.outlets, pictures.announcement(str(result["manifest"])))
                self.lineage = pictures.lineage(arguments.output_path)
                if self.do_xcom_push:
                    # Before it counts as successful: a Clear of what did not get so far keeps its pictures.
                    context["ti"].xcom_push(key="return_value", value=result)
                batch.ledger.finished("success")
                return result
            finally:
                self.await_cancelling()
                batch.close()

    def _defer(
        self,
        arguments: BatchArguments,
        batch: OpenBatch,
        counts: Counts,
        ids: Sequence[str],
        ends_at: float | None,
    ) -> None:
        self.log.info(
            "%s that are still running: %s; the triggerer waits for them, without a worker. %s",
            "Image tasks" if arguments.provider_batches is None else "Provider batches",
            len(ids),
            self.what_ending_does(arguments.service),
        )
        cancels = self.cancels(arguments.service)
        self.defer(**deferral(arguments, batch, counts, ids, ends_at=ends_at, cancels=cancels))
