"""What OpenAI's own client does as its documentation shows: run by an interpreter that has it, and told as JSON."""

from __future__ import annotations

import base64
import json
import sys
import time
from typing import Any

import openai

client = openai.OpenAI(max_retries=0)
TOOL = {"type": "image_generation", "model": "gpt-image-2", "size": "64x64", "quality": "low"}


def asked(text: Any) -> Any:
    return client.responses.create(
        model="gpt-6-luna", input=text, tools=[TOOL], tool_choice={"type": "image_generation"}, background=True
    )


def over(response: Any) -> Any:
    while response.status in {"queued", "in_progress"}:
        time.sleep(0.2)
        response = client.responses.retrieve(response.id)
    return response


def pictures(response: Any) -> list[bytes]:
    calls = [item for item in response.output if item.type == "image_generation_call"]
    return [base64.b64decode(call.result) for call in calls]


def failure_of(prompt: str) -> list[object]:
    try:
        response = over(asked(prompt))
    except openai.APIStatusError as error:
        return [type(error).__name__, error.code]
    return [response.status, response.error.code if response.error else response.incomplete_details.reason]


first = asked("a red kite [latency=1]")
made = over(first)
(picture,) = pictures(made)
address = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
parts = [{"type": "input_text", "text": "winter"}, {"type": "input_image", "image_url": address}]
edited = over(asked([{"role": "user", "content": parts}]))
stopped = client.responses.cancel(asked("a boat [never]").id)
prompts = ("[fail]", "[refuse-late]", "[fail=max_output_tokens]", "[no-credit]", "[refuse]", "[429]")
json.dump(
    {
        "first": first.status,
        "made": [made.status, picture[1:4].decode(), made.usage.total_tokens > 0, made.id == first.id],
        "edited": [edited.status, len(pictures(edited))],
        "stopped": [stopped.status, client.responses.retrieve(stopped.id).status],
        "errors": {prompt: failure_of(prompt) for prompt in prompts},
    },
    sys.stdout,
)
