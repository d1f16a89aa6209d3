"""Decides what a start of a submit task does, from what the ledger holds. Pure; its table of cases is its test."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_imagetasks.submissions.submission_record import SubmissionRecord


@dataclass(frozen=True)
class Submit:
    """Submit: nothing was submitted, or a person wants a new picture.

    :param generation: which of the submissions of this task instance it is.
    :param asks_first: whether an earlier try may have submitted it, of which only the service can know.
    :param names_earlier: whether the log is to name what earlier tries submitted, of which nothing is on record.
    :param unsettled_at: Unix seconds of a submission before it of which nobody knows whether it was taken.
    """

    generation: int
    asks_first: bool = False
    names_earlier: bool = False
    unsettled_at: float | None = None


@dataclass(frozen=True)
class Reattach:
    """Hand on the image task that was submitted before."""

    record: SubmissionRecord


@dataclass(frozen=True)
class Reconcile:
    """Find out at the service what became of an intent that nobody knows the outcome of.

    :param is_same: whether what is asked for now is what was meant then.
    """

    record: SubmissionRecord
    is_same: bool


@dataclass(frozen=True)
class Refuse:
    """Do nothing: what is asked for now is not what was submitted before."""

    record: SubmissionRecord


Decision = Submit | Reattach | Reconcile | Refuse


def decide(
    record: SubmissionRecord,
    *,
    fingerprint: str,
    max_tries: int,
    is_left_over: bool = False,
    key_digest: str | None = None,
) -> Decision:
    """Return what to do where something is on record.

    A Clear is told from a retry by ``max_tries``, which only a Clear of a finished task instance raises. A Clear of a
    running one counts as a retry.

    :param record: what the ledger holds.
    :param fingerprint: of what is asked for now.
    :param max_tries: the task instance's today.
    :param is_left_over: whether the record is of another Dag run of the same run id, which was deleted.
    :param key_digest: of the API key of today.
    """
    is_retry = record.max_tries == max_tries
    is_same = record.fingerprint == fingerprint
    if is_left_over:
        return Submit(generation=record.generation + 1)
    if record.refused:
        # A key goes out with one request only, so that no service takes a new one for the old.
        generation = record.generation if is_same else record.generation + 1
        return Submit(generation=generation, unsettled_at=record.unsettled_at)
    if record.image_task_id:
        if is_retry:
            return Reattach(record) if is_same else Refuse(record)
        # Cleared before the id was handed on, it is resumed; otherwise a person wants a new picture.
        return Reattach(record) if is_same and not record.finished else Submit(generation=record.generation + 1)
    is_key_back = record.reported_with != record.key_digest == key_digest
    if not is_retry and record.reported_unknown and not is_key_back:
        # The error said what to look at, and that Clear submits; with the key put back the service can tell after all.
        return Submit(generation=record.generation + 1)
    return Reconcile(record, is_same)
