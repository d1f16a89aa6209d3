"""Pictures in what a model returned, for services whose models each return what they like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from airflow_provider_imagetasks.services.fields import address, is_data_url, text
from airflow_provider_imagetasks.tasks import MOST_IMAGES, is_web_address

_DEEPEST = 4


def picture_addresses(output: Any, *, takes_texts: bool) -> list[str]:
    """Return where the pictures of an output are, in their order.

    An output is an address, an object with ``url``, or a list or an object of such. What says by its
    ``content_type`` that it is something else than a picture is left out.

    :param takes_texts: whether a text that is an address counts by itself, or only the ``url`` of an object.
    """
    return list(islice(_addresses(output, takes_texts, _DEEPEST), MOST_IMAGES))


def _addresses(output: Any, takes_texts: bool, levels: int) -> Iterator[str]:
    if isinstance(output, str):
        found = address(output) if takes_texts else None
        if found and (is_data_url(found) or is_web_address(found)):
            yield found
    elif isinstance(output, Mapping):
        url = address(output.get("url"))
        kind = text(output.get("content_type")) or "image/"
        if url:
            yield from [url] if kind.lower().startswith("image/") else []
        elif levels:
            for entry in output.values():
                yield from _addresses(entry, takes_texts, levels - 1)
    elif isinstance(output, list) and levels:
        for entry in output:
            yield from _addresses(entry, takes_texts, levels - 1)
