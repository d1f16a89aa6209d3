"""What became of a submission, Clear by Clear, and how the documentation says it."""

from __future__ import annotations

from dataclasses import dataclass, field

ERRORS = ("UnknownOutcomeError", "InvalidRequestError", "QuotaExceededError", "AuthenticationError")
WORDS = {
    "UnknownOutcomeError": "fails: outcome unknown",
    "InvalidRequestError": "fails: request changed",
    "QuotaExceededError": "fails: refused",
    "AuthenticationError": "fails: refused",
    "marked": "marked failed",
}


@dataclass(frozen=True)
class Life:
    """What happened from the start of a task, or from a Clear of it, to its end with all retries.

    :param created: ids of the image tasks that the service created meanwhile.
    :param state: of the task, at the end.
    :param handed_on: the image task id in its XCom.
    :param error: the class of the error that failed it; ``marked`` where a person did.
    :param log: of its last try.
    """

    created: tuple[str, ...]
    state: str
    handed_on: str | None
    error: str | None = None
    log: str = field(default="", repr=False)


@dataclass(frozen=True)
class Observation:
    """The lives of one submission."""

    lives: tuple[Life, ...]

    @property
    def cell(self) -> str:
        """What the documentation's table says of it."""
        return "; Clear: ".join(_words(life, self.lives[:number]) for number, life in enumerate(self.lives))

    def faults(self, *, pays_twice: bool = False) -> list[str]:
        """Return what is wrong with it: nothing, where each life made one picture at most and told the truth.

        :param pays_twice: whether a killed worker is known to cost a second picture here.
        """
        found = [
            fault for number, life in enumerate(self.lives) for fault in _faults(life, self.lives[:number], pays_twice)
        ]
        if len(self.lives[0].created) > 1 + pays_twice:
            found.append(f"{len(self.lives[0].created)} pictures")
        found += [f"{len(life.created)} pictures after a Clear" for life in self.lives[1:] if len(life.created) > 1]
        if self.lives[-1].state != "success":
            found.append(f"{self.lives[-1].state} at last")
        return found


UNSTORABLE = "neither be sent nor stored"
NO_RECORD = "There is no record of what earlier tries submitted"


def _words(life: Life, before: tuple[Life, ...]) -> str:
    count = len(life.created)
    if life.state == "success" and not count:
        return "the same picture"
    pictures = f"{count} more" if before else f"{count} picture{'' if count == 1 else 's'}"
    if life.state == "success":
        return pictures
    words = WORDS.get(life.error or "", f"fails: {life.error}")
    if UNSTORABLE in life.log:
        words = WORDS["QuotaExceededError"]
    return words if before and not count else f"{pictures}, {words}"


def _faults(life: Life, before: tuple[Life, ...], pays_twice: bool) -> list[str]:
    created = [image_task_id for earlier in (*before, life) for image_task_id in earlier.created]
    if life.state == "success":
        latest = tuple(created[-1 - pays_twice :])
        # Some ids begin with the API that the image task is at.
        is_one = (life.handed_on or "").endswith(latest)
        return [] if is_one else [f"handed on {life.handed_on}, not one of {latest}"]
    if life.error == "UnknownOutcomeError":
        told = ("Look at the ", "around that time", "Clear submits again", "It may have been billed")
    elif UNSTORABLE in life.log:
        told = (UNSTORABLE, "Correct it, then Clear the task")
        told += ("It was not billed",) if NO_RECORD not in life.log else ("It may have been billed",)
    elif life.error == "InvalidRequestError":
        told = ("The request has changed since it was submitted", "Clear submits the new request")
    elif WORDS.get(life.error or "") == "fails: refused":
        # Where nothing is kept, it is said of this try alone.
        told = ("It was not billed",) if NO_RECORD not in life.log else ("It may have been billed",)
    else:
        told = ()
    if life.error not in WORDS:
        return [f"{life.state}: {life.error}"]
    return [f"the log does not say {words!r}" for words in told if words not in life.log]
