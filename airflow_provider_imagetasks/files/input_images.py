"""Reads the files that an edit starts from, and checks them before anything is billed."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.files.picture_structure import UnusablePictureError
from airflow_provider_imagetasks.files.pictures import Picture, inspect_picture
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest

LARGEST_BYTES = 50 * 1024 * 1024
LARGEST_MASK_BYTES = 4 * 1024 * 1024
_WEB_SCHEMES = ("http", "https")


def with_files_read(request: ImageRequest) -> ImageRequest:
    """Return the request with the files that ``images`` and ``mask`` name in place of their paths; URLs stay.

    :raises InvalidRequestError: a file cannot be read, is not a picture, or is too large; or the mask does not fit.
    """
    if not request.images:
        return request
    with tempfile.TemporaryDirectory(prefix="imagetasks-") as scratch:
        copy = Path(scratch) / "picture"
        images, first = [], None
        for reference in request.images:
            if not isinstance(reference, str) or _scheme(reference) in _WEB_SCHEMES:
                images.append(reference)
                continue
            file, picture = _read("images", reference, LARGEST_BYTES, copy)
            images.append(file)
            first = first or picture
        mask = request.mask
        if isinstance(mask, str) and _scheme(mask) not in _WEB_SCHEMES:
            mask, shape = _read("mask", mask, LARGEST_MASK_BYTES, copy)
            _require_fitting_mask(mask, shape, first)
    return replace(request, images=images, mask=mask)


def _scheme(reference: str) -> str:
    scheme, separator, _ = reference.partition("://")
    return scheme.lower() if separator else ""


def _read(name: str, reference: str, largest: int, copy: Path) -> tuple[ImageFile, Picture]:
    if not _scheme(reference) and not reference.startswith("/"):
        raise InvalidRequestError(f"{name} holds {reference!r}; give a URL, or the absolute path of a file")
    try:
        path = ObjectStoragePath(reference)
        size = int(path.fs.size(path.path) or 0)
        if size > largest:
            raise InvalidRequestError(f"{name} holds {reference!r}, which has {size:,} bytes, more than {largest:,}")
        path.fs.get_file(path.path, str(copy))
        picture = inspect_picture(copy)
        content = copy.read_bytes()
    except UnusablePictureError as error:
        raise InvalidRequestError(f"{name} holds {reference!r}, which cannot be used: {error}") from error
    except (OSError, ValueError, ImportError, AttributeError) as error:
        raise InvalidRequestError(f"{name} holds {reference!r}, which cannot be read: {error}") from error
    # The file's own name may tell more of a company than a service needs to know.
    return ImageFile(name=f"{name}.{picture.extension}", media_type=picture.media_type, content=content), picture


def _require_fitting_mask(mask: ImageFile, shape: Picture, first: Picture | None) -> None:
    if shape.extension != "png" or not shape.has_alpha:
        raise InvalidRequestError(f"mask is {mask.media_type}; it must be a PNG with transparency where to edit")
    if first is not None and (shape.width, shape.height) != (first.width, first.height):
        raise InvalidRequestError(
            f"mask has {shape.width} x {shape.height} pixels, but the first of images {first.width} x {first.height}"
        )
