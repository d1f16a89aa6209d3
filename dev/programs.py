"""Programs that come from the system's packages and not from Python's."""

from __future__ import annotations

import shutil
from pathlib import Path


class MissingProgramError(Exception):
    """A program is not installed; the message says which package has it."""


def find_program(name: str, *folders: str, package: str) -> Path:
    """Return the program of that name, from the ``PATH`` or else from where Debian puts it.

    :param folders: patterns of folders beside the ``PATH``, as ``/usr/lib/postgresql/*/bin``; the newest version wins.
    :param package: Debian's package that has it, for the error.
    :raises MissingProgramError: it is nowhere.
    """
    if found := shutil.which(name):
        return Path(found)
    for folder in (*folders, "/usr/bin", "/usr/sbin", "/usr/local/bin"):
        candidates = [path for path in Path("/").glob(f"{folder.lstrip('/')}/{name}") if path.is_file()]
        if candidates:
            return max(candidates, key=_version)
    raise MissingProgramError(
        f"{name} is not on the PATH, nor in {', '.join((*folders, '/usr/bin'))}. Install it: apt-get install {package}"
    )


def _version(path: Path) -> list[int]:
    return [int(part) for part in path.parts if part.isdigit()]
