"""Puts verified files in place on any ``ObjectStoragePath``: the final name appears in one step, complete."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from inspect import signature
from pathlib import Path

from airflow.providers.common.compat.sdk import ObjectStoragePath
from airflow.sdk.io.fs import has_fs
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_imagetasks.exceptions import DownloadError, InvalidRequestError, without_signatures
from airflow_provider_imagetasks.tasks import require_sendable

_LOCAL_SCHEMES = ("", "file", "local")
_APPEAR_WHEN_COMPLETE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl", "az", "wasb", "oss"})
"""Object stores, where an object exists only once its upload is complete."""


def open_folder(output_path: str, *, name: str = "output_path") -> ObjectStoragePath:
    """Return the folder, or the file, after reaching for its filesystem. Nothing is written.

    :param name: what a message calls the path.
    :raises InvalidRequestError: it is empty or relative, no installed provider knows its scheme, or its filesystem
        cannot be had; where that may pass, a retry looks again.
    """
    given = (output_path or "").strip()
    if not given or given == "None":
        raise InvalidRequestError(f"{name} is empty; give {_like(name)}")
    require_sendable(name, given)
    scheme = given.partition("://")[0] if "://" in given else ""
    if scheme in _LOCAL_SCHEMES and not given.removeprefix(f"{scheme}://").startswith("/"):
        raise InvalidRequestError(
            f"{name} is {shown_path(given)!r}; on the worker's own disk it must be absolute, like file:///data/pictures"
        )
    if scheme and "::" in given:
        raise InvalidRequestError(
            f"{name} is {shown_path(given)!r}; it must not contain '::', because that starts another path, so "
            "another place would be used"
        )
    try:
        folder = ObjectStoragePath(given)
        folder.fs  # noqa: B018 - finds the provider of its scheme
    except (ValueError, ImportError, AttributeError):
        # Not why, which may show the whole path.
        raise _unusable(name, given, scheme) from None
    except Exception as error:  # noqa: BLE001 - each provider has errors of its own
        # As where its connection cannot be looked up.
        raise InvalidRequestError(
            f"{name} is {shown_path(given)!r}, whose filesystem cannot be opened ({type(error).__name__}). Is there a "
            "connection with the id before the '@', or the provider's default connection, and is its key valid?",
            retryable=True,
            retry_advice="A retry looks again.",
        ) from None
    return folder


def require_known_scheme(output_path: object) -> None:
    """Refuse a path whose scheme no installed provider knows, as early as when a Dag is read.

    :param output_path: not yet rendered; only a scheme that stands there literally can be judged.
    :raises InvalidRequestError: no provider knows it.
    """
    scheme, separator, _ = str(output_path).partition("://")
    if not separator or not scheme.replace("+", "").isalnum() or scheme in _LOCAL_SCHEMES or has_fs(scheme):
        return
    raise _unusable("output_path", str(output_path), scheme)


def shown_path(path: str) -> str:
    """Return a path as a message may show it: without a password, and of a signed address without its query."""
    # As one word, since a password may have blanks and quotation marks in it.
    return without_signatures(re.sub(r"[\s\"'<>]", "_", path))[:300]


def _like(name: str) -> str:
    return "a file, like s3://bucket/rows.jsonl" if name == "requests_path" else "a folder, like s3://bucket/pictures/"


def _unusable(name: str, path: str, scheme: str) -> InvalidRequestError:
    if scheme.lower() in ("http", "https"):
        problem = "a web address and no filesystem. Put it on object storage, or on the worker's own disk"
    else:
        problem = (
            "whose filesystem cannot be used here. Install the provider for its scheme where workers run and Dags are "
            "read (amazon for s3, google for gs, microsoft.azure for abfs)"
        )
    return InvalidRequestError(f"{name} is {shown_path(path)!r}, {problem}")


def uri_of(path: ObjectStoragePath, name: str = "") -> str:
    """Return the path, or that of a file in it, as a URI; local ones with ``file://``."""
    uri = f"file://{path.path}" if (path.protocol or "") in _LOCAL_SCHEMES else str(path)
    return f"{uri.rstrip('/')}/{name}" if name else uri


