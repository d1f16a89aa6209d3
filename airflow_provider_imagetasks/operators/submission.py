"""Submission of one picture: what the ledger decides is carried out here, with the hook, and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Literal

from airflow_provider_imagetasks.accounts.book import note_found
from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError, UnknownOutcomeError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.submissions.decisions import Reattach, Reconcile, Refuse, Submit
from airflow_provider_imagetasks.submissions.departure import REPLACED, Departure, HeldBackError
from airflow_provider_imagetasks.submissions.identity import CLEAR_ONCE_MORE
from airflow_provider_imagetasks.submissions.ledger import SubmissionLedger
from airflow_provider_imagetasks.submissions.reconciling import (
    OTHER_ACCOUNT,
    find_earlier,
    find_submission,
    is_recognised,
)
from airflow_provider_imagetasks.submissions.submission_record import SubmissionRecord
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState, iso_time, utc_moment

OnUnknownOutcome = Literal["fail", "resubmit"]
_LOOK_SECONDS = 1.0
"""How old the last look at the ledger may be when the request leaves: what is noted in between takes milliseconds."""


@contextmanager
def named_in_errors(task: ImageTask) -> Iterator[None]:
    """Let an error that leaves the block name the image task that was submitted before it, which is paid for."""
    try:
        yield
    except ImageTaskError as error:
        if error.code != REPLACED:
            error.image_task_id, error.billed = task.id, "unknown"
            error.message = (
                f"Image task {task.id[:80]} was submitted and goes on, but its id was not passed on. "
                f"{error.message.rstrip('.')}"
            )
        raise


class Submission:
    """Submission of one picture, as its ledger decides.

    :param hook: what to submit with.
    :param ledger: of this request.
    :param request: completed, its files read.
    :param resubmits: whether an unknown outcome is submitted again, at the risk of paying twice.
    :param shares_trace_id: whether other Airflow tasks of the Dag have the same trace id of the user's own.
    """

    def __init__(
        self,
        hook: ImageTaskHook,
        ledger: SubmissionLedger,
        request: ImageRequest,
        *,
        resubmits: bool,
        shares_trace_id: bool = False,
    ) -> None:
        self._hook = hook
        self._ledger = ledger
        self._request = request
        self._resubmits = resubmits
        self._shares_trace_id = shares_trace_id
        self._service = hook.service
        self._log = hook.log

    def carry_out(self) -> ImageTask:
        """Submit, or return what was submitted before. Costs one submission at most.

        :raises UnknownOutcomeError: an earlier submission or this one may have been taken; nothing was sent again.
        :raises InvalidRequestError: the request is not the one that was submitted before.
        :raises ImageTaskError: a definite refusal, or the record cannot be read or kept; a retry looks at it again.
            With the code ``"replaced"``: another start took over, and nothing leaves any more.
        """
        decision = self._ledger.decide()
        if isinstance(decision, Refuse):
            raise self._changed(decision.record.image_task_id)
        if isinstance(decision, Reattach):
            return self._submitted_before(decision.record)
        if isinstance(decision, Reconcile):
            return self._reconcile(decision)
        return self._begin(decision)

    def _changed(self, image_task_id: str | None) -> InvalidRequestError:
        return InvalidRequestError(
            "The request has changed since it was submitted; the image task of the old request goes on. To use that "
            "one, undo the change and Clear",
            image_task_id=image_task_id,
            service=self._service.name,
            billed="unknown",
            retry_advice="Clear submits the new request.",
        )

    def _begin(self, decision: Submit) -> ImageTask:
        if decision.names_earlier:
            self._name_earlier()
        self._ledger.intend(decision)
        if decision.asks_first and (task := self._find(sent_by=self._ledger.record.intent_at)) is not None:
            return task
        return self._submit_intended()

    def _name_earlier(self) -> None:
        """Log which image tasks of earlier tries the service has, where the record of them is lost.

        Nobody can tell whether those were handed on before the task was cleared, so none is handed on now.
        """
        known = "which it cannot be asked for"
        try:
            api = self._service.api_of_model(self._request.model)
            tasks = self._hook.run(find_earlier(self._service, self._ledger.earlier_keys, api))
            if self._service.finds_by_trace_id:
                known = (
                    ", ".join(f"{task.id[:80]} of {iso_time(task.created_at)}" for task in tasks) or "none it knows of"
                )
        except ImageTaskError as error:
            known = f"which it could not be asked for: {error.message}"
        self._log.warning(
            "This task was cleared, and Airflow discarded the records of earlier tries, so a new picture is "
            "submitted and paid for. What those tries submitted to %s may be paid for, too: %s. To continue from the "
            "record instead, clear with 'keep task state', or set [imagetasks] ledger_path.",
            self._service.title,
            known,
        )

    def _submit_intended(self, *, again: bool = False) -> ImageTask:
        """Submit what is on record as an intent; keep the id, or that the service refused.

        :param again: whether it may have left before, under the same key.
        """
        departure = Departure(self._ledger.require_latest_start, look_seconds=_LOOK_SECONDS)
        watched = partial(departure.watched, intended_at=0)
        try:
            task = self._hook.submit_completed(self._request, key=self._ledger.key, watched=watched)
            if task.id in self._ledger.record.earlier_ids:
                raise UnknownOutcomeError(
                    f"The answer names image task {task.id[:80]}, which belongs to an earlier submission of this "
                    "task: something on the way repeats answers, so nobody can tell whether this submission was "
                    f"accepted. {self._service.how_to_look}",
                    service=self._service.name,
                )
        except HeldBackError as held:
            has_left = held.has_left or again
            if held.why.code != REPLACED:
                held.why.billed = "unknown" if has_left else "no"
                raise held.why from held
            raise self._ledger.replaced(has_left=has_left) from held
        except ImageTaskError as error:
            if again and error.billed == "no":
                # It says nothing of the first time: what is on record stays an intent, for the next start to find out.
                raise
            can_tell = isinstance(error, UnknownOutcomeError) and self._service.finds_by_trace_id
            found = self._look_up() if can_tell else None
            if found is None:
                self._settle(error)
                raise
            task = found
        return self._taken(task)

    def _settle(self, error: ImageTaskError) -> None:
        """Note what an error leaves behind, and say in the error what ``on_unknown_outcome`` makes of it."""
        metrics.not_submitted(self._service.name, error)
        if error.billed == "no":
            self._ledger.note_refused()
            return
        # Unknown, or paid for and impossible to hand on: the error says so, and a Clear submits anew.
        self._ledger.note_reported_unknown()
        if isinstance(error, UnknownOutcomeError) and self._resubmits:
            error.retryable = True
            error.retry_advice = (
                "on_unknown_outcome is 'resubmit': a retry submits again, and pays twice if the first was accepted."
            )

    def _taken(self, task: ImageTask) -> ImageTask:
        with named_in_errors(task):
            self._ledger.note_taken(task)
        # Not before the id is on record: a try that ends in between would have the next one count it again.
        metrics.submitted(self._service.name)
        return task

    def _look_up(self) -> ImageTask | None:
        """Return the image task of a submission that was not answered just now, if the service has it."""
        self._log.warning(
            "The submission may have been accepted, but no usable answer came; asking %s for trace id %s.",
            self._service.title,
            self._ledger.record.trace_id,
        )
        try:
            task = self._find(sent_by=time.time())
        except ImageTaskError as error:
            self._log.warning("%s could not be asked: %s", self._service.title, error.message)
            return None
        if task is None:
            self._log.warning(
                "%s does not know the submission. That does not prove that it was never accepted.", self._service.title
            )
        return task

    def _find(self, *, sent_by: float) -> ImageTask | None:
        """Return the image task of the submission on record, if the service can tell."""
        if not self._service.finds_by_trace_id:
            return None
        record, key = self._ledger.record, self._ledger.key
        if self._shares_trace_id and record.trace_id != key:
            self._log.warning(
                "Other tasks of this Dag have the same trace_id: an image task found by it may be theirs."
            )
            return None
        task = self._hook.run(find_submission(self._service, self._request, record, key=key, sent_by=sent_by))
        if task is not None:
            self._log.info("%s has the submission: using image task %s.", self._service.title, task.id[:80])
            note_found(self._hook.account, task, key=key)
        return task

    def _submitted_before(self, record: SubmissionRecord) -> ImageTask:
        self._log.info(
            "Image task %s was submitted by an earlier try, at %s. Using it; nothing is submitted.",
            str(record.image_task_id)[:80],
            utc_moment(record.submitted_at or record.intent_at),
        )
        return ImageTask(
            id=record.image_task_id or "",
            service=self._service.name,
            state=TaskState.RUNNING,
            raw_state="submitted before",
            model=self._request.model,
            prompt=self._request.prompt,
            image_count_requested=self._service.image_count_of(self._request),
            trace_id=record.trace_id if self._service.finds_by_trace_id else None,
            created_at=record.submitted_at,
        )

    def _reconcile(self, decision: Reconcile) -> ImageTask:
        """Find out what became of an intent without an answer, and go on from there."""
        record, title = decision.record, self._service.title
        moment = utc_moment(record.intent_at)
        self._log.warning("A submission was started at %s, and its outcome is unknown; asking %s.", moment, title)
        why = f"and {title} cannot tell"
        if self._ledger.has_other_account:
            why = OTHER_ACCOUNT.format(conn_id=repr(self._hook.conn_id))
        if self._service.repeats_submit_by_key:
            # The same key with another request would bring back the picture of the old one.
            if not decision.is_same:
                why = "and the request has changed since then"
            elif not self._ledger.has_other_account and is_recognised(record.intent_at, time.time()):
                self._log.info("%s charges once for the same key: submitting under it again.", title)
                self._ledger.note_leaves_again()
                return self._submit_intended(again=True)
        elif (task := self._find(sent_by=record.intent_at)) is not None:
            self._taken(task)
            if not decision.is_same:
                raise self._changed(task.id)
            return task
        if self._resubmits:
            self._log.warning("on_unknown_outcome is 'resubmit': submitting again, which may pay twice.")
            unsettled_at = record.unsettled_at or record.intent_at
            return self._begin(Submit(generation=record.generation + 1, unsettled_at=unsettled_at))
        error = UnknownOutcomeError(
            f"The outcome of the submission at {moment} is unknown: the task was ended before the answer came, {why}. "
            f"{self._service.how_to_look}",
            service=self._service.name,
            # Elsewhere it never went out, and whoever looks for it there would find nothing.
            trace_id=record.trace_id if self._service.finds_by_trace_id else None,
        )
        if self._ledger.was_told_of_before:
            error.retry_advice = f"{error.retry_advice} {CLEAR_ONCE_MORE}"
        self._settle(error)
        raise error


def has_shared_trace_id(task: Any, context: Any) -> bool:
    """Whether another task of the Dag, or another map index of the same, submits under the trace id of a task.

    What a mapped task takes from an upstream is not known here, and counts as different.

    :param task: of which the arguments are rendered for the run of ``context``.
    """
    if not task.trace_id or not task.has_dag():
        return False
    for other in task.dag.tasks:
        kind, mapped = getattr(other, "operator_class", type(other)), getattr(other, "partial_kwargs", {})
        if not (isinstance(kind, type) and issubclass(kind, type(task))):
            continue
        given = mapped.get("trace_id") if mapped else getattr(other, "trace_id", None)
        if not isinstance(given, str):
            continue
        if other.task_id == task.task_id:
            if mapped and "map_index" not in given:
                return True
            continue
        with suppress(Exception):
            if str(task.render_template(given, context)).strip() == str(task.trace_id).strip():
                return True
    return False
