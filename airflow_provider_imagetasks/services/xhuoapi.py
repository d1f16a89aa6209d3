"""XHuoAPI: the gateway of AceDataCloud under another name (XHuoAPI's "OpenAI Tasks API" and image guides).

It keeps a record only of what was submitted with a callback URL, so one is always sent.
"""

from __future__ import annotations

from airflow_provider_imagetasks.services.tasks_api import TasksApiService

NOWHERE = "https://callback.invalid/"
"""A reserved name that cannot exist: no picture goes to a stranger, and polling does the rest."""


class XHuoApi(TasksApiService):
    """XHuoAPI at api.xhuoapi.ai, below ``/v1``."""

    name = "xhuoapi"
    title = "XHuoAPI"
    default_base_url = "https://api.xhuoapi.ai/v1"
    console_url = "https://platform.xhuoapi.ai"
    keeps_answers_at_once = False
    fallback_callback_url = NOWHERE
