"""A statsd server that keeps what it is sent, and Airflow's own statsd logger pointed at it."""

from __future__ import annotations

import importlib
import socket
import threading
import time
import warnings
from dataclasses import dataclass
from socketserver import BaseRequestHandler, UDPServer
from typing import Any, Self

PREFIX = "airflow.imagetasks."


@dataclass(frozen=True)
class Received:
    """One metric as it came over the wire, without Airflow's prefix."""

    name: str
    tags: tuple[tuple[str, str], ...]
    value: float
    kind: str


def read_line(line: str) -> Received:
    """Read ``name,tag=value:1|c``, the form with InfluxDB's tags."""
    series, _, rest = line.partition(":")
    name, *tags = series.split(",")
    value, kind = rest.split("|")[:2]
    pairs = tuple(sorted((tag.partition("=")[0], tag.partition("=")[2]) for tag in tags))
    return Received(name.removeprefix("airflow."), pairs, float(value), kind)


class StatsdReceiver(UDPServer):
    """Listens on a UDP port of loopback while it is open."""

    max_packet_size = 65_535

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), BaseRequestHandler)
        self._received: list[Received] = []
        self._marks = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), name="statsd receiver", daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.shutdown()
        self.server_close()

    def finish_request(self, request: Any, client_address: Any) -> None:
        lines = request[0].decode().splitlines()
        self._received += [read_line(line) for line in lines if line.startswith(PREFIX)]
        self._marks += lines == ["mark"]

    def environment(self) -> dict[str, str]:
        """What makes an Airflow send its metrics here, tags and all."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self.server_address[1]),
            "AIRFLOW__METRICS__STATSD_PREFIX": "airflow",
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        }

    def all(self) -> list[Received]:
        """Return this package's metrics that were sent before this call."""
        # Datagrams over loopback keep their order, so that behind this one nothing earlier is left.
        count = self._marks
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"mark", self.server_address)
        deadline = time.monotonic() + 60
        while self._marks == count:
            assert time.monotonic() < deadline, "the statsd receiver does not receive"
            time.sleep(0.005)
        return list(self._received)

    def totals(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return the sums of one counter, by its tags."""
        sums: dict[tuple[tuple[str, str], ...], float] = {}
        for received in self.all():
            if received.name == f"imagetasks.{name}":
                sums[received.tags] = sums.get(received.tags, 0) + received.value
        return sums


def initialize_metrics() -> None:
    """Have Airflow read the settings of this process's metrics anew, as its task runner does."""
    # Airflow drops its socket without closing it.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        _initialize()


def _initialize() -> None:
    try:
        stats: Any = importlib.import_module("airflow.sdk.observability.stats")
    except ImportError:
        # Airflow 3.1 reads them when the module is imported.
        stats = importlib.import_module("airflow.stats")
        logger = importlib.import_module("airflow.metrics.statsd_logger")
        base = importlib.import_module("airflow.metrics.base_stats_logger")
        on = importlib.import_module("airflow.configuration").conf.getboolean("metrics", "statsd_on")
        type(stats.Stats).factory = logger.get_statsd_logger if on else base.NoStatsLogger
        stats.Stats.instance = None
        return
    utils = importlib.import_module("airflow.sdk.observability.metrics.stats_utils")
    if hasattr(stats, "initialize"):
        stats.initialize(factory=utils.get_stats_factory(), export_legacy_names=True)
    else:
        stats.Stats.initialize(factory=utils.get_stats_factory(stats.Stats))
