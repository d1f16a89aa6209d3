"""The tools of AceDataCloud's MCP server, as it lists them."""

from __future__ import annotations

from typing import Any

from airflow_provider_imagetasks.local.mcp.tools import ToolDescription

GENERATE, EDIT, GET, LIST = "openai_generate_image", "openai_edit_image", "openai_get_task", "openai_list_tasks"
MODELS = (
    "dall-e-2",
    "dall-e-3",
    "gpt-image-1",
    "gpt-image-1.5",
    "gpt-image-2",
    "gpt-image-2:reverse",
    "gpt-image-2:official",
    "nano-banana",
    "nano-banana-2-lite",
    "nano-banana-2",
    "nano-banana-pro",
)


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}], "default": None}


def _choice(*values: str, default: str | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "enum": list(values)}
    return {**schema, "default": default} if default else schema


def _arguments(required: tuple[str, ...], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_WHOLE = {"type": "integer"}
_NUMBER = {"type": "number"}
_FORMATS = ("png", "jpeg", "webp")
_RESULT = {"type": "object", "properties": {"result": _TEXT}, "required": ["result"]}
_BOTH = {
    "prompt": _TEXT,
    "model": _choice(*MODELS, default="gpt-image-1"),
    "size": {"type": "string", "pattern": r"^(auto|\d+x\d+)$", "default": "auto"},
    "n": _optional(_WHOLE),
    "response_format": _choice("url", "b64_json", default="url"),
    "background": _optional(_choice("transparent", "opaque", "auto")),
    "output_compression": _optional(_WHOLE),
    "callback_url": _optional(_TEXT),
}

TOOLS = (
    ToolDescription(
        GENERATE,
        "Generate images.",
        _arguments(
            ("prompt",),
            {
                **_BOTH,
                "quality": _choice("auto", "high", "medium", "low", "hd", "standard", default="auto"),
                "output_format": _choice(*_FORMATS, default="png"),
                "style": _optional(_choice("vivid", "natural")),
                "moderation": _optional(_choice("low", "auto")),
                "partial_images": _optional(_WHOLE),
            },
        ),
        _RESULT,
    ),
    ToolDescription(
        EDIT,
        "Edit images.",
        _arguments(
            ("image", "prompt"),
            {
                "image": {"anyOf": [_TEXT, {**_TEXTS, "minItems": 1, "maxItems": 16}]},
                **_BOTH,
                "quality": _choice("auto", "high", "medium", "low", "standard", default="auto"),
                "input_fidelity": _optional(_choice("high", "low")),
                "output_format": _choice(*_FORMATS, default="png"),
            },
        ),
        _RESULT,
    ),
    ToolDescription(
        GET, "Get a task.", _arguments((), {"id": _optional(_TEXT), "trace_id": _optional(_TEXT)}), _RESULT
    ),
    ToolDescription(
        LIST,
        "List tasks.",
        _arguments(
            (),
            {
                "ids": _optional(_TEXTS),
                "trace_ids": _optional(_TEXTS),
                "application_id": _optional(_TEXT),
                "user_id": _optional(_TEXT),
                "type": _optional(_choice("images", "images_generations", "images_edits")),
                "offset": _optional(_WHOLE),
                "limit": _optional(_WHOLE),
                "created_at_min": _optional(_NUMBER),
                "created_at_max": _optional(_NUMBER),
            },
        ),
        _RESULT,
    ),
)
