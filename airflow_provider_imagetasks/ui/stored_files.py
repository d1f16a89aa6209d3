"""Files under the gallery's roots: read within bounds; on the api-server's own disk no link leads out of a root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from airflow_provider_imagetasks.files.opening import (
    LinkFoundError,
    NoFileError,
    names_without_links,
    open_without_links,
)
from airflow_provider_imagetasks.ui.roots import Location

MOST_NAMES = 100_000


class OutOfReachError(Exception):
    """A file cannot be read. Its text is a word for the browser: ``missing``, ``unreadable``, or ``outside`` a root."""


@contextmanager
def opened(location: Location) -> Iterator[tuple[IO[bytes], int]]:
    """Open a file and yield it with its size in bytes.

    :raises OutOfReachError: it is not there, is no file, leads out of its root, or the storage does not answer.
    """
    try:
        with _in_reach():
            file, size = _open_local(location) if location.is_local else _open_remote(location)
    except FileNotFoundError as error:
        raise OutOfReachError("missing") from error
    with file:
        yield file, size


def names_in(folder: Location) -> list[str]:
    """Return the names of the files in a folder, sorted; none where it does not exist.

    :raises OutOfReachError: the storage does not answer.
    """
    try:
        with _in_reach():
            if folder.is_local:
                return names_without_links(_real_path(folder), MOST_NAMES)
            path = _remote(folder)
            # What a listing kept would hide the files that came since.
            path.fs.invalidate_cache()
            return sorted(PurePosixPath(name).name for name in path.fs.ls(path.path, detail=False)[:MOST_NAMES])
    except (FileNotFoundError, LinkFoundError):
        return []


@contextmanager
def _in_reach() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, LinkFoundError, OutOfReachError):
        raise
    except Exception as error:
        # Each storage's library has errors of its own.
        raise OutOfReachError("unreadable") from error


def _open_local(location: Location) -> tuple[IO[bytes], int]:
    try:
        file = open_without_links(_real_path(location))
    except (LinkFoundError, NoFileError) as error:
        raise OutOfReachError("missing") from error
    return file, os.fstat(file.fileno()).st_size


def _real_path(location: Location) -> Path:
    """Return the path with its links followed, provided that it is still under the root with its links followed."""
    path, root = Path(location.path).resolve(), Path(location.root or "/").resolve()
    if not path.is_relative_to(root):
        raise OutOfReachError("missing")
    return path


def _open_remote(location: Location) -> tuple[IO[bytes], int]:
    path = _remote(location)
    size = int(path.fs.info(path.path)["size"] or 0)
    return path.fs.open(path.path, "rb"), size


def _remote(location: Location):  # type: ignore[no-untyped-def]
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return ObjectStoragePath(location.uri)
