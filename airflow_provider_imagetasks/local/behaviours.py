"""Behaviours that a prompt asks for in square brackets.

A directive is ``[name]``, ``[name=value]``, ``[name=value,option=value]`` or ``[name,option=value]``. Directives are
taken out of the text that is drawn. What is not in this table, or has a value that makes no sense, is prompt text.

``N`` means: only the first N times. Without it: every time. At submission the times are counted for the exact
prompt (of one dialect), at status queries for the image task, at downloads for the picture.

=============================  ======================================================================
Directive                      What happens
=============================  ======================================================================
**The image task**
``[latency=S]``                it takes S seconds
``[never]``                    it never finishes
``[fail]`` ``[fail=CODE]``     it fails (with this error code)
``[refuse-late=CODE]``         it fails because of its content (with this error code)
``[no-images]``                it succeeds without a picture
``[n-less]`` ``[n-less=K]``    it succeeds with one picture (K pictures) fewer than asked, at least one
``[b64]``                      its pictures come in base64 instead of as URLs (Tasks API)
``[nested]``                   its pictures come one level deeper, in ``data.data`` (Tasks API)
``[unknown-state=WORD]``       it is in a state nobody knows (default ``dreaming``) while it runs
``[late-record=S]``            status queries do not find it for the first S seconds
``[result-url=URL]``           this is the address of its pictures, whatever it is
**The submission, not accepted**
``[refuse]`` ``[refuse=CODE]``  refused because of its content (with this error code)
``[no-credit]``                refused because the balance is used up
``[expired-key]``              refused because the key has expired
``[429=N]``                    429; option ``retry-after=S`` (default 1)
``[500=N]``                    500; option ``status=CODE`` for another HTTP status
``[cut=N]``                    the connection is cut
``[html]`` ``[html=502]``      an HTML page with HTTP 200 (or another status); option ``times=N``
``[error-in-200=CODE]``        HTTP 200 with an error in the body; option ``times=N``
**The submission, accepted**
``[500-after=N]``              an image task is created, the answer is 500; option ``status=CODE``
``[cut-after=N]``              an image task is created, the connection is cut without an answer
``[hang-after=N]``             an image task is created, no answer ever comes
``[garbage=N]``                an image task is created, the answer is half a JSON document
``[sync]``                     answered with the finished pictures although async was asked (Tasks API)
``[sync=anonymous]``           the same, without any id and without a record (Tasks API)
**Status queries**
``[poll-429=N]``               429; option ``retry-after=S`` (default 1)
``[poll-500=N]``               500; option ``status=CODE``
``[poll-cut=N]``               the connection is cut
``[poll-hang=N]``              no answer ever comes
``[poll-garbage=N]``           half a JSON document
``[poll-html=N]``              an HTML page with HTTP 200; option ``status=CODE``
**Downloads**
``[file-404=N]``               404
``[file-500=N]``               500; option ``status=CODE``
``[file-html=N]``              an HTML page with HTTP 200
``[file-truncated=N]``         the connection is cut in the middle of the picture
``[file-slow=S]``              the picture takes S seconds (default 3) to arrive
``[file-redirect=URL]``        302 to this URL; option ``times=N``
``[file-redirect]``            302 to another address of the same picture; option ``times=N``
``[file-redirect-loop=N]``     302 to itself, for ever, with another query string each time
``[file-huge=N]``              50 GB are announced, a little comes
``[file-endless=N]``           no length is announced, and it never ends
``[file-bomb=N]``              a small PNG file of 30,000 x 30,000 pixels
``[file-svg=N]``               an SVG with a script in it
``[file-fake-png=N]``          an HTML page with the first bytes of a PNG in front, announced as a PNG
``[file-type=TYPE]``           the picture, announced as this type; option ``times=N``
=============================  ======================================================================
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

ValueKind = Literal["none", "times", "seconds", "count", "status", "word", "address", "media type"]

# A value may hold brackets in one case: around the IPv6 address of a URL.
_DIRECTIVE = re.compile(
    r"\[([a-z0-9-]+)(?:=((?:[^\[\],]|\[[0-9a-fA-F.]*:[0-9a-fA-F.:%]*\])+))?((?:,[a-z-]+=[^\[\],=]+)*)\]"
)


@dataclass(frozen=True, slots=True)
class Directive:
    """One row of the table: which value and which options (each a number) a directive takes."""

    value: ValueKind
    needs_value: bool = False
    options: frozenset[str] = frozenset()


_STATUS = frozenset({"status"})
_RETRY_AFTER = frozenset({"retry-after"})
_TIMES = frozenset({"times"})

DIRECTIVES: Mapping[str, Directive] = {
    "latency": Directive("seconds", needs_value=True),
    "never": Directive("none"),
    "fail": Directive("word"),
    "refuse-late": Directive("word"),
    "no-images": Directive("none"),
    "n-less": Directive("count"),
    "b64": Directive("none"),
    "nested": Directive("none"),
    "unknown-state": Directive("word"),
    "late-record": Directive("seconds", needs_value=True),
    "result-url": Directive("address", needs_value=True),
    "refuse": Directive("word"),
    "no-credit": Directive("none"),
    "expired-key": Directive("none"),
    "429": Directive("times", options=_RETRY_AFTER),
    "500": Directive("times", options=_STATUS),
    "cut": Directive("times"),
    "html": Directive("status", options=_TIMES),
    "error-in-200": Directive("word", options=_TIMES),
    "500-after": Directive("times", options=_STATUS),
    "cut-after": Directive("times"),
    "hang-after": Directive("times"),
    "garbage": Directive("times"),
    "sync": Directive("word"),
    "poll-429": Directive("times", options=_RETRY_AFTER),
    "poll-500": Directive("times", options=_STATUS),
    "poll-cut": Directive("times"),
    "poll-hang": Directive("times"),
    "poll-garbage": Directive("times"),
    "poll-html": Directive("times", options=_STATUS),
    "file-404": Directive("times"),
    "file-500": Directive("times", options=_STATUS),
    "file-html": Directive("times"),
    "file-truncated": Directive("times"),
    "file-slow": Directive("seconds"),
    "file-redirect": Directive("address", options=_TIMES),
    "file-redirect-loop": Directive("times"),
    "file-huge": Directive("times"),
    "file-endless": Directive("times"),
    "file-bomb": Directive("times"),
    "file-svg": Directive("times"),
    "file-fake-png": Directive("times"),
    "file-type": Directive("media type", needs_value=True, options=_TIMES),
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
        setting = self.settings.get(name)
        return default if setting is None or setting.value is None else float(setting.value)

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
        kind: ValueKind = "status" if option_name == "status" else "seconds"
        if option_name not in directive.options or not _makes_sense(kind, number):
            return None
        read[option_name] = float(number)
    return Setting(value, read)


def _makes_sense(kind: ValueKind, value: str) -> bool:
    if kind == "word":
        return not set(value) & set("=[]")
    if kind == "none":
        return False
    if kind == "address":
        return re.fullmatch(r"\S+", value) is not None
    if kind == "media type":
        return re.fullmatch(r"[\w.+-]+/[\w.+-]+", value, re.ASCII) is not None
    if kind == "seconds":
        return re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value) is not None
    if kind == "status":
        return re.fullmatch(r"[2-5]\d\d", value) is not None
    return re.fullmatch(r"\d{1,6}", value) is not None


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
