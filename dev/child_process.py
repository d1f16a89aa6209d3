"""A child process in a session of its own, which ends together with everything it forked."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from dev.interruption import interruptions_held


class ChildProcess:
    """One long-running child: started in its own session, its output in a file, stopped with its descendants.

    The session, not the process group, is what marks the descendants: Airflow gives each task a process group
    of its own. ``user`` is whom it runs as, where that is not the user who starts it; only root may choose.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log_path: Path,
        folder: Path,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.log_path = log_path
        self.folder = folder
        self.user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._sessions: set[int] = set()

    def start(self) -> None:
        """Start the child; its output is appended to its log file."""
        if self.is_running:
            raise RuntimeError(f"{self.name} is already running")
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        # An interruption between the fork and the assignment would leave a process that nobody knows of.
        with interruptions_held(), self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self.user,
                group=None if self.user is None else pwd.getpwnam(self.user).pw_gid,
                extra_groups=None if self.user is None else [],
            )
            self._sessions.add(self._process.pid)

    @property
    def pid(self) -> int:
        """The process id of the child last started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process.pid

    @property
    def return_code(self) -> int | None:
        """How the child ended; None while it runs or before its start."""
        return None if self._process is None else self._process.poll()

    @property
    def is_running(self) -> bool:
        """Whether the child itself is alive."""
        return self._process is not None and self._process.poll() is None

    def wait(self, timeout: float) -> int:
        """Wait for the child's own end and return how it ended; past the timeout, stop it."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        try:
            return self._process.wait(timeout)
        finally:
            self.stop(grace=2)

    def remaining_processes(self) -> list[int]:
        """Return the ids of the child and its descendants that are alive, orphans included."""
        # It would count as alive otherwise.
        self.reap()
        return [pid for pid in self.all_processes() if not _is_zombie(pid)]

    def all_processes(self) -> list[int]:
        """Return the ids of the child and its descendants, those included that ended and were not waited for."""
        return [pid for pid in psutil.pids() if _session_of(pid) in self._sessions]

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the child and to each of its descendants."""
        for pid in self.remaining_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End the child and its descendants without notice, as a crash would."""
        stop_together([self], grace=0)

    def stop(self, grace: float = 10) -> None:
        """Ask the child and its descendants to end, and end those that have not after ``grace`` seconds."""
        stop_together([self], grace=grace)

    def reap(self) -> None:
        """Take note of the end of a child that has ended; nothing of it is left in the list of processes."""
        self.return_code  # noqa: B018 - asking reaps it

    def await_end(self) -> None:
        """Wait a moment for the end of a child that was killed: its last thread may outlive its first."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of the child's output."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


def stop_together(children: Iterable[ChildProcess], *, grace: float) -> None:
    """Stop several children at once; when this returns, none of their processes is left."""
    children = list(children)
    remaining = [child for child in children if child.remaining_processes()]
    if grace > 0:
        for child in remaining:
            child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + grace
        while remaining and time.monotonic() < deadline:
            time.sleep(0.1)
            remaining = [child for child in remaining if child.remaining_processes()]
    # In rounds: a process may fork between the look and the kill.
    while remaining:
        for child in remaining:
            child.send_signal(signal.SIGKILL)
        time.sleep(0.05)
        remaining = [child for child in remaining if child.remaining_processes()]
    for child in children:
        child.await_end()


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True
