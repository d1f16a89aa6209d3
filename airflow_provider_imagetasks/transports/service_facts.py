"""Facts of a service, for the check that holds it against the contract: what it says of itself, and what it answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services import get_service, known_services
from airflow_provider_imagetasks.services.account_fields import ConnectionField
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.connection_contract import OLDEST_CALLBACK, Callback
from airflow_provider_imagetasks.services.rates import Rate, Tier
from airflow_provider_imagetasks.tasks import ImageRequest, is_web_address
from airflow_provider_imagetasks.transports.answering_server import Reply

UNKNOWN_ID = "nobody-knows-this-id"
"""The id beside ``image_task_id`` in a question for several."""
UNKNOWN_WORD = "a-word-of-the-check"
"""A state that no service has yet."""
LOST: Mapping[str, Reply] = {
    "no answer": None,
    "HTTP 500": (500, {"error": "later"}),
    "HTTP 504 from a proxy": (504, b"<html>"),
    "an answer that is no JSON": (200, b"<html>"),
    "an empty object": (200, {}),
    "a list": (200, []),
}
"""Answers to a submission that do not tell whether it was taken."""
UNREAD: Mapping[str, Reply] = {
    "no answer": None,
    "HTTP 429": (429, {}),
    "HTTP 500": (500, {}),
    "no JSON": (200, b"<html>"),
}
"""Answers to a status question that tell nothing of the image task."""
_LEAST = {"batch_size": 1, "requests_per_read": 1, "most_edit_images": 1, "images_per_request": 1, "poll_interval": 0.1}


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


def forged(good: Callback, image_task_id: str) -> Iterator[tuple[str, Callback]]:
    """Yield callbacks that are not signed well, each with what is wrong with it.

    :param good: one that is.
    :param image_task_id: that it is about, as it stands in its body.
    """
    yield "of an hour ago", replace(good, at=good.at + 12 * OLDEST_CALLBACK)
    yield "without headers", replace(good, headers={})
    yield "without a body", replace(good, body=b"")
    yield "for another image task", replace(good, body=good.body.replace(image_task_id.encode(), b"x"))
    for name, value in good.headers.items():
        yield f"with another {name}", replace(good, headers={**good.headers, name: value[::-1] + "0"})


def wrong_facts(service: Service) -> Iterator[str]:
    """Yield what is wrong with what a service says of itself."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", service.name):
        yield f"name is {service.name!r}, which is no lower-case word"
    namesake = next((name for name in known_services() if name.lower() == service.name.lower()), service.name)
    if namesake != service.name:
        yield f"a service is installed as {namesake!r}, and its name is {service.name!r}: a connection finds neither"
    elif namesake in known_services() and not isinstance(service, type(get_service(namesake))):
        yield f"name is {namesake!r}, as of another service, which connections of that name use"
    if not service.default_base_url.startswith("https://"):
        yield f"default_base_url is {service.default_base_url!r}, which is not https"
    if service.console_url is not None and not is_web_address(service.console_url):
        yield f"console_url is {service.console_url!r}, which nobody can open"
    if service.has_account_webhook and type(service).check_callback is Service.check_callback:
        yield "has_account_webhook is true, and check_callback checks nothing"
    if not all(isinstance(field, ConnectionField) for field in service.connection_fields.values()):
        yield "connection_fields holds what is no ConnectionField"
    for name, least in _LEAST.items():
        if not isinstance(getattr(service, name), int | float) or getattr(service, name) < least:
            yield f"{name} is {getattr(service, name)!r}, not a number from {least}"
    life = service.results_live_for
    if life is not None and not (isinstance(life, int | float) and life > 0):
        yield f"results_live_for is {life!r}, neither None nor seconds"
    if wide := [host for host in service.key_hosts if host.strip(".").count(".") < 1]:
        yield f"key_hosts holds {wide!r}: the key could go to anybody there"
    tiers = [*service.tiers.values()]
    limits = [rate for tier in tiers if isinstance(tier, Tier) for rate in (tier.submit, tier.query)]
    if len(limits) < 2 * len(tiers) or not all(
        isinstance(rate, Rate) for rate in (service.default_query_rate, *limits)
    ):
        yield "default_query_rate or a tier is no Rate"
    if service.image_count({service.image_count_options[0]: 3}) != 3 * service.images_per_request:
        yield f"image_count does not read {service.image_count_options[0]!r}"


def wrong_estimates(service: Service, request: ImageRequest) -> Iterator[str]:
    """Yield what a service says of a request that cannot be.

    :param request: completed.
    """
    price, life, count = service.price_of(request), service.results_life(request), service.image_count_of(request)
    if price is not None and not (isinstance(price, int | float) and price >= 0):
        yield f"price_of gives {price!r}, neither None nor dollars"
    if life is not None and not (isinstance(life, int | float) and life > 0):
        yield f"results_life gives {life!r}, neither None nor seconds"
    if not isinstance(count, int) or count < 1:
        yield f"image_count_of gives {count!r}, not a number of pictures"


def with_other_word(reply: Reply, word: str | None) -> Reply:
    """Return an answer with a state that nobody knows in place of another; None where that is not in it.

    :param word: the state that it has.
    """
    said = json.dumps(reply[1]) if reply is not None and not isinstance(reply[1], bytes) else ""
    known = json.dumps(word)
    return (
        (reply[0], json.loads(said.replace(known, f'"{UNKNOWN_WORD}"'))) if reply and word and known in said else None
    )
