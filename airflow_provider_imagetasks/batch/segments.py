"""Segments of a batch's ledger: what it meant to submit, what was taken, and what came of it. Pure.

``intents-<generation>-<number>-<start>.jsonl`` begins with a line about the group; then comes a line for each
submission, at first without an id. ``outcomes-<generation>-<number>-<start>.jsonl`` has a line for each row that is
over, in the form of the manifest's rows. Numbers rise over both kinds, so that the latest word on a row is the one in
the highest number; the start keeps one that was replaced, and does not know it yet, from writing over its successor's.
Later versions must read these: fields are only ever added.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.submissions.submission_record import read_stored
from airflow_provider_imagetasks.tasks import moment_of_submission

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_OTHER_LINE_ENDS = {ord(each): f"\\u{ord(each):04x}" for each in "\x85\u2028\u2029"}

SCHEMA = 1
_NAME = re.compile(r"(intents|outcomes)-(\d{1,9})-(\d{1,9})(?:-([\w-]{1,40}))?\.jsonl")


@dataclass(frozen=True, order=True)
class SegmentName:
    """Which segment it is; they sort by generation and number.

    :param start: that wrote it; empty for one of an earlier version.
    """

    generation: int
    number: int
    kind: Literal["intents", "outcomes"]
    start: str = ""

    def __str__(self) -> str:
        return "-".join((self.kind, str(self.generation), f"{self.number:06d}", *filter(None, [self.start]))) + ".jsonl"


def read_name(name: str) -> SegmentName | None:
    """Return which segment a file is, None where it is none."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return SegmentName(int(match[2]), int(match[3]), "intents" if match[1] == "intents" else "outcomes", match[4] or "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Intent:
    """One submission.

    :param index: the row.
    :param attempt: how many times the row was submitted before in this generation.
    :param at: Unix seconds before it left.
    :param image_task_id: what the service answered; None while that is not known.
    :param submitted_at: Unix seconds of the answer.
    :param taken: False where the service definitely did not take it.
    :param is_repetition: whether it is the last one over again, under the same key; not kept.
    :param after_unbilled: whether the submission before it turned out to cost nothing.
    """

    index: int
    attempt: int
    at: float
    image_task_id: str | None = None
    submitted_at: float | None = None
    taken: bool = True
    is_repetition: bool = False
    after_unbilled: bool = False

    @property
    def since(self) -> float:
        """Unix seconds since which the service has it, as far as that is known."""
        return moment_of_submission(self.submitted_at, self.at)


def intents_content(intents: Sequence[Intent], account: Account, key_digest: str | None = None) -> bytes:
    """Return the content of a segment of intents that go out with an account.

    :param key_digest: of its API key.
    """
    head = {"schema": SCHEMA, "conn_id": account.conn_id, "base_url": account.base_url, "rows": len(intents)}
    lines: list[dict[str, Any]] = [head | ({"key_digest": key_digest} if key_digest else {})]
    for intent in intents:
        line: dict[str, Any] = {"index": intent.index, "attempt": intent.attempt, "at": intent.at}
        if intent.image_task_id:
            line |= {"image_task_id": intent.image_task_id, "submitted_at": intent.submitted_at}
        elif not intent.taken:
            line["taken"] = False
        if intent.after_unbilled:
            line["after_unbilled"] = True
        lines.append(line)
    return b"".join(map(json_line, lines))


def read_intents(content: bytes) -> tuple[Mapping[str, Any], list[Intent]]:
    """Return the first line and the submissions of a segment of intents.

    :raises ValueError: it is damaged, or of a newer form.
    """
    lines = iter(read_json_lines(content))
    head = next(lines, None)
    if head is None or not isinstance(head.get("schema"), int):
        raise ValueError("it does not begin with its schema")
    if head["schema"] > SCHEMA:
        raise ValueError(f"its schema is {head['schema']}, and this version knows {SCHEMA}; use the newer version")
    intents = [read_stored(Intent, line, "a line of it") for line in lines]
    if any(intent.index < 0 or intent.attempt < 0 for intent in intents):
        raise ValueError("a line of it is damaged: its row or its attempt is below zero")
    if len(intents) != head.get("rows", len(intents)):
        raise ValueError(f"it holds {len(intents)} of its {head['rows']} submissions; the others may be paid for")
    return head, intents


def json_line(value: Mapping[str, Any]) -> bytes:
    """Return a value as one line of JSON, whatever a reader takes for the end of a line."""
    line = _JSON.encode(value).translate(_OTHER_LINE_ENDS)
    return line.encode("utf-8", "backslashreplace") + b"\n"


def read_json_lines(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of ours.

    :raises ValueError: a line is not one.
    """
    for number, line in enumerate(content.splitlines(), start=1):
        value = json.loads(line)
        if not isinstance(value, dict):
            raise ValueError(f"line {number} is not an object")
        yield value
