"""A cancel over HTTP: what the services that have one share in how they answer it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.fields import text
from airflow_provider_imagetasks.services.refusals import object_in
from airflow_provider_imagetasks.services.wire import Flow, Request, Response


def stop(
    request: Request | None,
    image_task_id: str,
    *,
    service: str,
    title: str,
    over: Collection[str],
    refusal: Callable[[Response, Mapping[str, Any]], ImageTaskError],
) -> Flow[str]:
    """Ask a service once to stop an image task, and return its word for how that stands then, in lower case.

    :param request: None for an id that the service never gave.
    :param service: its name; ``title`` is the one that people know it by.
    :param over: the words for one that is over.
    :param refusal: reads an answer that is an error.
    :returns: empty where the answer, a good one, has no word.
    :raises InvalidRequestError: there is nothing to stop, or nothing any more.
    :raises ImageTaskError: it is not clear what came of it.
    """
    facts: dict[str, Any] = {"image_task_id": image_task_id, "service": service, "billed": "unknown"}
    if request is None:
        yield from ()
        raise InvalidRequestError(f"{image_task_id[:80]!r} is not an image task of {title}", **facts)

    def word_in(answer: Response) -> str:
        if 200 <= answer.status < 300 and not answer.content.strip():
            return ""
        said = object_in(answer, service=service)
        word = (text(said.get("status")) or "").lower()
        if word in over:
            raise InvalidRequestError(f"It is already over ({word}); its pictures can still be fetched", **facts)
        if answer.status == 404:
            raise InvalidRequestError(f"{title} does not know the image task", **facts)
        if answer.status >= 400:
            raise refusal(answer, said)
        return word

    return (yield from exchange.read(request, word_in, service=service))
