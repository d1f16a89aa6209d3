"""What OpenAI's own client makes of calls of its webhook: whether it believes them, and what they tell it, as JSON."""

from __future__ import annotations

import json
import os
import sys

import openai

client = openai.OpenAI(webhook_secret=os.environ["WEBHOOK_SECRET"])
told = []
for call in json.loads(os.environ["CALLS"]):
    event = client.webhooks.unwrap(call["body"], call["headers"])
    told.append([event.type, event.data.id])
    try:
        client.webhooks.unwrap(call["body"] + " ", call["headers"])
        told.append(["a forged call was believed", ""])
    except openai.InvalidWebhookSignatureError:
        pass
json.dump(sorted(told), sys.stdout)
