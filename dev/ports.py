"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import random
import socket

# Below the range from which the kernel serves outgoing connections, so that none takes a port just chosen.
LOWEST_PORT = 18_000
HIGHEST_PORT = 31_999


def is_free(port: int) -> bool:
    """Say whether a server could listen on the port, on loopback and on every interface."""
    for address in ("127.0.0.1", "0.0.0.0"):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((address, port))
            except OSError:
                return False
    return True


def choose_port(preferred: int | None = None, *, taken: frozenset[int] = frozenset()) -> int:
    """Return the preferred port when it is free, else any free one that is not in ``taken``."""
    if preferred is not None and preferred not in taken and is_free(preferred):
        return preferred
    for _ in range(200):
        port = random.randint(LOWEST_PORT, HIGHEST_PORT)
        if port not in taken and is_free(port):
            return port
    raise RuntimeError(f"no free port between {LOWEST_PORT} and {HIGHEST_PORT}")


def choose_ports(count: int) -> list[int]:
    """Return that many different free ports."""
    ports: list[int] = []
    for _ in range(count):
        ports.append(choose_port(taken=frozenset(ports)))
    return ports
