"""What the ledger keeps of one submission. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class SubmissionRecord:
    """An intent to submit, and what became of it. Later versions must read it: fields are only ever added.

    :param fingerprint: of what was asked for; see :func:`fingerprint`.
    :param generation: 0 for the first, higher by one each time that somebody had it done anew.
    :param max_tries: the task instance's, unchanged by a retry and raised by a Clear.
    :param intent_at: Unix seconds, before the request left.
    :param image_task_id: what the service answered; None while that is not known.
    :param submitted_at: Unix seconds of the answer.
    :param trace_id: what it can be found by at the service.
    :param reported_unknown: whether a person has been told that the outcome is unknown.
    :param finished: whether the Airflow task got as far as to hand the id on.
    :param refused: whether the service definitely took nothing of this generation.
    :param try_number: of the try that wrote it last; earlier versions did not keep it.
    :param unsettled_at: Unix seconds of a submission before this one of which nobody knows whether it was taken.
    """

    fingerprint: str
    generation: int
    max_tries: int
    intent_at: float
    image_task_id: str | None = None
    submitted_at: float | None = None
    trace_id: str | None = None
    reported_unknown: bool = False
    finished: bool = False
    refused: bool = False
    try_number: int = 1
    unsettled_at: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON, with the version of its form."""
        return {"version": VERSION, **asdict(self)}


def read_record(value: Any) -> SubmissionRecord:
    """Return the record that a store holds.

    :raises ValueError: it is not one, so that nothing can be said of an earlier submission.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"a record of a submission is {type(value).__name__}, not an object")
    known = {field.name for field in fields(SubmissionRecord)}
    try:
        record = SubmissionRecord(**{name: entry for name, entry in value.items() if name in known})
    except TypeError as error:
        raise ValueError(f"a record of a submission is incomplete: {error}") from error
    if not isinstance(record.fingerprint, str) or not isinstance(record.generation, int):
        raise ValueError("a record of a submission is damaged")
    return record


def fingerprint(request: ImageRequest, account: Account) -> str:
    """Return 64 hexadecimal digits for what is asked for, and of whom.

    The key does not count, nor do callback URLs and the query strings of input URLs, which change without the picture
    changing. Files count by what is in them.

    :param request: completed, its files read.
    """
    asked = {
        "conn_id": account.conn_id,
        "host": account.base_url,
        "prompt": request.prompt,
        "model": request.model,
        "options": dict(request.options),
        "images": [_input(image) for image in request.images],
        "mask": _input(request.mask) if request.mask is not None else None,
        "trace_id": request.trace_id,
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def _input(image: str | ImageFile) -> str:
    if isinstance(image, ImageFile):
        return f"sha256:{hashlib.sha256(image.content).hexdigest()}"
    return urlunsplit(urlsplit(image)._replace(query="", fragment=""))
