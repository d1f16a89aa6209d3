"""Opens a local file such that what was checked is what is read, whoever may rename and link on its path meanwhile."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import IO

# Whoever opens a pipe would wait until somebody writes into it.
_FILE = os.O_RDONLY | os.O_NONBLOCK
_LISTED = os.O_RDONLY | os.O_DIRECTORY
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | getattr(os, "O_PATH", os.O_RDONLY)


class LinkFoundError(OSError):
    """There is a link on a path that had none when it was resolved."""


class NoFileError(OSError):
    """What is there is no regular file: a folder, a pipe, a device."""


def open_file(path: str) -> IO[bytes]:
    """Open a regular file for reading, wherever links lead.

    :raises NoFileError: it is none.
    :raises OSError: it cannot be opened.
    """
    return _regular(os.open(path, _FILE))


def open_without_links(path: Path) -> IO[bytes]:
    """Open a file by a path that was resolved, folder by folder, none of which may have become a link since then.

    :param path: absolute, without links.
    :raises LinkFoundError: there is one by now.
    :raises NoFileError: it is no regular file.
    :raises OSError: it cannot be opened.
    """
    with ExitStack() as opened:
        folder: int | None = None
        for place in (path.anchor, *path.parts[1:-1]):
            folder = _opened(place, folder, _FOLDER)
            opened.callback(os.close, folder)
        return _regular(_opened(path.name, folder, _FILE | os.O_NOFOLLOW))


def names_without_links(folder: Path, most: int) -> list[str]:
    """Return the names in a folder by a path that was resolved, no part of which may have become a link since then.

    :param folder: absolute, without links.
    :param most: names.
    :raises LinkFoundError: there is one by now.
    :raises OSError: it cannot be opened.
    """
    with ExitStack() as opened:
        above: int | None = None
        for place in (folder.anchor, *folder.parts[1:]):
            above = _opened(place, above, _FOLDER)
            opened.callback(os.close, above)
        listed = _opened(".", above, _LISTED)
        opened.callback(os.close, listed)
        with os.scandir(listed) as entries:
            return sorted(entry.name for entry, _ in zip(entries, range(most), strict=False))


def _opened(place: str, folder: int | None, flags: int) -> int:
    try:
        return os.open(place, flags, dir_fd=folder)
    except OSError as error:
        # Of a link in a folder's place systems say that it is no folder.
        if error.errno == errno.ELOOP or (error.errno == errno.ENOTDIR and _is_link(place, folder)):
            raise LinkFoundError("there is now a link on this path that was not there before") from None
        raise


def _is_link(place: str, folder: int | None) -> bool:
    return stat.S_ISLNK(os.stat(place, dir_fd=folder, follow_symlinks=False).st_mode)


def _regular(descriptor: int) -> IO[bytes]:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoFileError("it is no file")
    return os.fdopen(descriptor, "rb")
