"""What fal's own client does as its documentation shows: run by an interpreter that has it, and told as JSON."""

from __future__ import annotations

import json
import sys
import time

import fal_client

MODEL = "fal-ai/flux/dev"


def failure_of(prompt: str) -> list[object]:
    try:
        fal_client.subscribe(MODEL, arguments={"prompt": prompt})
    except fal_client.FalClientHTTPError as error:
        return [error.status_code, error.error_type]
    return []


handler = fal_client.submit(MODEL, arguments={"prompt": "a red kite [latency=1]", "num_images": 2})
first = handler.status()
# A client may end, and another one ask on.
again = fal_client.SyncClient().get_handle(MODEL, handler.request_id)
while not isinstance(again.status(with_logs=True), fal_client.Completed):
    time.sleep(0.2)
result = fal_client.result(MODEL, handler.request_id)

stopped = fal_client.submit(MODEL, arguments={"prompt": "a boat [never]"})
stopped.cancel()
after = stopped.status()

updates: list[str] = []
subscribed = fal_client.subscribe(
    MODEL, arguments={"prompt": "a third"}, on_queue_update=lambda status: updates.append(type(status).__name__)
)
json.dump(
    {
        "first": type(first).__name__,
        "images": [image["url"] for image in result["images"]],
        "cancelled": [type(after).__name__, getattr(after, "error_type", None)],
        "subscribed": [len(subscribed["images"]), updates[-1]],
        "errors": {prompt: failure_of(prompt) for prompt in ("[fail]", "[refuse-late]", "[no-credit]", "[refuse]")},
    },
    sys.stdout,
)
