"""Directives in square brackets: what one prompt asks for, and how often that has happened.

A directive is ``[name]``, ``[name=value]``, ``[name=value,option=value]`` or ``[name,option=value]``. Directives are
taken out of the text that is drawn. What is not in the table, or has a value that makes no sense, is prompt text. The
documentation of the local image service says what each of them does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ValueKind = Literal["none", "times", "seconds", "count", "status", "word", "address"]

# A value may hold brackets in one case: around the IPv6 address of a URL.
_DIRECTIVE = re.compile(
    r"\[([a-z0-9-]+)(?:=((?:[^\[\],]|\[[0-9a-fA-F.]*:[0-9a-fA-F.:%]*\])+))?((?:,[a-z-]+=[^\[\],=]+)*)\]"
)
_FORMS: Mapping[ValueKind, re.Pattern[str]] = {
    "times": re.compile(r"\d{1,6}"),
    "seconds": re.compile(r"\d{1,6}(\.\d{1,6})?"),
    "count": re.compile(r"\d{1,6}"),
    "status": re.compile(r"[2-5]\d\d"),
    "word": re.compile(r"[^=\[\]]*", re.DOTALL),
    "address": re.compile(r"\S+"),
}


@dataclass(frozen=True, slots=True)
class Directive:
    """One row of the table: which value and which option (a number) a directive takes."""

    value: ValueKind
    needs_value: bool = False
    option: str = ""


DIRECTIVES: Mapping[str, Directive] = {
    **dict.fromkeys(("never", "no-images", "b64", "nested", "odd-texts", "expired-key"), Directive("none")),
    **dict.fromkeys(("fail", "refuse-late", "unknown-state", "refuse", "no-credit", "sync"), Directive("word")),
    **dict.fromkeys(("latency", "late-record"), Directive("seconds", needs_value=True)),
    **dict.fromkeys(("cut", "cut-after", "hang-after", "garbage", "poll-cut", "poll-hang"), Directive("times")),
    **dict.fromkeys(("poll-garbage", "file-404", "file-html", "file-truncated"), Directive("times")),
    **dict.fromkeys(("500", "500-after", "poll-500", "poll-html", "file-500"), Directive("times", option="status")),
    **dict.fromkeys(("429", "poll-429"), Directive("times", option="retry-after")),
    **dict.fromkeys(("n-less", "n-more"), Directive("count")),
    **dict.fromkeys(("batch", "line"), Directive("word", needs_value=True, option="times")),
    "line-kb": Directive("count", needs_value=True),
    "result-url": Directive("address", needs_value=True),
    "html": Directive("status", option="times"),
    "error-in-200": Directive("word", option="times"),
    "file-slow": Directive("seconds"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A directive as a prompt wrote it: its value (None when there was none) and its options."""

    value: str | None = None
    options: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Behaviours:
    """A prompt, taken apart: the text to draw and the directives that were in it."""

    text: str
    settings: Mapping[str, Setting] = field(default_factory=dict)

    @classmethod
    def parse(cls, prompt: str) -> Behaviours:
        """Take the directives out of a prompt."""
        if "[" not in prompt:
            return cls(prompt.strip())
        settings: dict[str, Setting] = {}

        def take_out(match: re.Match[str]) -> str:
            setting = _setting(match[1], match[2], match[3])
            if setting is None:
                return match[0]
            settings[match[1]] = setting
            return " "

        text = _DIRECTIVE.sub(take_out, prompt)
        return cls(re.sub(r"[ \t]{2,}", " ", text).strip(), settings)

    def asks(self, name: str) -> bool:
        """Tell whether the prompt has this directive."""
        return name in self.settings

    def times(self, name: str) -> float:
        """Return how many times the directive applies: 0 when it is absent, infinite when no number is given."""
        setting = self.settings.get(name)
        if setting is None:
            return 0
        if DIRECTIVES[name].value == "times" and setting.value is not None:
            return int(setting.value)
        return setting.options.get("times", math.inf)

    def number(self, name: str, default: float) -> float:
        """Return the directive's value as a number, or the default."""
        value = self.word(name, "")
        return float(value) if value else default

    def word(self, name: str, default: str) -> str:
        """Return the directive's value as written, or the default."""
        setting = self.settings.get(name)
        return default if setting is None or setting.value is None else setting.value

    def option(self, name: str, option: str, default: float) -> float:
        """Return an option of the directive, or the default."""
        setting = self.settings.get(name)
        return default if setting is None else setting.options.get(option, default)


def _setting(name: str, value: str | None, options: str) -> Setting | None:
    """Read one directive; None when the table has no such directive or it makes no sense."""
    directive = DIRECTIVES.get(name)
    if directive is None or (value is None and directive.needs_value):
        return None
    if value is not None and not _makes_sense(directive.value, value):
        return None
    read: dict[str, float] = {}
    for option in options.split(",")[1:]:
        option_name, _, number = option.partition("=")
        if option_name != directive.option or not _makes_sense(
            "status" if option_name == "status" else "seconds", number
        ):
            return None
        read[option_name] = float(number)
    return Setting(value, read)


def _makes_sense(kind: ValueKind, value: str) -> bool:
    return kind in _FORMS and _FORMS[kind].fullmatch(value) is not None


class Occurrences:
    """Counts how often things happened, and forgets the oldest beyond a maximum."""

    def __init__(self, *, maximum: int = 100_000) -> None:
        self._maximum = maximum
        self._counts: dict[str, int] = {}

    def count(self, key: str) -> int:
        """Count one more and return how many there were before."""
        before = self._counts.get(key, 0)
        self._counts[key] = before + 1
        if len(self._counts) > self._maximum:
            del self._counts[next(iter(self._counts))]
        return before

    def applies(self, behaviours: Behaviours, name: str, *, key: str = "") -> bool:
        """Tell whether a directive applies this time, and count it if the prompt has it."""
        times = behaviours.times(name)
        return times > 0 and self.count(f"{name}\0{key}") < times
