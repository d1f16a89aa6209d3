"""How much memory the processes of a run needed at most, by the kernel's own account."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from dev.child_process import ChildProcess

INTERVAL = 1.0
PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


@dataclass
class Peak:
    """What one component needed, in KiB; a process that lived for less than a second may have been missed.

    :param own: the component's own process.
    :param child: the largest of its children.
    :param processes: how many there were at once.
    """

    own: int = 0
    child: int = 0
    processes: int = 0


class MemoryPeaks:
    """Looks once a second at what the kernel calls the peak resident set (VmHWM) of each process.

    :param components: asked anew each time, since a component that was killed comes back as another process.
    """

    def __init__(self, components: Callable[[], Mapping[str, ChildProcess]]) -> None:
        self._components = components
        self._peaks: dict[str, Peak] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-peaks", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def table(self) -> str:
        """Return a line for each component."""
        lines = [f"{'peak memory (VmHWM), MiB':<26}{'own':>7}{'largest child':>15}{'processes':>11}"]
        for name, peak in self._peaks.items():
            lines.append(f"{name:<26}{peak.own / 1024:>7.0f}{peak.child / 1024:>15.0f}{peak.processes:>11}")
        return "\n".join(lines)

    def _watch(self) -> None:
        while not self._over.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        for name, component in self._components().items():
            if not component.is_running:
                continue
            peak = self._peaks.setdefault(name, Peak())
            peak.own = max(peak.own, _peak_of(component.pid))
            children = [pid for pid in _descendants(component.pid) if pid != component.pid]
            peak.child = max([peak.child, *map(_peak_of, children)])
            peak.processes = max(peak.processes, 1 + len(children))


def _descendants(pid: int) -> Iterator[int]:
    """Yield the children, and theirs."""
    try:
        yield from (child.pid for child in psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return


def _peak_of(pid: int) -> int:
    try:
        found = PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0
