"""Submits through the ledger: an intent before, the id right after, and on every later start what they demand."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, Protocol, TypeVar

from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError, UnknownOutcomeError
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.submissions.decisions import Reattach, Reconcile, Refuse, Submit, decide
from airflow_provider_imagetasks.submissions.identity import submission_identity
from airflow_provider_imagetasks.submissions.reconciling import Outcome, Reconciliation, reconcile_patiently
from airflow_provider_imagetasks.submissions.records import SubmissionRecord, fingerprint
from airflow_provider_imagetasks.submissions.stores import LedgerStore
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState, utc_moment

OnUnknownOutcome = Literal["fail", "resubmit"]
Result = TypeVar("Result")


class Submitter(Protocol):
    """What the ledger submits with: the hook."""

    @property
    def account(self) -> Account:
        """What the connection says."""

    @property
    def service(self) -> Service:
        """The service that it names."""

    @property
    def log(self) -> Any:
        """The task's logger."""

    def prepare(self, request: ImageRequest) -> ImageRequest:
        """Return the request as it would be sent."""

    def send(self, request: ImageRequest, *, key: str | None = None) -> ImageTask:
        """Submit it, once."""

    def run(self, flow: Flow[Result]) -> Result:
        """Drive a flow."""


@dataclass(frozen=True, kw_only=True)
class SubmissionSlot:
    """One place in a Dag run that asks for pictures: the same on every try and after every Clear.

    :param map_index: -1 for a task that is not mapped.
    :param item_index: position in a batch.
    :param max_tries: the task instance's today; tells a Clear from a retry.
    :param try_number: the task instance's today.
    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    max_tries: int
    try_number: int
    item_index: int = 0

    def identity(self, generation: int, attempt: int = 0) -> str:
        """Return the key by which the service may recognise the submission of that generation.

        :param attempt: of an item of a batch.
        """
        return submission_identity(
            dag_id=self.dag_id,
            task_id=self.task_id,
            run_id=self.run_id,
            map_index=self.map_index,
            item_index=self.item_index,
            generation=generation,
            attempt=attempt,
        )


class Submission:
    """One submission and its record.

    :param hook: what to submit with.
    :param slot: which submission it is.
    :param store: where its record is kept.
    :param on_unknown_outcome: ``"fail"``, or ``"resubmit"`` at the risk of paying twice.
    """

    def __init__(
        self, hook: Submitter, slot: SubmissionSlot, store: LedgerStore, on_unknown_outcome: OnUnknownOutcome
    ) -> None:
        self._hook = hook
        self._slot = slot
        self._store = store
        self._resubmits = on_unknown_outcome == "resubmit"
        self._record: SubmissionRecord | None = None

    def submit(self, request: ImageRequest) -> ImageTask:
        """Submit, or return what was submitted before.

        :raises UnknownOutcomeError: an earlier submission or this one may have been taken; nothing was sent again.
        :raises InvalidRequestError: the request is not the one that was submitted before.
        :raises ImageTaskError: a definite refusal, or the record cannot be read or kept.
        """
        prepared = self._hook.prepare(request)
        found = self._store.read()
        mark = fingerprint(prepared, self._hook.account)
        decision = decide(found, fingerprint=mark, max_tries=self._slot.max_tries)
        if isinstance(decision, Refuse):
            self._refuse(decision.record)
        if isinstance(decision, Reattach):
            return self._reattach(decision.record, prepared)
        if isinstance(decision, Reconcile):
            return self._reconcile(prepared, mark, decision.record)
        if found is None and not self._store.keeps_records:
            return self._submit_without_record(prepared, mark)
        return self._submit(prepared, mark, decision)

    def finish(self) -> None:
        """Note that the id was handed on, so that a Clear means a new picture."""
        if self._record is not None and self._record.image_task_id:
            self._keep(replace(self._record, finished=True, max_tries=self._slot.max_tries))

    def _submit(self, request: ImageRequest, mark: str, decision: Submit) -> ImageTask:
        key = self._slot.identity(decision.generation)
        self._keep(
            SubmissionRecord(
                fingerprint=mark,
                generation=decision.generation,
                max_tries=self._slot.max_tries,
                intent_at=time.time(),
                trace_id=request.trace_id or key,
            )
        )
        return self._send(request, key)

    def _send(self, request: ImageRequest, key: str) -> ImageTask:
        """Submit, with the intent kept; keep the id, or forget the intent where the service definitely refused."""
        try:
            task = self._answered(request, self._record, key)
        except UnknownOutcomeError:
            if self._record is not None:
                self._keep(replace(self._record, reported_unknown=True))
            raise
        except ImageTaskError as error:
            if error.billed == "no":
                self._store.delete()
                self._record = None
            elif self._record is not None:
                # It was paid for and cannot be handed on: the error says so, and a Clear submits anew.
                self._keep(replace(self._record, reported_unknown=True))
            raise
        return self._taken(task)

    def _taken(self, task: ImageTask) -> ImageTask:
        if self._record is not None:
            self._keep(replace(self._record, image_task_id=task.id, submitted_at=task.created_at or time.time()))
        # Not before the id is on record: a try that ends in between would have the next one count it again.
        metrics.submitted(self._hook.service.name)
        return task

    def _submit_without_record(self, request: ImageRequest, mark: str) -> ImageTask:
        """Submit where nothing is kept: on a later try the service is asked first, as far as it can tell."""
        # Only a Clear changes max_tries, so that a retry goes out under the same key and a Clear under another.
        key = self._slot.identity(self._slot.max_tries)
        supposed = SubmissionRecord(
            fingerprint=mark,
            generation=0,
            max_tries=self._slot.max_tries,
            intent_at=time.time(),
            trace_id=request.trace_id or key,
        )
        # A trace id of the user's own may also be that of an older run.
        if self._slot.try_number > 1 and not request.trace_id:
            answer = self._asked(request, supposed, key, sent_by=supposed.intent_at)
            if answer.task is not None:
                self._hook.log.info("An earlier try submitted image task %s; it is handed on.", answer.task.id)
                return answer.task
        task = self._answered(request, supposed, key)
        metrics.submitted(self._hook.service.name)
        return task

    def _answered(self, request: ImageRequest, record: SubmissionRecord | None, key: str) -> ImageTask:
        """Submit; where no answer came, hand on what the service has, if it can look that up."""
        try:
            return self._hook.send(request, key=key)
        except UnknownOutcomeError as error:
            task = self._looked_up(request, record, key)
            if task is None:
                metrics.not_submitted(self._hook.service.name, error)
                raise self._with_policy(error) from error.__cause__
            return task
        except ImageTaskError as error:
            metrics.not_submitted(self._hook.service.name, error)
            raise

    def _looked_up(self, request: ImageRequest, record: SubmissionRecord | None, key: str) -> ImageTask | None:
        service, log = self._hook.service, self._hook.log
        if record is None or not service.finds_by_trace_id:
            return None
        log.warning(
            "The submission may have been taken, and no usable answer came; asking %s for trace id %s.",
            service.title,
            record.trace_id,
        )
        try:
            task = self._asked(request, record, key, sent_by=time.time()).task
        except ImageTaskError as error:
            log.warning("%s could not be asked: %s", service.title, error.message)
            return None
        if task is None:
            log.warning("%s does not know it, which proves nothing.", service.title)
        else:
            log.info("%s has it: image task %s is handed on.", service.title, task.id)
        return task

    def _reattach(self, record: SubmissionRecord, request: ImageRequest) -> ImageTask:
        self._record = record
        self._hook.log.info(
            "Image task %s was submitted by an earlier try, at %s; it is handed on, and nothing is submitted.",
            record.image_task_id,
            utc_moment(record.submitted_at or record.intent_at),
        )
        return ImageTask(
            id=record.image_task_id or "",
            service=self._hook.service.name,
            state=TaskState.RUNNING,
            raw_state="submitted before",
            model=request.model,
            prompt=request.prompt,
            image_count_requested=request.image_count,
            trace_id=record.trace_id if self._hook.service.finds_by_trace_id else None,
            created_at=record.submitted_at,
        )

    def _refuse(self, record: SubmissionRecord) -> NoReturn:
        raise InvalidRequestError(
            "The request changed since it was submitted; the image task of the old one goes on. To have that one, undo "
            "the change and Clear",
            image_task_id=record.image_task_id,
            service=self._hook.service.name,
            billed="unknown",
            retry_advice="Clear submits the new request.",
        )

    def _reconcile(self, request: ImageRequest, mark: str, record: SubmissionRecord) -> ImageTask:
        """Find out what became of an intent without an answer, and go on from there."""
        self._record = record
        moment, service = utc_moment(record.intent_at), self._hook.service
        key = self._slot.identity(record.generation)
        self._hook.log.warning(
            "A submission was begun at %s and nobody knows what became of it; asking %s.", moment, service.title
        )
        if record.fingerprint != mark and service.repeats_submit_by_key:
            # The same key with another request would bring back the picture of the old one.
            return self._unknown(request, mark, record, "and the request was changed since")
        answer = self._asked(request, record, key, sent_by=record.intent_at)
        if answer.outcome is Outcome.FOUND and answer.task is not None:
            self._hook.log.info("%s has it: image task %s is handed on.", service.title, answer.task.id)
            return self._taken(answer.task)
        if answer.outcome is Outcome.REPEATABLE:
            self._hook.log.info("%s charges once for the same key: submitting under it again.", service.title)
            return self._send(request, key)
        return self._unknown(request, mark, record, f"and {service.title} cannot tell")

    def _unknown(self, request: ImageRequest, mark: str, record: SubmissionRecord, why: str) -> ImageTask:
        if self._resubmits:
            self._hook.log.warning("on_unknown_outcome is 'resubmit': submitting again, which may pay twice.")
            return self._submit(request, mark, Submit(generation=record.generation + 1))
        self._keep(replace(record, reported_unknown=True, max_tries=self._slot.max_tries))
        moment = utc_moment(record.intent_at)
        error = UnknownOutcomeError(
            f"The outcome of the submission at {moment} is unknown: the task was ended before the answer came, {why}. "
            f"{self._hook.service.how_to_look}",
            service=self._hook.service.name,
            trace_id=record.trace_id,
        )
        metrics.not_submitted(self._hook.service.name, error)
        raise error

    def _asked(self, request: ImageRequest, record: SubmissionRecord, key: str, *, sent_by: float) -> Reconciliation:
        return self._hook.run(
            reconcile_patiently(self._hook.service, request, record, key=key, now=time.time(), sent_by=sent_by)
        )

    def _with_policy(self, error: UnknownOutcomeError) -> UnknownOutcomeError:
        """Return the error with what ``on_unknown_outcome`` makes of it."""
        if self._resubmits:
            error.retryable = True
            error.retry_advice = (
                "on_unknown_outcome is 'resubmit': a retry submits again, and pays twice if the first was accepted."
            )
        return error

    def _keep(self, record: SubmissionRecord) -> None:
        self._store.write(record)
        self._record = record


def slot_of(context: Any, item_index: int = 0) -> SubmissionSlot:
    """Return the slot of the running task instance.

    :param context: the task's.
    """
    instance = context["ti"]
    return SubmissionSlot(
        dag_id=instance.dag_id,
        task_id=instance.task_id,
        run_id=instance.run_id,
        map_index=instance.map_index if instance.map_index is not None else -1,
        max_tries=instance.max_tries,
        try_number=instance.try_number,
        item_index=item_index,
    )
