"""What was asked for, as the large view shows it and copies it as Python. Pure, and as wary as the cards."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from airflow_provider_imagetasks.services.fields import LONGEST_PROMPT, LONGEST_TEXT, mapping

_MOST_OPTIONS = 60
_LONGEST_NAME = 100
_MOST_REFERENCES = 64
_LONGEST_LINE = 80
_DEEPEST = 20
"""Levels of an option's value."""
_NOT_SHOWN = "not shown"


def request_card(
    asked: Mapping[str, Any], reference: Callable[[str], dict[str, Any]], cut: Collection[str] = ()
) -> dict[str, Any]:
    """Return what was asked for: ``{prompt, model, options, images, mask, python, cut}``.

    ``options`` are texts: a browser would round numbers, and write others differently from how they were sent.
    ``python`` has the same by argument as texts in Python, without options that are not known whole; ``cut`` are the
    names of the arguments of which something is missing.

    :param asked: the rendered arguments of a task, or a row's request.
    :param reference: makes of a picture's address what the browser needs to show it.
    :param cut: the arguments of which something was missing before.
    """
    missing = set(cut)
    prompt, model, mask = (_text(asked.get(name)) for name in ("prompt", "model", "mask"))
    if prompt and len(prompt) > LONGEST_PROMPT:
        prompt = f"{prompt[: LONGEST_PROMPT - 1]}…"
        missing.add("prompt")
    told = mapping(_json(asked.get("options")))
    whole = {str(name): value for name, value in list(told.items())[:_MOST_OPTIONS] if _is_short(name, value)}
    shown = {str(name)[:_LONGEST_NAME]: _beginning(value) for name, value in list(told.items())[:_MOST_OPTIONS]}
    if len(whole) < len(told):
        missing.add("options")
    listed = _json(asked.get("images"))
    addresses = [each for each in listed if _text(each)] if isinstance(listed, list | tuple) else []
    images = [reference(each) for each in addresses[:_MOST_REFERENCES]]
    mask = None if mask == "None" else mask
    masked = reference(mask) if mask else None
    if [image["uri"] for image in images] != addresses:
        missing.add("images")
    if masked and masked["uri"] != mask:
        missing.add("mask")
    called = {
        "prompt": prompt,
        "model": model,
        "options": whole,
        "images": [image["uri"] for image in images],
        "mask": masked and masked["uri"],
    }
    return {
        "prompt": prompt,
        "model": model and model[:LONGEST_TEXT],
        "options": {name: _as_sent(value) for name, value in shown.items()},
        "images": images,
        "mask": masked,
        "python": {name: python_text(value, "    ") for name, value in called.items() if value},
        "cut": sorted(missing),
    }


def python_text(value: Any, indent: str = "") -> str:
    """Return a value of JSON as Python writes it.

    :param indent: of the line that it begins on.
    """
    if isinstance(value, str):
        # What turns the direction of writing must not hide what somebody pastes.
        return json.dumps(value, ensure_ascii=False) if value.isprintable() else repr(value)
    if not isinstance(value, Mapping | list | tuple):
        return repr(value)
    inner = f"{indent}    "
    if isinstance(value, Mapping):
        parts = [f"{python_text(str(name))}: {python_text(each, inner)}" for name, each in value.items()]
        before, after = "{", "}"
    else:
        parts = [python_text(each, inner) for each in value]
        before, after = "[", "]"
    line = f"{before}{', '.join(parts)}{after}"
    if len(line) < _LONGEST_LINE and "\n" not in line:
        return line
    return "\n".join([before, *(f"{inner}{part}," for part in parts), f"{indent}{after}"])


def _json(value: Any) -> Any:
    """Return a value that Airflow may keep as text."""
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _text(value: Any) -> str | None:
    return value or None if isinstance(value, str) else None


def _is_short(name: Any, value: Any) -> bool:
    return len(str(name)) <= _LONGEST_NAME and _beginning(value) is value


def _beginning(value: Any) -> Any:
    """Return a value that the browser can be sent: as it is, or the beginning of what is long."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else f"{value[: LONGEST_TEXT - 1]}…"
    with suppress(ValueError, TypeError, RecursionError):
        if _is_flat(value, _DEEPEST) and len(json.dumps(value, allow_nan=False)) <= LONGEST_TEXT:
            return value
    return _NOT_SHOWN


def _is_flat(value: Any, levels: int) -> bool:
    if not isinstance(value, Mapping | list | tuple):
        return True
    parts = value.values() if isinstance(value, Mapping) else value
    return levels > 0 and all(_is_flat(each, levels - 1) for each in parts)


def _as_sent(value: Any) -> str:
    """Return a value as it stands in the request's JSON, a text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
