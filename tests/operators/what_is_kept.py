"""Secrets that a test puts somewhere, and all that is left of a task in which they may stand."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, unquote

import pytest

from tests.task_runner import Outcome, TaskRunner

SIGNATURE = "Zm9vYmFyYmF6/c2lnbmF0dXJl+PT0="
IN_URL = quote(SIGNATURE, safe="")
INPUT = f"https://bucket.example/in.png?Expires=17900&Signature={IN_URL}"
TOKEN = "eyJjb25uX2lkIjogIm1pbmUifQ.c2lnbmF0dXJlLW9mLXRoZS11cmw"
CALLBACK = f"https://airflow.example/imagetasks/callback/{TOKEN}"
PASSWORD = "pass%2Fw0rd-of-bucket"
WITH_USER = f"https://AKIDEXAMPLE:{PASSWORD}@bucket.example/in.png"
KEY = "sk-nobody-may-see-this/at+all="
SECRETS = (
    SIGNATURE,
    IN_URL,
    TOKEN,
    "AKIDEXAMPLE",
    PASSWORD,
    unquote(PASSWORD),
    KEY,
    quote(KEY, safe=""),
    base64.b64encode(KEY.encode()).decode(),
)


def runner_for(service: str, url: str, **extra: Any) -> TaskRunner:
    connection = {"host": url, "password": KEY, "extra": {"service": service, "poll_interval": 1, **extra}}
    return TaskRunner(connections={"imagetasks_default": connection})


def kept(runner: TaskRunner, outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> str:
    """Return all that is left of a task but its templates, which are the author's own words."""
    said = capsys.readouterr()
    stored = [*runner.xcoms.values(), *runner.states.values()]
    message = getattr(outcome.message, "trigger_kwargs", None), getattr(outcome.message, "next_kwargs", None)
    return "\n".join([said.out, said.err, json.dumps(stored), json.dumps(message, default=str), str(outcome.error)])


def leaks(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]
