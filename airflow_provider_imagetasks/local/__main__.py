"""The command that starts the local service: ``imagetasks-local``."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_imagetasks.local.image_service import LocalImageService
from airflow_provider_imagetasks.local.options import DEFAULT_OUTPUT_DIR

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_PORT = 8750
_ANNOUNCEMENT = (
    "Local image service on {} - a double for trying and testing: it draws its own pictures, "
    "no image model is asked. Ctrl-C stops it."
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imagetasks-local",
        description="A local double of image-generation services, for trying and testing without an API key. "
        "It speaks their REST dialects and draws its own pictures.",
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to serve on (default: %(default)s)")
    add("--port", type=int, default=DEFAULT_PORT, help="port to serve on, 0 for any free one (default: %(default)s)")
    add("--latency", metavar="SECONDS", help="how long an image task takes: 2, or 1-4 (default: 2)")
    add("--fail-rate", type=float, metavar="SHARE", help="share of failing image tasks")
    add("--refuse-rate", type=float, metavar="SHARE", help="share of submissions refused because of their content")
    add("--rate-limit-rate", type=float, metavar="SHARE", help="share of submissions answered with 429")
    add("--seed", type=int, help="changes which submissions the shares affect (default: 0)")
    add("--create-limit", metavar="N/Ss", help="429 for more submissions than this, such as 20/10s")
    add("--query-limit", metavar="N/Ss", help="429 for more status queries than this, such as 2/1s")
    add("--max-active", type=int, metavar="N", help="429 while N image tasks of a key are running")
    add("--api-key", dest="api_keys", action="append", metavar="KEY", help="accept only this key (may be repeated)")
    add("--ignore-trace-id", action="store_true", help="ignore the trace ids of submissions")
    add("--keep-tasks", type=int, default=100_000, metavar="N", help="image tasks remembered (default: %(default)s)")
    delay = (
        "how long a service with late records has none of a new image task; unless this is 0, its first status query "
        "finds none either (default: %(default)s)"
    )
    add("--record-delay", type=float, default=0.5, metavar="SECONDS", help=delay)
    add("--batch-latency", type=float, metavar="SECONDS", help="how long a provider batch takes (default: 10)")
    rate = "how fast the clock of provider batches runs: with 3600, a day lasts 24 seconds (default: 1)"
    add("--clock-rate", type=float, metavar="RATE", help=rate)
    add("--webhook-secret", metavar="SECRET", help="sign callbacks with this, if the service signs them")
    add(
        "--webhook-url",
        metavar="URL",
        help="call this when an image task or batch is over, as services with one webhook do",
    )
    folder = "where an MCP server that writes files writes its pictures (default: %(default)s)"
    add("--output-dir", type=Path, default=DEFAULT_OUTPUT_DIR, metavar="FOLDER", help=folder)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, with the arguments of the command line when there are none here; return the exit code."""
    parser = _parser()
    try:
        service = LocalImageService(**vars(parser.parse_args(arguments)))
    except ValueError as error:
        parser.error(str(error))
    try:
        service.start()
    except OSError as error:
        print(f"{parser.prog}: cannot serve on {service.host}:{service.port}: {error.strerror}", file=sys.stderr)
        return 1
    stopped = threading.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: stopped.set())
    print(_ANNOUNCEMENT.format(service.url), flush=True)
    stopped.wait()
    service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
