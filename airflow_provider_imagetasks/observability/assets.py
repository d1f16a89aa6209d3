"""Announces stored pictures to Airflow as assets, so that other Dags run on them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_provider_imagetasks.services.fields import structure
from airflow_provider_imagetasks.tasks import prompt_excerpt

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_log = logging.getLogger(__name__)

MOST_EVENTS = 1_000
"""Pictures that one task announces one by one: each is an asset and an event in Airflow's database."""
MOST_LISTED = 20
"""Pictures that one event lists."""


def stable_uri(uri: str) -> str:
    """Return a URI without what is not its identity: user name, connection id, query and fragment.

    :param uri: where a picture is; a query is only looked for in ``http`` and ``https``, elsewhere it is a name.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    authority, slash, path = rest.partition("/")
    if scheme in ("http", "https"):
        path = path.partition("#")[0].partition("?")[0]
    return f"{scheme}{separator}{authority.rpartition('@')[2].partition('?')[0]}{slash}{path}"


def picture_extra(
    file: Mapping[str, Any], *, service: str, model: str | None, prompt: str | None, usage: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what an event says of one picture, about 1 KB and never more than some.

    :param file: the picture's entry in the XCom of its task.
    :param usage: of all pictures of its image task together.
    """
    return {
        **file,
        "uri": stable_uri(str(file["uri"])),
        "service": service,
        "model": model,
        "prompt": prompt_excerpt(prompt),
        "usage": structure(usage),
    }


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """The pictures that a task stored.

    :param pictures: as :func:`picture_extra` returns them; no more than ``MOST_EVENTS`` are needed.
    :param count: how many there are.
    :param bytes: of all of them.
    :param manifest: where a batch accounts for them.
    """

    pictures: Sequence[Mapping[str, Any]]
    count: int
    bytes: int
    manifest: str | None = None


def announce_pictures(context: Context, outlets: Sequence[Any], announcement: Announcement) -> None:
    """Add to the events that Airflow makes of a task's outlets once the task succeeds.

    An ``AssetAlias`` gets an event for each picture, whose own URI is the asset. An ``Asset`` gets its one event, with
    ``{count, bytes, pictures}``, of which the first 20 pictures are listed, and a batch's ``manifest``.

    :param outlets: of the task.
    """
    for outlet in outlets:
        if isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra = _summary(announcement)
        if not isinstance(outlet, AssetAlias):
            continue
        event = context["outlet_events"][outlet]
        for picture in announcement.pictures[:MOST_EVENTS]:
            asset = _asset_of(str(picture["uri"]))
            if asset is not None:
                event.add(asset, extra=dict(picture))
        if announcement.count > MOST_EVENTS:
            _log.warning(
                "%s pictures are stored, and the first %s are announced to the asset alias %r. All of them are in %s",
                announcement.count,
                MOST_EVENTS,
                outlet.name,
                announcement.manifest or "this task's XCom",
            )


def _summary(announcement: Announcement) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "count": announcement.count,
        "bytes": announcement.bytes,
        "pictures": [dict(picture) for picture in announcement.pictures[:MOST_LISTED]],
    }
    return {**summary, "manifest": stable_uri(announcement.manifest)} if announcement.manifest else summary


def _asset_of(uri: str) -> Asset | None:
    """Return the asset of a picture, None where Airflow does not take its URI: the picture is in place all the same."""
    try:
        # A question mark in a file's name would read as a query, and MySQL takes only ASCII.
        return Asset(uri=quote(uri, safe=":/@!$&'()*+,;=~%"))
    except ValueError as error:
        _log.warning("%s is stored, but cannot be announced as an asset: %s", uri, error)
        return None
