"""Names of downloaded files: from a pattern, never leaving their folder."""

from __future__ import annotations

import hashlib
import re
from itertools import pairwise
from string import Formatter

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.fields import INLINE_PREFIX
from airflow_provider_imagetasks.tasks import require_sendable

DEFAULT_FILENAME = "{image_task_id}-{index}.{ext}"
LONGEST_NAME = 200
_PLACEHOLDERS = ("image_task_id", "index", "ext")
ROW_PLACEHOLDERS = ("row", "id")
"""Placeholders of names in a batch besides: the row's position in the batch, and the id that the row gives itself."""
_NUMBERS = frozenset({"index", "row"})
_NUMBER_FORMAT = re.compile(r"[0-9]{0,3}d?")
_PARTS = re.compile(r"[/\\]|::")
"""What parts a path: behind two colons filesystems take another one to begin."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_ID = 100
_DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])(\.|\Z)", re.IGNORECASE)
"""Names that Windows, and the shares that it serves, keep for devices."""


def check_filename(pattern: str, more: tuple[str, ...] = ()) -> None:
    """Check a pattern before anything is fetched.

    :param more: further placeholders that it may hold.
    :raises InvalidRequestError: it has an unknown placeholder, names another folder, or cannot tell pictures apart.
    """
    if not isinstance(pattern, str) or not pattern.strip():
        raise InvalidRequestError(f"filename is {pattern!r}; write it like {DEFAULT_FILENAME!r}")
    require_sendable("filename", pattern)
    try:
        fields = [field for field in Formatter().parse(pattern) if field[1] is not None]
        unknown = [name for _, name, _, conversion in fields if name not in (*_PLACEHOLDERS, *more) or conversion]
        cut = [
            name for _, name, spec, _ in fields if spec and not (name in _NUMBERS and _NUMBER_FORMAT.fullmatch(spec))
        ]
        if not unknown and not cut:
            name = pattern.format(image_task_id="id", index=0, ext="png", row=0, id="0")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise InvalidRequestError(f"filename is {pattern!r}, which cannot be filled in: {error}") from error
    if unknown:
        raise InvalidRequestError(
            f"filename is {pattern!r}; its placeholders may be "
            f"{', '.join(f'{{{name}}}' for name in (*_PLACEHOLDERS[:-1], *more))} and {{ext}}"
        )
    if cut:
        raise InvalidRequestError(
            f"filename is {pattern!r}; only {{index}} and {{row}} may have a format, and only a width, as in "
            "{index:03}, because other formats could give two pictures the same name"
        )
    for (_, before, _, _), (literal, after, _, _) in pairwise(fields):
        if _NUMBERS & {before, after} and "ext" not in (before, after) and not literal.strip("0123456789"):
            raise InvalidRequestError(
                f"filename is {pattern!r}; put something other than digits between {{{before}}} and {{{after}}}, "
                "or different pictures may get the same name"
            )
    if not is_safe_name(name):
        raise InvalidRequestError(
            f"filename is {pattern!r}; it must be one name of at most {LONGEST_NAME} characters, without slashes, two "
            "colons, control characters, a dot at either end or the name of a device. Put folders into output_path"
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


def pattern_for_picture(pattern: str, *, is_first: bool) -> str:
    """Return the pattern for one picture of an image task: where only ``{index}`` is missing, the others get it.

    :param is_first: whether it is the first picture of its image task.
    """
    if is_first or holds(pattern, "index"):
        return pattern
    # No id and no number has a tilde, so that this is never the name of a picture of another image task.
    stem, dot, extension = pattern.rpartition(".")
    return f"{stem}~{{index}}.{extension}" if dot else f"{pattern}~{{index}}"


def longest_name(pattern: str) -> str:
    """Return the longest name that any image task can make of a pattern.

    :raises InvalidRequestError: that is too long.
    """
    pattern = pattern_for_picture(pattern, is_first=False)
    return file_name(pattern, image_task_id="/" * (_LONGEST_ID + 1), index=999_999, extension="webp")


def file_name(pattern: str, *, image_task_id: str, index: int, extension: str) -> str:
    """Return the name of one picture.

    :param index: position of the picture in its image task.
    :param extension: without the dot.
    :raises InvalidRequestError: it would leave the folder, or is too long.
    """
    name = pattern.format(image_task_id=_safe_id(image_task_id), index=index, ext=extension)
    if not is_safe_name(name):
        why = f"is longer than {LONGEST_NAME} bytes" if len(name.encode()) > LONGEST_NAME else "cannot be used"
        raise InvalidRequestError(f"filename {pattern!r} gives a name that {why}: {name[:80]!r}")
    return name


def is_safe_name(name: str) -> bool:
    """Whether a name is a single, visible file name, on any store."""
    is_plain = name.isprintable() and not _PARTS.search(name) and not _DEVICES.match(name)
    return is_plain and 0 < len(name.encode()) <= LONGEST_NAME and name == name.strip(".")


def _safe_id(image_task_id: str) -> str:
    """Return the id where it is fit for a name, else a readable rest with a digest that keeps it unique."""
    safe = _UNSAFE.sub("_", image_task_id).strip(".")[:_LONGEST_ID]
    if _DEVICES.match(safe):
        safe = ""
    if safe == image_task_id:
        return safe
    digest = hashlib.sha256(image_task_id.encode(errors="surrogatepass")).hexdigest()
    return f"inline-{digest[:32]}" if image_task_id.startswith(INLINE_PREFIX) else f"{safe or 'id'}-{digest[:12]}"
