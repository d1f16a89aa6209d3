"""The GPT-Image MCP server over stdio, as its real counterpart is started: for one client, until that leaves.

Usage: ``python -m airflow_provider_imagetasks.local.stdio [--latency SECONDS]``, with ``OPENAI_API_KEY`` (any) and
``OPENAI_IMAGE_OUTPUT_DIR`` in the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import closing
from pathlib import Path

from airflow_provider_imagetasks.local.dialects.gpt_image_mcp_dialect import GptImageMcpServer
from airflow_provider_imagetasks.local.dialects.mcp_server import serve_stdio
from airflow_provider_imagetasks.local.options import DEFAULT_OUTPUT_DIR, ServiceOptions
from airflow_provider_imagetasks.local.service_state import ServiceState


async def _serve(options: ServiceOptions) -> None:
    with closing(ServiceState(options, [GptImageMcpServer.name])) as state:
        await serve_stdio(GptImageMcpServer(state))


def main() -> int:
    """Run the server and return its exit code."""
    parser = argparse.ArgumentParser(prog="imagetasks-local-stdio", description=__doc__)
    parser.add_argument("--latency", default="2", metavar="SECONDS", help="how long a job takes: 2, or 1-4")
    given = parser.parse_args()
    if not os.environ.get("OPENAI_API_KEY"):
        print("Error: OPENAI_API_KEY environment variable is required", file=sys.stderr)
        return 1
    folder = Path(os.environ.get("OPENAI_IMAGE_OUTPUT_DIR") or DEFAULT_OUTPUT_DIR)
    asyncio.run(_serve(ServiceOptions(latency=given.latency, output_dir=folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
