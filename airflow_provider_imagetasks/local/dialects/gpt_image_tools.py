"""The tools of the GPT-Image MCP server that have to do with jobs, as it lists them without enforcing it."""

from __future__ import annotations

from typing import Any

from airflow_provider_imagetasks.local.mcp.tools import ToolDescription

START, STATUS, RESULT = "start_generation_job", "check_job_status", "get_job_result"
CANCEL, LIST = "cancel_job", "list_jobs"
INNER_TOOLS = ("generate_image", "edit_image", "transform_image")


def _choice(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def _arguments(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


_TEXT = {"type": "string"}
_SIZES = (
    "1024x1024",
    "1024x1536",
    "1536x1024",
    "2048x2048",
    "2048x1152",
    "1152x2048",
    "3840x2160",
    "2160x3840",
    "auto",
)
_ONE_JOB = _arguments({"job_id": _TEXT}, "job_id")

TOOLS = (
    ToolDescription(
        START,
        "Start a job.",
        _arguments(
            {
                "tool_name": _choice(*INNER_TOOLS),
                "prompt": _TEXT,
                "output_path": _TEXT,
                "model": _choice("gpt-image-1", "gpt-image-1.5", "gpt-image-2"),
                "size": _choice(*_SIZES),
                "quality": _choice("low", "medium", "high", "auto"),
                "output_format": _choice("png", "jpeg", "webp"),
                "sample_count": {"type": "number", "minimum": 1, "maximum": 10},
                "input_fidelity": _choice("low", "high"),
            },
            "tool_name",
            "prompt",
        ),
    ),
    ToolDescription(STATUS, "Check a job.", _ONE_JOB),
    ToolDescription(RESULT, "Get the result of a job.", _ONE_JOB),
    ToolDescription(CANCEL, "Cancel a job.", _ONE_JOB),
    ToolDescription(
        LIST,
        "List jobs.",
        _arguments(
            {
                "status": _choice("pending", "running", "completed", "failed", "cancelled"),
                "tool_name": _TEXT,
                "limit": {"type": "number", "minimum": 1, "maximum": 100},
                "offset": {"type": "number", "minimum": 0},
            }
        ),
    ),
)
