"""A child process with its descendants: which of them are alive, and what all of them cost."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.batch.process_cpu import cpu_seconds
from dev.child_process import ChildProcess

SECONDS = 0.2
PARENT = f"""
import os, time
from pathlib import Path

pid = os.fork()
if not pid:
    while time.process_time() < {SECONDS}:
        pass
    os._exit(0)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
Path("child.new").write_text(str(pid))
Path("child.new").rename("child")
time.sleep(60)
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[ChildProcess]:
    """A process whose child has ended, and that does not wait for it."""
    command = [sys.executable, "-S", "-c", PARENT]
    parent = ChildProcess("parent", command, environment=os.environ, log_path=tmp_path / "log", folder=tmp_path)
    parent.start()
    until = time.monotonic() + 30
    while not (tmp_path / "child").exists() and time.monotonic() < until:
        time.sleep(0.02)
    yield parent
    parent.stop()


def test_what_a_child_used_that_nobody_waited_for_is_counted_although_it_is_not_alive(parent: ChildProcess) -> None:
    child = int((parent.folder / "child").read_text())

    assert parent.remaining_processes() == [parent.pid]
    assert set(parent.all_processes()) == {parent.pid, child}
    assert cpu_seconds([child]) >= SECONDS / 2
    assert cpu_seconds(parent.all_processes()) >= cpu_seconds([parent.pid]) + SECONDS / 2
