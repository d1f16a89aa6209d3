"""What Replicate's own client does as its documentation shows: run by an interpreter that has it, and told as JSON."""

from __future__ import annotations

import json
import sys

import replicate
from replicate.exceptions import ModelError, ReplicateError
from replicate.webhook import Webhooks

MODEL = "black-forest-labs/flux-schnell"
VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"


def failure_of(prompt: str) -> list[object]:
    try:
        replicate.run(MODEL, input={"prompt": prompt})
    except ModelError as error:
        return ["model", error.prediction.status]
    except ReplicateError as error:
        return ["http", error.status]
    return []


made = replicate.predictions.create(version=VERSION, input={"prompt": "a red kite [latency=1]", "num_outputs": 2})
first = made.status
made.wait()
official = replicate.models.predictions.create(MODEL, input={"prompt": "a boat"})
deployed = replicate.deployments.predictions.create("me/mine", input={"prompt": "a third"})
stopped = replicate.predictions.create(version=VERSION, input={"prompt": "a fourth [never]"})
stopped.cancel()
files = replicate.run(MODEL, input={"prompt": "a fifth"})
json.dump(
    {
        "first": first,
        "made": [made.status, made.output],
        "official": replicate.predictions.get(official.id).status,
        "deployed": deployed.model,
        "stopped": stopped.status,
        "listed": [each.id for each in replicate.predictions.list()][-4:]
        == [stopped.id, deployed.id, official.id, made.id],
        # It makes files of what comes by https only.
        "run": [str(file).rpartition(".")[2] for file in files],
        "secret": Webhooks(replicate.default_client).default.secret().key[:6],
        "errors": {prompt: failure_of(prompt) for prompt in ("[fail]", "[refuse-late]", "[no-credit]", "[refuse]")},
    },
    sys.stdout,
)
