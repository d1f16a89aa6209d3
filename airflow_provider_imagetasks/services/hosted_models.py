"""Models of many makers, which some services host: their names, as people paste them, and the pictures they return."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.fields import LONGEST_ADDRESS, address, is_data_url, text
from airflow_provider_imagetasks.services.wire import read_json
from airflow_provider_imagetasks.tasks import MOST_IMAGES, is_web_address

_OTHER_MEDIA = re.compile(
    r"(?<![a-z0-9])(videos?(?!/wan)|video-?edit|[rtiv]2v|animate(diff)?|lip-?sync|omni-?human|infinitalk|"
    r"dream-machine|ltxv?|(mm)?audio|speech|tts|voices?|sound|music|whisper|svg|vector|vectori[sz]e|"
    r"hunyuan3d|hyper3d|trellis|tripo\w*|"
    # Series of films and sounds.
    r"veo\d*|sora|seedance|happy-?horse|hailuo|elevenlabs|suno|aleph|pixverse|vidu|pika)(?![a-z0-9])",
    re.IGNORECASE,
)
"""Words in the names of models that make no pictures."""
_MOSTLY_FILMS = re.compile(r"(?<![a-z0-9])(kling|wan-video|runway|luma)(?![a-z0-9])(?!.*(image|photo))", re.IGNORECASE)
"""Makers of films, unless a name goes on with a word for what is drawn."""
_ADDRESS = re.compile(r"(?:https?://)?(?:[\w-]+\.)+(?:run|ai|com|im)/", re.IGNORECASE)
_AROUND = re.compile(r"^(?:v1/)?models?/|/(?:api|playground|examples|readme|versions|predictions|requests)$")
_DEEPEST = 4
_UNTOLD = ("application/octet-stream", "binary/octet-stream")
"""Kinds that a file has whose sender did not say of which kind it is."""


def require_pictures(name: str, said: Any) -> None:
    """Refuse a model that makes films, sounds or other things that are no pictures, as its name tells.

    :param name: of the argument or option that names it.
    :raises InvalidRequestError: what it makes would be paid for, and then not be stored. Nothing was billed.
    """
    told = str(said)
    if _OTHER_MEDIA.search(told) or _MOSTLY_FILMS.search(told):
        raise InvalidRequestError(
            f"{name} is {told[:100]!r}, which does not make pictures: the result would be paid for but could "
            f"not be stored. Choose a {name} that makes pictures"
        )


def name_within(pasted: str) -> str:
    """Return the name that is in what was pasted for one: the address of a page or a route, or with slashes around."""
    path = _ADDRESS.sub("", pasted.strip(), count=1).partition("?")[0].partition("#")[0].strip("/")
    return _AROUND.sub("", _AROUND.sub("", path)).strip("/")


def picture_addresses(output: Any, *, takes_texts: bool) -> list[str]:
    """Return where the pictures of an output are, in their order.

    An output is an address, an object with ``url``, or a list or an object of such. What says by its
    ``content_type`` that it is something else than a picture is left out.

    :param takes_texts: whether a text that is an address counts by itself, or only the ``url`` of an object; likewise
        a text that is such a list or object as JSON.
    """
    return list(islice(_addresses(output, takes_texts, _DEEPEST), MOST_IMAGES))


def addresses_named(names: Sequence[str], holder: Mapping[str, Any], *, are_fields: bool = False) -> list[str]:
    """Return the addresses of an object's pictures, from the first of some names under which it has any.

    :param are_fields: whether these are fields for addresses and nothing else: any text in them is one then, also one
        that leads nowhere, which whoever fetches it says.
    """
    found = (list(islice(_addresses(holder.get(name), True, _DEEPEST, are_fields), MOST_IMAGES)) for name in names)
    return next(filter(None, found), [])


def _addresses(output: Any, takes_texts: bool, levels: int, any_text: bool = False) -> Iterator[str]:
    if isinstance(output, str):
        found = (address(output) or "").strip() if takes_texts else ""
        if takes_texts and levels and output.lstrip()[:1] in ("[", "{"):
            yield from _addresses(_parsed(output), takes_texts, levels - 1, any_text)
        elif found and (any_text or is_data_url(found) or is_web_address(found) or found.startswith("//")):
            yield found
    elif isinstance(output, Mapping):
        url = address(output.get("url"))
        if url:
            yield from [url] if _may_be_picture(output) else []
        elif levels:
            for entry in output.values():
                yield from _addresses(entry, takes_texts, levels - 1, any_text)
    elif isinstance(output, list) and levels:
        for entry in output:
            yield from _addresses(entry, takes_texts, levels - 1, any_text)


def _may_be_picture(output: Mapping[str, Any]) -> bool:
    kind = (text(output.get("content_type")) or "image/").lower()
    return kind.startswith(("image/", *_UNTOLD))


def _parsed(told: str) -> Any:
    try:
        return read_json(told) if len(told) <= MOST_IMAGES * LONGEST_ADDRESS else None
    except ValueError:
        return None
