"""One row of a batch: what a request may hold, checked before anything is billed. Rows are data, never trusted."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError, without_signatures
from airflow_provider_imagetasks.files.input_images import local_path, scheme_of, with_files_read
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.bounds import bounded_error, trace_of
from airflow_provider_imagetasks.tasks import ImageRequest, require_sendable, told

_log = logging.getLogger(__name__)
FIELDS = ("prompt", "model", "options", "images", "mask", "id")
LONGEST_ID = 200
_WEB_SCHEMES = frozenset({"http", "https"})
_LOCAL_SCHEMES = frozenset({"", "file"})
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl", "az", "wasb", "oss"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One request of a batch, by the id that the user gave it; None where it has none."""

    request: ImageRequest
    id: str | None = None

    def as_json(self, index: int) -> dict[str, Any]:
        """Return the row as it is frozen, with its position in the batch, from 0."""
        request = self.request
        asked = {"prompt": request.prompt, "model": request.model, "options": dict(request.options)}
        return {"index": index, "id": self.id, **asked, "images": list(request.images), "mask": request.mask}


def frozen_request(value: Mapping[str, Any]) -> ImageRequest:
    """Return the request of a row that was frozen, which was checked then."""
    images, options = tuple(value.get("images") or ()), value.get("options") or {}
    return ImageRequest(
        prompt=value["prompt"], model=value.get("model"), options=options, images=images, mask=value.get("mask")
    )


def sendable_request(request: ImageRequest, service: Service, account: Account) -> ImageRequest:
    """Return a row's request as it is sent, with the files that it names.

    :raises InvalidRequestError: a file cannot be read or used, or the service cannot do it. Nothing was billed; where
        the storage failed in a way of its own, a retry reads it again.
    """
    try:
        return service.complete(with_files_read(request, real_paths_only=True), account)
    except ImageTaskError:
        raise
    except Exception as error:
        _log.warning("A row's request could not be prepared, because of an unexpected error:\n%s", trace_of(error))
        raise InvalidRequestError(
            f"images or mask could not be read ({type(error).__name__}: {without_signatures(str(error))[:200]})",
            retryable=True,
            retry_advice="Nothing was submitted; a retry reads them again.",
        ) from error


def read_row(value: Any, *, model: str | None, options: Mapping[str, Any], files_below: str | None) -> Row:
    """Check a row.

    :param value: a prompt, or a request with some of ``FIELDS``.
    :param model: for a row that names none.
    :param options: those of the row come on top.
    :param files_below: the local folder that rows may name files in; None where they may name none.
    :raises InvalidRequestError: says what is wrong with it.
    """
    if isinstance(value, str):
        value = {"prompt": value}
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"a request is an object with a prompt, not {type(value).__name__}")
    unknown = sorted(ascii(name)[:80] for name in value if name not in FIELDS)
    if unknown:
        raise InvalidRequestError(
            f"it holds {', '.join(unknown[:10])}; a request may hold {', '.join(FIELDS)}, and further fields for the "
            "service inside options"
        )
    own = value.get("options")
    if own is not None and not isinstance(own, Mapping):
        raise InvalidRequestError(f"options must be an object, not {type(own).__name__}")
    images, mask, own_model = value.get("images"), value.get("mask"), value.get("model")
    request = ImageRequest(
        prompt=value.get("prompt"),
        model=model if own_model is None or own_model == "" else own_model,
        options={**options, **(own or {})},
        # Only null leaves them out: what was to be an edit is not paid for as a picture from its text alone.
        images=tuple(images) if isinstance(images, list | tuple) else () if images is None else images,
        mask=mask,
    )
    if request.is_edit or mask is not None:
        request = replace(
            request,
            images=tuple(_checked_reference(image, files_below) for image in request.images),
            mask=_checked_reference(mask, files_below) if mask is not None else None,
        )
    return Row(request=request, id=_row_id(value.get("id")))


def refusal_of_row(error: Exception, *, is_logged: bool) -> InvalidRequestError:
    """Return why a row cannot be asked for, whatever was raised; bounded, since it may repeat what the row holds.

    :param is_logged: whether an error that nobody foresaw is.
    :raises ImageTaskError: it is about more than the row.
    """
    if isinstance(error, ImageTaskError) and not isinstance(error, InvalidRequestError):
        raise error
    if not isinstance(error, InvalidRequestError):
        if is_logged:
            _log.warning("A row could not be checked, because of an unexpected error:\n%s", trace_of(error))
        error = InvalidRequestError(f"it could not be checked ({type(error).__name__}; the log has the whole error)")
    bounded_error(error)
    return error


def _row_id(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidRequestError(f"id is {told(value)}; it must be text or a whole number")
    text = str(value).strip()
    require_sendable("id", text)
    if not text or len(text) > LONGEST_ID:
        raise InvalidRequestError(f"id must have 1 to {LONGEST_ID} characters")
    return text


def _checked_reference(reference: Any, files_below: str | None) -> str:
    """Return a reference that lets a row read no file of the worker, and through no connection of its choice.

    A file of this machine is returned as the path that it really has, wherever links lead.
    """
    text = str(reference)
    scheme = scheme_of(text)
    if scheme in _WEB_SCHEMES:
        return text
    if scheme not in _LOCAL_SCHEMES | _OBJECT_STORES:
        raise InvalidRequestError(
            f"images and mask of a row may be http(s) URLs, paths on object storage, or files; not {scheme[:40]!r}"
        )
    if "::" in text:
        raise InvalidRequestError("images and mask of a row may not hold '::', which leads from one place to another")
    if scheme in _OBJECT_STORES:
        if "@" in text.partition("://")[2].partition("/")[0]:
            raise InvalidRequestError("images and mask of a row may not name a connection")
        return text
    path = local_path(text)
    real = os.path.realpath(path) if path is not None else None
    if files_below is None or real is None or not _is_below(real, os.path.realpath(files_below)):
        allowed = f"below {files_below}, where requests_path is" if files_below else "where requests_path is local"
        raise InvalidRequestError(f"images and mask of a row may name files only by absolute path, and only {allowed}")
    return real


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath((path, folder)) == folder
