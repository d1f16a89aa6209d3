"""Arguments for the GPT-Image MCP server: checked first, since it notices most mistakes only after it has begun."""

from __future__ import annotations

import base64
import re
import uuid
from typing import Any

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest

TOOL_NAMES = ("generate_image", "edit_image", "transform_image")
_REFERENCES = ("reference_image_path", "reference_image_base64")
_EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp"}


def checked_tool(request: ImageRequest, account: Account) -> str:
    """Return the inner tool that a request is for.

    :raises InvalidRequestError: it would fail, or endanger the pictures of others.
    """
    if account.output_dir is None:
        raise InvalidRequestError(
            f"Connection {account.conn_id!r} does not say where the pictures will be: set the extra field "
            "'output_dir' to the server's OPENAI_IMAGE_OUTPUT_DIR, and 'path_map' where workers find it elsewhere"
        )
    options = request.options
    tool_name = options.get("tool_name", TOOL_NAMES[bool(request.images)])
    if tool_name not in TOOL_NAMES:
        raise InvalidRequestError(f"options holds tool_name {tool_name!r}; it is one of {', '.join(TOOL_NAMES)}")
    has_reference = bool(request.images) or any(options.get(name) for name in _REFERENCES)
    if has_reference != (tool_name != TOOL_NAMES[0]):
        wanted = "takes no picture: remove images" if has_reference else "needs a picture to start from: give images"
        raise InvalidRequestError(f"{tool_name} {wanted}")
    if "output_path" in options:
        raise InvalidRequestError(
            "options holds output_path, by which one job could overwrite the pictures of another; remove it, and "
            "name the files where they are downloaded"
        )
    if "n" in options and "sample_count" in options:
        raise InvalidRequestError("options holds n and sample_count, which are the same; keep n")
    if options.get("output_format", "png") not in _EXTENSIONS:
        raise InvalidRequestError(
            f"options holds output_format {options['output_format']!r}; it is one of {', '.join(_EXTENSIONS)}"
        )
    return str(tool_name)


def start_arguments(request: ImageRequest, key: str | None) -> dict[str, Any]:
    """Return the arguments of a start; the server hands those that its schema does not list to the inner tool."""
    arguments = {name: value for name, value in request.options.items() if name != "n"}
    if "n" in request.options:
        arguments["sample_count"] = request.options["n"]
    for name, image in (
        ("reference_image_base64", next(iter(request.images), None)),
        ("mask_image_base64", request.mask),
    ):
        if isinstance(image, ImageFile):
            arguments[name] = base64.b64encode(image.content).decode()
    extension = _EXTENSIONS[arguments.get("output_format", "png")]
    known = re.sub(r"[^0-9A-Za-z-]", "-", key or "")[:64]
    # The server overwrites what is there, and finds no name for several pictures without an extension.
    name = "-".join(filter(None, ("imagetasks", known, uuid.uuid4().hex[:12])))
    return {**arguments, "prompt": request.prompt, "model": request.model, "output_path": f"{name}.{extension}"}
