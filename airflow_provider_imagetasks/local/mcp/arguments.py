"""Checks the arguments of a tool as the SDK for Python does on a server's side."""

from __future__ import annotations

from typing import Any

from airflow_provider_imagetasks.local.mcp.tools import ToolDescription


def problem_with(tool: ToolDescription, arguments: dict[str, Any]) -> str | None:
    """Return what such a server says of arguments that its schema refuses, None where they are fine."""
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(tool.schema).iter_errors(arguments), key=lambda error: error.json_path)
    if not errors:
        return None
    count = f"{len(errors)} validation error{'s' if len(errors) > 1 else ''}"
    found = "".join(f"\n{error.json_path.removeprefix('$.')}\n  {error.message}" for error in errors)
    return f"Error executing tool {tool.name}: {count} for {tool.name}Arguments{found}"


def known_arguments(tool: ToolDescription, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that the tool has, without null ones: such a server drops the others without a word."""
    known = tool.schema["properties"]
    return {name: value for name, value in arguments.items() if name in known and value is not None}
