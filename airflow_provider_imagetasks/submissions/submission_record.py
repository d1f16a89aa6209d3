"""The record that the ledger keeps of one submission. Pure."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit, urlunsplit

from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest

VERSION = 1
Stored = TypeVar("Stored")


@dataclass(frozen=True, kw_only=True)
class SubmissionRecord:
    """An intent to submit, and what became of it. Later versions must read it: fields are only ever added.

    :param fingerprint: of what was asked for; see :func:`fingerprint`.
    :param generation: 0 for the first, higher by one each time that a Clear had it done anew.
    :param max_tries: the task instance's, unchanged by a retry and raised by a Clear.
    :param intent_at: Unix seconds, before the request left.
    :param image_task_id: what the service answered; None while that is not known.
    :param submitted_at: Unix seconds of the answer.
    :param trace_id: the id by which it can be found at the service.
    :param reported_unknown: whether a person has been told that the outcome is unknown.
    :param finished: whether the Airflow task has handed the id on.
    :param refused: whether the service definitely took nothing of this generation.
    :param try_number: of the try that wrote it last; earlier versions did not keep it.
    :param unsettled_at: Unix seconds of a submission before this one of which nobody knows whether it was taken.
    :param key_digest: of the API key that it went out with; see :func:`key_digest`. Earlier versions did not keep it.
    :param reported_with: the same, of the key that was in use when a person was told.
    :param earlier_id: the image task of the latest generation before this one that had one.
    :param nonce: part of its key; see ``SubmissionSlot.identity``.
    :param older_ids: the image tasks of the generations before that one, the latest first.
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
    key_digest: str | None = None
    reported_with: str | None = None
    nonce: str = ""
    earlier_id: str | None = None
    older_ids: list[str] = field(default_factory=list)

    @property
    def earlier_ids(self) -> list[str]:
        """The image tasks of earlier generations, the latest first."""
        return [self.earlier_id, *self.older_ids] if self.earlier_id else self.older_ids

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON, with the version of its form."""
        return {"version": VERSION, **asdict(self)}


def read_record(value: Any) -> SubmissionRecord:
    """Return the record that a store holds.

    :raises ValueError: it is not one, so that nothing can be said of an earlier submission.
    """
    return read_stored(SubmissionRecord, value, "a record of a submission")


def read_stored(kind: type[Stored], value: Any, what: str) -> Stored:
    """Return a dataclass from what was stored of it as JSON; what a later version added is left out.

    :param what: what the message calls it.
    :raises ValueError: a field is missing, or of another type.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is {type(value).__name__}, not an object")
    types = _types_of(cast(Hashable, kind))
    stored = {name: value[name] for name in types if name in value}
    for name, entry in stored.items():
        if not _is_of(entry, types[name]):
            raise ValueError(f"{what} is damaged: its {name} is {str(entry)[:40]!r}")
    try:
        return kind(**stored)
    except TypeError as error:
        raise ValueError(f"{what} is incomplete: {error}") from error


@cache
def _types_of(kind: Hashable) -> dict[str, set[Any]]:
    """Return the classes that each field of a dataclass may be of."""
    hints = get_type_hints(kind)
    choices = {name: get_args(hint) if isinstance(hint, UnionType) else (hint,) for name, hint in hints.items()}
    return {name: {get_origin(each) or each for each in choices[name]} for name in choices}


def _is_of(value: Any, classes: set[Any]) -> bool:
    if isinstance(value, bool):
        return bool in classes
    if isinstance(value, int | float):
        # JSON of Python knows numbers that are none.
        return bool({float, type(value)} & classes) and math.isfinite(value)
    return isinstance(value, tuple(classes))


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


def key_digest(account: Account, salt: str) -> str:
    """Return eight hexadecimal digits by which a different API key is noticed; too few to find out the key by trying.

    :param salt: names the submission, so that the same key has other digits elsewhere.
    """
    return hashlib.sha256("\0".join((salt, account.key or "")).encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _input(image: str | ImageFile) -> str:
    if isinstance(image, ImageFile):
        return f"sha256:{hashlib.sha256(image.content).hexdigest()}"
    return urlunsplit(urlsplit(image)._replace(query="", fragment=""))
