"""Readers of single values in answers from outside: cleaned, bounded, plausible."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any

from airflow_provider_imagetasks.tasks import plain_name

LONGEST_TEXT = 2_000
"""Characters of a message, a word or a name; beyond them nobody reads on."""
LONGEST_PROMPT = 32_000
LONGEST_ADDRESS = 16_384
"""Characters of a URL or a path, which mean nothing once they are cut."""
INLINE_PREFIX = "inline:"
"""The beginning of an id that is the record itself."""
LONGEST_ID = 512
"""Characters of an image task's id at a service; none has a quarter of them."""
LONGEST_INLINE_ID = 4 * LONGEST_ADDRESS
"""Characters of an id that is the record itself, with the addresses of the pictures."""
LONGEST_RETRY_AFTER = 3_600.0
"""Seconds for which a service may ask to be left alone: quotas are counted by the minute or the hour, and whoever asks
for more errs, or means harm."""
_BREAKS = re.compile("[\t-\r\x85\u2028\u2029]+")
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CALENDAR = (946_684_800, 4_102_444_800)
"""Unix seconds of the years 2000 and 2100: no image task is older, or later."""
_DEEPEST, _MOST_ENTRIES, _LONGEST_ENTRY, _LARGEST_NUMBER = 4, 32, 100, 1e15


def is_too_long(image_task_id: str) -> bool:
    """Whether an id is longer than that of any image task."""
    is_inline = image_task_id.startswith(INLINE_PREFIX)
    return len(image_task_id) > (LONGEST_INLINE_ID if is_inline else LONGEST_ID)


def cleaned(value: str, *, most: int = LONGEST_TEXT) -> str:
    """Return a text as it may be logged, stored and shown anywhere: on one line, and no longer than it may be.

    Line breaks become blanks; NUL, halves of surrogate pairs, other control characters and those that turn the
    direction of writing are left out.

    :param most: characters.
    """
    if value.isprintable():
        return value[:most]
    return _UNWANTED.sub("", _BREAKS.sub(" ", value[: 2 * most]))[:most]


def text(value: Any, *, most: int = LONGEST_TEXT) -> str | None:
    """Return non-empty text, cleaned, or a number as text; None for anything else.

    :param most: characters.
    """
    if value is None:
        return None
    # What most are comes first, here and below: this is asked of every value of every status answer.
    if type(value) is str and value.isprintable():
        return value[:most] or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return (cleaned(value, most=most) or None) if isinstance(value, str) else None


def address(value: Any) -> str | None:
    """Return a URL or a path, cleaned; None for anything else. What is in a ``data:`` address is kept as it is."""
    return value if is_data_url(value) else text(value, most=LONGEST_ADDRESS)


def is_data_url(value: Any) -> bool:
    """Whether an address holds what it is the address of; https://www.rfc-editor.org/rfc/rfc2397."""
    return isinstance(value, str) and value[:5].lower() == "data:"


def moment(value: Any) -> float | None:
    """Return a moment in Unix seconds, also of one in milliseconds or finer, or as ISO-8601 text.

    None for what is none of this century. A text without a timezone is taken as UTC.
    """
    if value is None:
        return None
    if type(value) is float and _CALENDAR[0] <= value < _CALENDAR[1]:
        return value
    seconds = number(value)
    if seconds is None and isinstance(value, str):
        with suppress(ValueError, OverflowError):
            read = datetime.fromisoformat(value)
            seconds = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    if seconds is None:
        return None
    units = (seconds / per_second for per_second in (1, 1e3, 1e6, 1e9))
    return next((each for each in units if _CALENDAR[0] <= each < _CALENDAR[1]), None)


def structure(value: Any) -> dict[str, Any] | None:
    """Return an object as plain JSON of a few kilobytes, without what is too long, too deep or too much of it.

    :returns: None for anything else, and for one of which nothing is left.
    """
    return _kept(value, _DEEPEST, [_MOST_ENTRIES]) or None if isinstance(value, dict | Mapping) else None


def _kept(value: Any, depth: int, room: list[int]) -> Any:
    """Return what is kept of a value; None where that is nothing.

    :param room: how many more entries there may be in all.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) < _LARGEST_NUMBER else None
    if isinstance(value, str):
        return text(value, most=_LONGEST_ENTRY)
    is_object = isinstance(value, dict | Mapping)
    if not depth or not (is_object or isinstance(value, list | tuple)):
        return None
    kept: list[tuple[Any, Any]] = []
    for name, entry in value.items() if is_object else enumerate(value):
        if room[0] <= 0:
            break
        room[0] -= 1
        found = _kept(entry, depth - 1, room)
        if found is not None:
            kept.append((text(name, most=_LONGEST_ENTRY) or "", found))
    return dict(kept) if is_object else [entry for _, entry in kept]


def number(value: Any) -> float | None:
    """Return a finite number, given as one or as text; None for anything else."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def whole_number(value: Any) -> int | None:
    """Return a whole number; None for anything else."""
    if type(value) is int and abs(value) < _LARGEST_NUMBER:
        return value
    result = number(value)
    return int(result) if result is not None and result == int(result) else None


def seconds_to_wait(value: Any) -> float | None:
    """Return for how many seconds a service wants to be left alone, within sense; None where it does not say."""
    result = number(value)
    return None if result is None else min(max(0.0, result), LONGEST_RETRY_AFTER)


@cache
def _plain_names(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(plain_name, names))


def options_named(names: Collection[str], options: Mapping[str, Any], *, levels: int = 3) -> Iterator[tuple[str, Any]]:
    """Yield the options of some names that are set, also those within other options, by where they stand.

    :param names: as in ``num_images``; ``numImages`` is the same.
    :param levels: of objects that are looked into.
    """
    if not options:
        return
    wanted = _plain_names(tuple(names))
    for name, value in options.items():
        if plain_name(name) in wanted:
            if value is not None:
                yield str(name), value
        elif levels > 1 and not isinstance(value, str) and isinstance(value, dict | Mapping):
            yield from ((f"{name}.{inner}", found) for inner, found in options_named(names, value, levels=levels - 1))


def mapping(value: Any) -> Mapping[str, Any]:
    """Return an object; an empty one for anything else."""
    return value if isinstance(value, dict | Mapping) else {}


def sequence(value: Any) -> list[Any]:
    """Return a list; an empty one for anything else."""
    return value if isinstance(value, list) else []
