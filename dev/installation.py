"""Runs a long installation and says meanwhile how far it is; what it prints goes into a file.

Usage: python dev/installation.py LOG COMMAND [ARGUMENT ...], with any Python and nothing installed. The exit code is
the command's; where it failed, its whole output is printed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

INTERVAL = 15.0
"""Seconds between two lines where no terminal renews one."""


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    log, *command = arguments
    with Path(log).open("a", encoding="utf-8") as kept:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        assert process.stdout is not None
        progress = Progress()
        for line in process.stdout:
            kept.write(line)
            progress.see(line)
        exit_code = process.wait()
        progress.end()
    if exit_code != 0:
        sys.stderr.write(Path(log).read_text(encoding="utf-8"))
    return exit_code


class Progress:
    """One line on the way of pip: how many packages it has found, or that it installs them."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._packages = 0
        self._renews = sys.stdout.isatty()

    def see(self, line: str) -> None:
        """Take in a line of pip's output."""
        if line.startswith("Collecting "):
            self._packages += 1
            name = re.split("[^A-Za-z0-9._-]", line.split()[1])[0][:40]
            self._tell(f"{_packages(self._packages)} found, {name}")
        elif line.startswith("Installing collected packages"):
            self._tell(f"installing {_packages(line.count(',') + 1)}", at_once=True)

    def _tell(self, text: str, *, at_once: bool = False) -> None:
        now = time.monotonic()
        shown = f"  {now - self._began:4.0f} s   {text}"
        if self._renews:
            sys.stdout.write(f"\r{shown}\x1b[K")
        elif at_once or now - self._told > INTERVAL:
            self._told = now
            sys.stdout.write(f"{shown}\n")
        sys.stdout.flush()

    def end(self) -> None:
        """Leave nothing on the line."""
        if self._renews:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()


def _packages(count: int) -> str:
    return f"{count} package{'s' if count > 1 else ''}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
