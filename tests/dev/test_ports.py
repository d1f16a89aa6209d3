from __future__ import annotations

import socket

from dev.ports import choose_port, choose_ports


def test_the_preferred_port_is_left_when_it_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert choose_port(taken) != taken


def test_the_preferred_port_is_taken_when_it_is_free() -> None:
    port = choose_port()
    assert choose_port(port) == port


def test_ports_differ() -> None:
    assert len(set(choose_ports(20))) == 20
