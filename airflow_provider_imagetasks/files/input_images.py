"""Reads the files that an edit starts from, and checks them before anything is billed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import IO

from airflow_provider_imagetasks.exceptions import InvalidRequestError, without_signatures
from airflow_provider_imagetasks.files.object_storage import open_folder, shown_path
from airflow_provider_imagetasks.files.opening import open_file, open_without_links
from airflow_provider_imagetasks.files.picture_structure import UnusablePictureError
from airflow_provider_imagetasks.files.pictures import Picture, inspect_picture
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest

LARGEST_BYTES = 50 * 1024 * 1024
LARGEST_MASK_BYTES = 4 * 1024 * 1024
_WEB_SCHEMES = ("http", "https")
_LOCAL_SCHEMES = ("", "file")


def with_files_read(request: ImageRequest, *, real_paths_only: bool = False) -> ImageRequest:
    """Return the request with the files that ``images`` and ``mask`` name in place of their paths; URLs stay.

    :param real_paths_only: refuse a local path on which there is a link: what was checked when the path was resolved
        would not hold for what is opened.
    :raises InvalidRequestError: a file cannot be read, is not a picture, or is too large; or the mask does not fit.
    """
    if not request.images:
        return request
    images, first = [], None
    for reference in request.images:
        if not isinstance(reference, str) or scheme_of(reference) in _WEB_SCHEMES:
            images.append(reference)
            continue
        file, picture = _read("images", reference, LARGEST_BYTES, real_paths_only)
        images.append(file)
        first = first or picture
    mask = request.mask
    if isinstance(mask, str) and scheme_of(mask) not in _WEB_SCHEMES:
        mask, shape = _read("mask", mask, LARGEST_MASK_BYTES, real_paths_only)
        _require_fitting_mask(mask, shape, first)
    return replace(request, images=images, mask=mask)


def scheme_of(reference: str) -> str:
    """Return the scheme of a URL or a path in lower case; nothing for a path without."""
    scheme, separator, _ = reference.partition("://")
    return scheme.lower() if separator else ""


def local_path(reference: str) -> str | None:
    """Return the absolute path of a file on this machine, with ``file://`` or without; None for anything else.

    What is returned is what is opened: nothing in it has a meaning of its own, as ``::`` would have for ``fsspec``.
    """
    scheme = scheme_of(reference)
    path = reference.partition("://")[2] if scheme else reference
    return path if scheme in _LOCAL_SCHEMES and path.startswith("/") else None


def _read(name: str, reference: str, largest: int, real_paths_only: bool) -> tuple[ImageFile, Picture]:
    # It may be a URL with a misspelled scheme.
    shown = shown_path(reference)
    if scheme_of(reference) in _LOCAL_SCHEMES and local_path(reference) is None:
        raise InvalidRequestError(f"{name} holds {shown!r}; give a URL, or the absolute path of a file")
    try:
        file, size = _opened(name, reference, real_paths_only)
        with file:
            if size > largest:
                raise InvalidRequestError(f"{name} holds {shown!r}, which has {size:,} bytes, more than {largest:,}")
            # It may grow meanwhile.
            content = file.read(largest)
        picture = inspect_picture(content)
    except InvalidRequestError:
        raise
    except UnusablePictureError as error:
        raise InvalidRequestError(f"{name} holds {shown!r}, which cannot be used: {error}") from error
    except (OSError, ValueError, ImportError, AttributeError) as error:
        raise InvalidRequestError(
            f"{name} holds {shown!r}, which cannot be read: {without_signatures(str(error))}"
        ) from error
    except Exception as error:
        # Each library for object storage has errors of its own, which do not tell what lasts.
        raise InvalidRequestError(
            f"{name} could not be read ({type(error).__name__}: {without_signatures(str(error))[:200]})",
            retryable=True,
            retry_advice="Nothing was submitted; a retry reads it again.",
        ) from error
    # The file's own name may tell more of a company than a service needs to know.
    return ImageFile(name=f"{name}.{picture.extension}", media_type=picture.media_type, content=content), picture


def _opened(name: str, reference: str, real_paths_only: bool) -> tuple[IO[bytes], int]:
    """Open a file, and return it with its size in bytes."""
    path = local_path(reference)
    if path is None:
        found = open_folder(reference, name=name)
        size = int(found.fs.size(found.path) or 0)
        return found.fs.open(found.path, "rb"), size
    file = open_without_links(Path(path)) if real_paths_only else open_file(path)
    return file, os.fstat(file.fileno()).st_size


def _require_fitting_mask(mask: ImageFile, shape: Picture, first: Picture | None) -> None:
    if shape.extension != "png" or not shape.has_alpha:
        raise InvalidRequestError(f"mask is {mask.media_type}; it must be a PNG that is transparent where to edit")
    if first is not None and (shape.width, shape.height) != (first.width, first.height):
        raise InvalidRequestError(
            f"mask has {shape.width} x {shape.height} pixels, but the first image has {first.width} x {first.height}"
        )
