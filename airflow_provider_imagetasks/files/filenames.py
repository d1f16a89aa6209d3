"""Names of downloaded files: from a pattern, never leaving their folder."""

from __future__ import annotations

import hashlib
import re
from string import Formatter

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.inline_ids import INLINE_PREFIX

DEFAULT_FILENAME = "{image_task_id}-{index}.{ext}"
LONGEST_NAME = 200
_PLACEHOLDERS = ("image_task_id", "index", "ext")
ROW_PLACEHOLDERS = ("row", "id")
"""Placeholders of names in a batch besides: the row's position in the batch, and the id that the row gives itself."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def check_filename(pattern: str, more: tuple[str, ...] = ()) -> None:
    """Check a pattern before anything is fetched.

    :param more: further placeholders that it may hold.
    :raises InvalidRequestError: it has an unknown placeholder, or names another folder.
    """
    if not isinstance(pattern, str) or not pattern.strip():
        raise InvalidRequestError(f"filename is {pattern!r}; write it like {DEFAULT_FILENAME!r}")
    try:
        fields = [(name, conversion) for _, name, _, conversion in Formatter().parse(pattern) if name is not None]
        unknown = [name for name, conversion in fields if name not in (*_PLACEHOLDERS, *more) or conversion]
        if not unknown:
            name = pattern.format(image_task_id="id", index=0, ext="png", row=0, id="0")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise InvalidRequestError(f"filename is {pattern!r}, which cannot be filled in: {error}") from error
    if unknown:
        raise InvalidRequestError(
            f"filename is {pattern!r}; its placeholders may be "
            f"{', '.join(f'{{{name}}}' for name in (*_PLACEHOLDERS[:-1], *more))} and {{ext}}"
        )
    if not is_safe_name(name):
        raise InvalidRequestError(
            f"filename is {pattern!r}; it must be one name of at most {LONGEST_NAME} characters, without slashes, "
            "control characters or a leading dot. Folders belong into output_path"
        )


def holds(pattern: str, placeholder: str) -> bool:
    """Whether a pattern has a placeholder."""
    return any(name == placeholder for _, name, _, _ in Formatter().parse(pattern))


def pattern_for_row(pattern: str, *, row: int, row_id: str | None) -> str:
    """Return the pattern for the pictures of one row of a batch, its own placeholders filled in.

    :param pattern: checked.
    :param row: position in the batch; stands for a missing ``row_id`` too.
    """
    parts = []
    for literal, name, spec, _conversion in Formatter().parse(pattern):
        parts.append(literal.replace("{", "{{").replace("}", "}}"))
        if name == "row":
            parts.append(format(row, spec or ""))
        elif name == "id":
            parts.append(format(_safe_id(row_id) if row_id is not None else str(row), spec or ""))
        elif name is not None:
            parts.append(f"{{{name}:{spec}}}" if spec else f"{{{name}}}")
    return "".join(parts)


def file_name(pattern: str, *, image_task_id: str, index: int, extension: str) -> str:
    """Return the name of one picture.

    :param index: position of the picture in its image task.
    :param extension: without the dot.
    :raises InvalidRequestError: it would leave the folder, or is too long.
    """
    name = pattern.format(image_task_id=_safe_id(image_task_id), index=index, ext=extension)
    if not is_safe_name(name):
        raise InvalidRequestError(f"filename {pattern!r} gives the name {name[:80]!r}, which cannot be used")
    return name


def is_safe_name(name: str) -> bool:
    """Whether a name is a single, visible file name."""
    fits = 0 < len(name.encode()) <= LONGEST_NAME
    return fits and not name.startswith(".") and not {"/", "\\"} & set(name) and name.isprintable()


def _safe_id(image_task_id: str) -> str:
    """Return the id where it is fit for a name, else a readable rest with a digest that keeps it unique."""
    digest = hashlib.sha256(image_task_id.encode()).hexdigest()
    if image_task_id.startswith(INLINE_PREFIX):
        return f"inline-{digest[:32]}"
    safe = _UNSAFE.sub("_", image_task_id).lstrip(".")[:100]
    return safe if safe == image_task_id else f"{safe or 'id'}-{digest[:12]}"
