"""Results that are files on an MCP server's own disk, read through a folder that the workers share with it."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import IO

from airflow_provider_imagetasks.exceptions import DownloadError, UnsafeResultError
from airflow_provider_imagetasks.files.opening import LinkFoundError, NoFileError, open_without_links
from airflow_provider_imagetasks.files.pictures import LARGEST_BYTES
from airflow_provider_imagetasks.services.account import Account

_PIECE = 1024 * 1024


def fetch_shared(path: str, target: Path, account: Account) -> None:
    """Copy a result from the shared folder. What is checked is the very file that is copied.

    :param path: as the server shows it, its home folder as ``~``.
    :raises DownloadError: it is not there, or the folder is not reachable from here.
    :raises UnsafeResultError: it lies outside the server's output folder, by its name or through a link, or is no file
        or too large.
    """
    if account.output_dir is None:
        raise DownloadError(
            f"The picture is the file {path} on the server, but connection {account.conn_id!r} does not say where its "
            "folder is on this machine: set the extra fields 'output_dir' and, if the folder has another name here, "
            "'path_map'",
            retryable=False,
            retry_advice="Set them, then Clear the task; nothing is paid for again.",
        )
    folder = PurePosixPath(account.output_dir)
    named = _named(path, folder)
    if named is None:
        raise UnsafeResultError(
            f"The server names the result {path}, which is outside of its output_dir {account.output_dir}; such files "
            "are not read. If the server writes to another folder, set output_dir to that folder"
        )
    here = Path(_mapped(str(folder), account))
    found = here / named.relative_to(folder)
    if not here.is_dir():
        raise DownloadError(
            f"The server's output_dir {account.output_dir} is not available here: there is no folder {here}. The "
            f"picture is the file {named} on the server's disk. Mount that folder on every worker, and if its path "
            "differs, set it in the extra field 'path_map'"
        )
    root, real = Path(os.path.realpath(here)), Path(os.path.realpath(found))
    if not real.is_relative_to(root):
        raise UnsafeResultError(f"The result {found} leads out of {here} by a link; such files are not read")
    try:
        with open_without_links(real) as file:
            _copy(file, target, f"The result {found}")
    except (FileNotFoundError, NotADirectoryError):
        raise DownloadError(
            f"The server says that it wrote {named}, but there is no such file in {here} here. Was it removed, or is "
            "another folder mounted there?"
        ) from None
    except LinkFoundError:
        raise UnsafeResultError(
            f"The path of the result {found} is a circular link, or became a link while it was read; such files are "
            "not read"
        ) from None
    except NoFileError:
        raise UnsafeResultError(f"The result {found} is not a file") from None


def _copy(file: IO[bytes], target: Path, what: str) -> None:
    """Copy an open file, which may grow meanwhile, as long as it is not too large."""
    left = LARGEST_BYTES
    if os.fstat(file.fileno()).st_size <= left:
        with target.open("wb") as copy:
            while left >= 0 and (piece := file.read(_PIECE)):
                left -= len(piece)
                copy.write(piece)
            if left >= 0:
                return
    raise UnsafeResultError(f"{what} has more than {LARGEST_BYTES:,} bytes")


def _named(path: str, folder: PurePosixPath) -> PurePosixPath | None:
    """Return the full path of a result in the server's output folder, None for one that lies elsewhere."""
    candidates = [path]
    if path.startswith("~"):
        # The server shows its home folder as "~", and does not say which that is: one of those above its folder.
        homes = (*folder.parents, folder)
        candidates = [f"{home}{path[1:]}".replace("//", "/") for home in homes]
    for candidate in candidates:
        named = PurePosixPath(candidate)
        if named.is_absolute() and ".." not in named.parts and named != folder and named.is_relative_to(folder):
            return named
    return None


def _mapped(folder: str, account: Account) -> str:
    """Return where a folder of the server is found here, by the longest prefix that the connection maps."""
    for theirs, ours in sorted(account.path_map, key=lambda pair: len(pair[0]), reverse=True):
        if folder == theirs or folder.startswith(f"{theirs}/"):
            return ours + folder[len(theirs) :]
    return folder
