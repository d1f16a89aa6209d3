"""What a service answers in each case, in its own words, for the check that holds it against the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.transports.answering_server import Reply

UNKNOWN_ID = "nobody-knows-this-id"
"""The id beside ``image_task_id`` in a question for several."""


@dataclass(kw_only=True)
class ServiceAnswers:
    """What a service answers, in its own words: each a status and a body.

    :param accepted: to a submission; ``image_task_id`` is the id that it gives, as the flows name it.
    :param running: to a status question; likewise ``succeeded``, ``failed`` and ``not_found``. A list where one
        question makes several requests.
    :param picture_urls: where the pictures of ``succeeded`` are; None for one that the record itself holds.
    :param refusals: to a submission that is not taken, by the class of error that it means.
    :param connection: to the free request that checks the key.
    :param several: to a question for ``image_task_id``, which succeeded, and ``UNKNOWN_ID``: where its ``batch_size``
        is more than one. A service that ``batch_leaves_out`` some is to leave out the latter.
    :param cancelled: to a cancel that is taken: where it ``can_cancel``.
    :param stopped: to a status question for an image task that was cancelled: likewise.
    :param callback: a call that is signed well, with the headers that count for that alone: where it signs them.
    :param webhook_secret: what the connection has to check that with.
    :param callback_keys: to the question for the keys that it publishes for that.
    """

    image_task_id: str
    accepted: Reply
    running: Reply | list[Reply]
    succeeded: Reply | list[Reply]
    failed: Reply | list[Reply]
    not_found: Reply | list[Reply]
    picture_urls: tuple[str | None, ...]
    connection: Reply | list[Reply]
    refusals: Mapping[type[ImageTaskError], Reply] = field(default_factory=dict)
    several: Reply | list[Reply] = None
    cancelled: Reply | list[Reply] = None
    stopped: Reply | list[Reply] = None
    callback: Callback | None = None
    webhook_secret: str | None = None
    callback_keys: Reply | list[Reply] = (404, {})
