"""What can be set for the whole local service, and the short notations for it."""

from __future__ import annotations

import hashlib
import math
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_OUTPUT_DIR = Path(tempfile.gettempdir()) / "imagetasks-local"
_RATE_LIMIT = re.compile(r"(\d+)/(\d+(?:\.\d+)?)s?")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``count`` requests in any ``seconds`` seconds, for one bearer token."""

    count: int
    seconds: float

    @classmethod
    def parse(cls, notation: str) -> RateLimit:
        """Read ``"20/10s"`` (at most 20 in any 10 seconds).

        :raises ValueError: when the notation is another one.
        """
        match = _RATE_LIMIT.fullmatch(notation.strip())
        if match is None or int(match[1]) < 1 or float(match[2]) <= 0:
            raise ValueError(f"a rate limit is written like 20/10s, not {notation!r}")
        return cls(count=int(match[1]), seconds=float(match[2]))


@dataclass(kw_only=True)
class ServiceOptions:
    """The settings of one local service.

    :param latency: seconds that an image task takes, or ``"1-4"`` for a range.
    :param fail_rate: share (0 to 1) of the image tasks that fail.
    :param refuse_rate: share (0 to 1) of the submissions refused for their content.
    :param rate_limit_rate: share (0 to 1) of the submissions answered with 429.
    :param seed: changes which submissions those shares hit; the same seed hits the same ones.
    :param create_limit: such as ``"20/10s"``: submissions beyond it are answered with 429.
    :param query_limit: such as ``"2/1s"``: status queries beyond it are answered with 429.
    :param max_active: submissions are answered with 429 while so many image tasks of the key are running.
    :param api_keys: the keys that are let in; none lets anyone in, with or without a key.
    :param ignore_trace_id: give every image task a trace id of the service's own.
    :param keep_tasks: how many image tasks are remembered; the oldest are forgotten first.
    :param record_delay: seconds after a submission in which a service whose records come late has none; 0 lets it
        have one at once.
    :param batch_latency: seconds that a provider's own batch takes, by the service's clock.
    :param clock_rate: how many seconds pass for such batches in one: 3600 has a day last 24 seconds.
    :param webhook_secret: what a service that signs its callbacks signs them with; without it they are not signed.
    :param webhook_url: where a service calls that is told so once, for all image tasks.
    :param output_dir: where an MCP server that writes files writes its pictures.
    :raises ValueError: one of them makes no sense.
    """

    latency: float | str = 2.0
    fail_rate: float = 0.0
    refuse_rate: float = 0.0
    rate_limit_rate: float = 0.0
    seed: int = 0
    create_limit: str | None = None
    query_limit: str | None = None
    max_active: int | None = None
    api_keys: Iterable[str] = ()
    ignore_trace_id: bool = False
    keep_tasks: int = 100_000
    record_delay: float = 0.5
    batch_latency: float = 10.0
    clock_rate: float = 1.0
    webhook_secret: str | None = field(default=None, repr=False)
    webhook_url: str | None = None
    output_dir: Path = DEFAULT_OUTPUT_DIR

    def __post_init__(self) -> None:
        self.latencies = _latencies(self.latency)
        self.creations = RateLimit.parse(self.create_limit) if self.create_limit else None
        self.queries = RateLimit.parse(self.query_limit) if self.query_limit else None
        self.keys = frozenset(self.api_keys)
        for name in ("fail_rate", "refuse_rate", "rate_limit_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1")
        if self.max_active is not None and self.max_active < 1:
            raise ValueError("max_active is 1 or more")
        if self.keep_tasks < 1:
            raise ValueError("keep_tasks is 1 or more")
        if not 0 <= self.record_delay < math.inf:
            raise ValueError("record_delay is 0 or more")
        if not 0 <= self.batch_latency < math.inf:
            raise ValueError("batch_latency is 0 or more")
        if not 0 < self.clock_rate < math.inf:
            raise ValueError("clock_rate is more than 0")
        if self.webhook_secret == "":
            raise ValueError("webhook_secret is not empty")

    def chance(self, purpose: str, prompt: str, occurrence: int) -> float:
        """Draw a number in [0, 1) that depends on the seed and the arguments alone.

        :param purpose: what the draw decides, so that two decisions about one prompt are independent.
        :param occurrence: how many times the prompt has come before, so that a repetition is a new draw.
        """
        text = f"{self.seed}:{purpose}:{occurrence}:{prompt}"
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        # 53 bits are what a float holds exactly; all 64 could round up to 1.0.
        return (int.from_bytes(digest, "big") >> 11) / 2**53

    def latency_of(self, prompt: str, occurrence: int) -> float:
        """Return the seconds that the given submission of this prompt takes."""
        shortest, longest = self.latencies
        if shortest == longest:
            return shortest
        return shortest + (longest - shortest) * self.chance("latency", prompt, occurrence)


def _latencies(notation: float | str) -> tuple[float, float]:
    """Read seconds (``2``, ``"0.5"``) or a range of seconds (``"1-4"``)."""
    first, _, second = str(notation).partition("-")
    try:
        shortest, longest = float(first), float(second or first)
    except ValueError:
        raise ValueError(f"a latency is written like 2 or 1-4, not {notation!r}") from None
    if not 0 <= shortest <= longest < math.inf:
        raise ValueError(f"a latency is 0 or more, the shorter first, not {notation!r}")
    return shortest, longest