def put_in_place(source: bytes | Path, target: ObjectStoragePath, name: str = "", *, replaces: bool = True) -> None:
    """Write content, or a copy of a local file, to ``target``, which appears complete or not at all.

    :param name: of the file, where ``target`` is its folder: to make a path object costs as much as to write a picture.
    :param replaces: whether it replaces what is there; False only as far as the filesystem can see to that in one step.
    :raises FileExistsError: it does not.
    :raises DownloadError: it could not be written; nothing incomplete stays under the final name.
    """
    filesystem, path = target.fs, f"{target.path.rstrip('/')}/{name}" if name else target.path
    try:
        if (target.protocol or "") in _APPEAR_WHEN_COMPLETE:
            if replaces or not _created(filesystem, source, path):
                _write(filesystem, source, path)
            return
        folder, _, name = path.rpartition("/")
        partial = f"{folder}/.{name}.{secrets.token_hex(4)}.part"
        # What to make a path object costs, and to make a folder that is there, each picture would pay.
        if not (isinstance(filesystem, LocalFileSystem) and os.path.isdir(folder)):  # noqa: PTH112
            filesystem.makedirs(folder, exist_ok=True)
        try:
            _write(filesystem, source, partial)
            if replaces or not _linked(filesystem, partial, path):
                _move(filesystem, partial, path)
        except BaseException:
            with contextlib.suppress(Exception):
                filesystem.rm_file(partial)
            raise
    except Exception as error:
        if isinstance(error, FileExistsError) and not replaces:
            raise
        raise DownloadError(f"The picture could not be written to {uri_of(target, name)}: {error}") from error


def _created(filesystem: AbstractFileSystem, source: bytes | Path, path: str) -> bool:
    """Write an object unless there is one; return False where the object store does not offer that."""
    offers = "mode" in signature(getattr(filesystem, "_pipe_file", filesystem.pipe_file)).parameters
    try:
        if offers:
            filesystem.pipe_file(path, source if isinstance(source, bytes) else source.read_bytes(), mode="create")
    except FileExistsError:
        raise
    except Exception:  # noqa: BLE001 - its server knows no conditions; anything else fails without one as well
        return False
    return offers


def _move(filesystem: AbstractFileSystem, partial: str, path: str) -> None:
    if isinstance(filesystem, LocalFileSystem):
        os.replace(partial, path)  # noqa: PTH105
    elif type(filesystem).mv is AbstractFileSystem.mv:
        # Which copies and removes, and would take a bracket or an asterisk in a name for a pattern.
        filesystem.cp_file(partial, path)
        filesystem.rm_file(partial)
    else:
        filesystem.mv(partial, path)


def _linked(filesystem: AbstractFileSystem, partial: str, path: str) -> bool:
    """Give a complete local file its name unless one has it; return False where there are no such links."""
    if not isinstance(filesystem, LocalFileSystem):
        return False
    try:
        filesystem.link(partial, path)
    except FileExistsError:
        raise
    except OSError:
        return False
    filesystem.rm_file(partial)
    return True


def _write(filesystem: AbstractFileSystem, source: bytes | Path, path: str) -> None:
    if isinstance(source, bytes):
        filesystem.pipe_file(path, source)
    else:
        filesystem.put_file(str(source), path)


def fetch_existing(path: ObjectStoragePath, target: Path) -> bool:
    """Copy what is at ``path`` to a local file; return False where there is certainly nothing.

    :raises DownloadError: the filesystem does not answer, or lets nobody look.
    """
    try:
        return _is_there(path.fs, path.path) and _fetch(path.fs, path.path, target)
    except Exception as error:
        raise DownloadError(f"{uri_of(path)} could not be read: {error}") from error


def fetch_those_there(folder: ObjectStoragePath, names: Iterable[str], target: Path) -> Iterator[str]:
    """Copy one file of a folder after the other to the same local file, and yield the names of those that are there.

    One that nobody may look for counts as not there.

    :raises DownloadError: one that is there cannot be read.
    """
    # A path object for each name would cost more than to ask a local disk for it.
    filesystem, path = folder.fs, folder.path.rstrip("/")
    for name in names:
        try:
            is_there = filesystem.isfile(f"{path}/{name}") and _fetch(filesystem, f"{path}/{name}", target)
        except Exception as error:
            raise DownloadError(f"{uri_of(folder, name)} could not be read: {error}") from error
        if is_there:
            yield name


def is_missing(folder: ObjectStoragePath) -> bool:
    """Whether a folder is certainly not there; a filesystem that does not answer leaves that open."""
    try:
        folder.fs.info(folder.path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except Exception:  # noqa: BLE001 - whoever reads or writes there next says what is wrong
        return False
    return False


def _is_there(filesystem: AbstractFileSystem, path: str) -> bool:
    """Whether there is a file; what filesystems call ``isfile`` takes every failure for a no."""
    try:
        return bool(filesystem.info(path)["type"] == "file")
    except (FileNotFoundError, NotADirectoryError):
        return False


def _fetch(filesystem: AbstractFileSystem, path: str, target: Path) -> bool:
    try:
        filesystem.get_file(path, str(target))
    except FileNotFoundError:
        return False
    return True
