"""The command that starts the local service: ``imagetasks-local``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_imagetasks.local.options import DEFAULT_OUTPUT_DIR, Latency, RateLimit, ServiceOptions
from airflow_provider_imagetasks.local.running import serve_until_stopped

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_PORT = 8750


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imagetasks-local",
        description="A local double of image-generation services, for trying and testing without an API key. "
        "It speaks their REST dialects and draws its own pictures.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port to serve on, 0 for any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--latency", default="2", metavar="SECONDS", help="how long an image task takes: 2, or 1-4 (default: 2)"
    )
    parser.add_argument("--fail-rate", type=float, default=0.0, metavar="SHARE", help="share of failing image tasks")
    parser.add_argument(
        "--refuse-rate", type=float, default=0.0, metavar="SHARE", help="share of submissions refused for content"
    )
    parser.add_argument(
        "--rate-limit-rate", type=float, default=0.0, metavar="SHARE", help="share of submissions answered with 429"
    )
    parser.add_argument("--seed", type=int, default=0, help="changes which submissions the shares hit (default: 0)")
    parser.add_argument("--create-limit", metavar="N/Ss", help="429 for more submissions than this, such as 20/10s")
    parser.add_argument("--query-limit", metavar="N/Ss", help="429 for more status queries than this, such as 2/1s")
    parser.add_argument("--max-active", type=int, metavar="N", help="429 while N image tasks of a key are running")
    parser.add_argument(
        "--api-key", action="append", default=[], metavar="KEY", help="let only this key in (may be repeated)"
    )
    parser.add_argument("--ignore-trace-id", action="store_true", help="do not honour trace ids of submissions")
    parser.add_argument(
        "--keep-tasks", type=int, default=100_000, metavar="N", help="image tasks remembered (default: %(default)s)"
    )
    parser.add_argument(
        "--record-delay",
        type=float,
        default=0.5,
        metavar="SECONDS",
        help="how long kie has no record of a new image task; its first status query finds none either, "
        "unless this is 0 (default: %(default)s)",
    )
    parser.add_argument("--webhook-secret", metavar="SECRET", help="sign the callbacks of kie with this")
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=DEFAULT_OUTPUT_DIR,
        metavar="FOLDER",
        help="where the GPT-Image MCP server writes its pictures (default: %(default)s)",
    )
    return parser


def _announce(url: str) -> None:
    print(
        f"Local image service on {url} - a double for trying and testing: it draws its own pictures, "
        "no image model is asked. Ctrl-C stops it.",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the command line when None.
    :returns: the exit code.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        options = ServiceOptions(
            latency=Latency.parse(given.latency),
            fail_rate=given.fail_rate,
            refuse_rate=given.refuse_rate,
            rate_limit_rate=given.rate_limit_rate,
            seed=given.seed,
            create_limit=RateLimit.parse(given.create_limit) if given.create_limit else None,
            query_limit=RateLimit.parse(given.query_limit) if given.query_limit else None,
            max_active=given.max_active,
            api_keys=frozenset(given.api_key),
            ignore_trace_id=given.ignore_trace_id,
            keep_tasks=given.keep_tasks,
            record_delay=given.record_delay,
            webhook_secret=given.webhook_secret,
            output_dir=given.output_dir,
        )
    except ValueError as error:
        parser.error(str(error))
    try:
        asyncio.run(serve_until_stopped(options, host=given.host, port=given.port, announce=_announce))
    except OSError as error:
        print(f"{parser.prog}: cannot serve on {given.host}:{given.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
