"""What OpenAI's own client does with files and batches as its documentation shows: told as JSON."""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import openai

client = openai.OpenAI(max_retries=0)


def line(number: int, prompt: str) -> str:
    body = {"model": "gpt-image-2", "prompt": prompt, "size": "64x64"}
    return json.dumps(
        {"custom_id": f"request-{number}", "method": "POST", "url": "/v1/images/generations", "body": body}
    )


def created(*prompts: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "batch.jsonl"
        path.write_text("\n".join(line(number, prompt) for number, prompt in enumerate(prompts)))
        uploaded = client.files.create(
            file=path.open("rb"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
        )
    return client.batches.create(
        input_file_id=uploaded.id,
        endpoint="/v1/images/generations",
        completion_window="24h",
        metadata={"description": "nightly catalogue"},
    )


def over(batch: Any) -> Any:
    while batch.status in {"validating", "in_progress", "finalizing", "cancelling"}:
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    return batch


first = created("a red kite", "a boat [refuse]", "a tree")
made = over(first)
results = [json.loads(each) for each in client.files.content(made.output_file_id).text.splitlines()]
errors = [json.loads(each) for each in client.files.content(made.error_file_id).text.splitlines()]
picture = base64.b64decode(results[0]["response"]["body"]["data"][0]["b64_json"])
stopped = client.batches.cancel(created("a kite [never]").id)
refused = over(created("a kite [batch=invalid]"))
uploaded = client.files.retrieve(made.input_file_id)
try:
    client.files.content("file-gone")
    gone = ""
except openai.NotFoundError as error:
    gone = type(error).__name__
json.dump(
    {
        "first": first.status,
        "made": [made.status, made.request_counts.completed, made.request_counts.failed, made.metadata],
        "results": sorted(each["custom_id"] for each in results),
        "picture": picture[1:4].decode(),
        "errors": [[each["custom_id"], each["response"]["body"]["error"]["code"]] for each in errors],
        "stopped": stopped.status,
        "refused": [refused.status, refused.errors.data[0].line, refused.errors.data[0].code],
        "uploaded": [uploaded.purpose, uploaded.filename],
        "listed": [batch.id for batch in client.batches.list(limit=2)] == [refused.id, stopped.id, first.id],
        "gone": gone,
    },
    sys.stdout,
)
