from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dev.child_process import ChildProcess, stop_together
from dev.rest_api import wait_until

# A child that forks one which leaves the process group and, like its parent, does not heed SIGTERM.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)
print("ready", os.getpid(), flush=True)
time.sleep(60)
"""
OBEDIENT = "import time; print('ready', flush=True); time.sleep(60)"


@pytest.fixture
def children(tmp_path: Path) -> Iterator[dict[str, ChildProcess]]:
    made = {
        name: ChildProcess(
            name,
            [sys.executable, "-c", source],
            environment=os.environ,
            log_path=tmp_path / f"{name}.log",
            folder=tmp_path,
        )
        for name, source in {"stubborn": STUBBORN, "obedient": OBEDIENT}.items()
    }
    yield made
    stop_together(made.values(), grace=0)


def start(child: ChildProcess, ready_lines: int) -> None:
    child.start()
    wait_until(lambda: child.log_tail().count("ready") == ready_lines, timeout=20, what="the child", interval=0.05)


def test_stop_ends_descendants_in_other_process_groups(children: dict[str, ChildProcess]) -> None:
    child = children["stubborn"]
    start(child, ready_lines=2)
    pids = child.remaining_processes()
    assert len(pids) == 2
    child.stop(grace=0.2)
    assert child.remaining_processes() == []
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


def test_stop_finds_orphans(children: dict[str, ChildProcess]) -> None:
    child = children["stubborn"]
    start(child, ready_lines=2)
    os.kill(child.pid, 9)
    wait_until(lambda: not child.is_running, timeout=10, what="the end of the child", interval=0.05)
    assert len(child.remaining_processes()) == 1
    child.kill()
    assert child.remaining_processes() == []


def test_an_obedient_child_is_not_waited_for(children: dict[str, ChildProcess]) -> None:
    child = children["obedient"]
    start(child, ready_lines=1)
    started_at = time.monotonic()
    child.stop(grace=20)
    assert time.monotonic() - started_at < 10
    assert child.return_code == -15


def test_a_child_can_be_started_again(children: dict[str, ChildProcess]) -> None:
    child = children["obedient"]
    start(child, ready_lines=1)
    first = child.pid
    with pytest.raises(RuntimeError, match="already running"):
        child.start()
    child.kill()
    start(child, ready_lines=2)
    assert child.pid != first
