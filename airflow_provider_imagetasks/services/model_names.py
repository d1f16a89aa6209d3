"""Names of models, as people paste them, and what they tell of models that make no pictures."""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_imagetasks.exceptions import InvalidRequestError

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
