"""Puts verified files in place on any ``ObjectStoragePath``: the final name appears in one step, complete."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import ObjectStoragePath
from airflow.sdk.io.fs import has_fs
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_imagetasks.exceptions import DownloadError, InvalidRequestError
from airflow_provider_imagetasks.tasks import require_sendable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_LOCAL_SCHEMES = ("", "file", "local")
_APPEAR_WHEN_COMPLETE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl", "az", "wasb", "oss"})
"""Object stores, where an object exists only once its upload is complete."""


def open_folder(output_path: str) -> ObjectStoragePath:
    """Return the folder, after reaching for its filesystem. Nothing is written.

    :raises InvalidRequestError: ``output_path`` is empty or relative, or no installed provider knows its scheme.
    """
    given = (output_path or "").strip()
    if not given or given == "None":
        raise InvalidRequestError(
            "output_path is empty; give a folder, like s3://bucket/pictures/ or file:///data/pictures"
        )
    require_sendable("output_path", given)
    scheme = given.partition("://")[0] if "://" in given else ""
    if scheme in _LOCAL_SCHEMES and not given.removeprefix(f"{scheme}://").startswith("/"):
        raise InvalidRequestError(
            f"output_path is {given!r}; a folder on the worker's own disk must be absolute, like file:///data/pictures"
        )
    if scheme and "::" in given:
        raise InvalidRequestError(
            f"output_path is {given!r}; it must not hold '::', behind which another path begins: a folder of another "
            "name would be used"
        )
    try:
        folder = ObjectStoragePath(given)
        folder.fs  # noqa: B018 - finds the provider of its scheme
    except (ValueError, ImportError, AttributeError) as error:
        raise _unusable(given, scheme, str(error)) from error
    return folder


def require_known_scheme(output_path: object) -> None:
    """Refuse a folder whose scheme no installed provider knows, as early as when a Dag is read.

    :param output_path: not yet rendered; only a scheme that stands there literally can be judged.
    :raises InvalidRequestError: no provider knows it.
    """
    scheme, separator, _ = str(output_path).partition("://")
    if not separator or not scheme.replace("+", "").isalnum() or scheme in _LOCAL_SCHEMES or has_fs(scheme):
        return
    raise _unusable(str(output_path), scheme, "no filesystem is registered for it")


def _unusable(output_path: str, scheme: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"output_path is {output_path!r}, and its filesystem cannot be used here ({reason}). Install the provider for "
        f"{scheme}:// where workers run and Dags are read (amazon for s3, google for gs, microsoft.azure for abfs)"
    )


def uri_of(path: ObjectStoragePath) -> str:
    """Return the path as a URI; local ones with ``file://``."""
    return f"file://{path.path}" if (path.protocol or "") in _LOCAL_SCHEMES else str(path)


def put_in_place(source: bytes | Path, target: ObjectStoragePath, *, replaces: bool = True) -> None:
    """Write content, or a copy of a local file, to ``target``, which appears complete or not at all.

    :param replaces: whether it replaces what is there; False only as far as the filesystem can see to that in one step.
    :raises FileExistsError: it does not.
    :raises DownloadError: it could not be written; nothing incomplete stays under the final name.
    """
    filesystem = target.fs
    try:
        if (target.protocol or "") in _APPEAR_WHEN_COMPLETE:
            if replaces or not _created(filesystem, source, target.path):
                _write(filesystem, source, target.path)
            return
        folder, _, name = target.path.rpartition("/")
        partial = f"{folder}/.{name}.{secrets.token_hex(4)}.part"
        filesystem.makedirs(folder, exist_ok=True)
        try:
            _write(filesystem, source, partial)
            if replaces or not _linked(filesystem, partial, target.path):
                filesystem.mv(partial, target.path)
        except BaseException:
            with contextlib.suppress(Exception):
                filesystem.rm_file(partial)
            raise
    except Exception as error:
        if isinstance(error, FileExistsError) and not replaces:
            raise
        raise DownloadError(f"The picture could not be written to {uri_of(target)}: {error}") from error


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
    """Copy what is at ``path`` to a local file; return False where there is nothing.

    :raises DownloadError: the filesystem does not answer.
    """
    return _fetch(path.fs, path.path, target, uri_of(path))


def fetch_those_there(folder: ObjectStoragePath, names: Iterable[str], target: Path) -> Iterator[str]:
    """Copy one file of a folder after the other to the same local file, and yield the names of those that are there.

    :raises DownloadError: the filesystem does not answer.
    """
    # A path object for each name would cost more than to ask a local disk for it.
    filesystem, path, uri = folder.fs, folder.path.rstrip("/"), uri_of(folder).rstrip("/")
    for name in names:
        if _fetch(filesystem, f"{path}/{name}", target, f"{uri}/{name}"):
            yield name


def is_missing(folder: ObjectStoragePath) -> bool:
    """Whether a folder is certainly not there; a filesystem that does not answer leaves that open."""
    try:
        return not folder.fs.exists(folder.path)
    except Exception:  # noqa: BLE001 - whoever reads or writes there next says what is wrong
        return False


def _fetch(filesystem: AbstractFileSystem, path: str, target: Path, uri: str) -> bool:
    try:
        if not filesystem.isfile(path):
            return False
        filesystem.get_file(path, str(target))
    except FileNotFoundError:
        return False
    except Exception as error:
        raise DownloadError(f"{uri} could not be read: {error}") from error
    return True
