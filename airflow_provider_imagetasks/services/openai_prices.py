"""What pictures cost at OpenAI, as the model pages and the guide "Image generation" publish it. In US dollars."""

from __future__ import annotations

import re
from collections.abc import Mapping

from airflow_provider_imagetasks.services.fields import text
from airflow_provider_imagetasks.tasks import ImageRequest

BATCH_SHARE = 0.5
"""What a picture costs through the Batch API, as a part of what it costs by itself."""
_SQUARE, _OBLONG = "1024x1024", ("1024x1536", "1536x1024")
PICTURES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "gpt-image-2": {"low": (0.006, 0.005), "medium": (0.053, 0.041), "high": (0.211, 0.165)},
    "gpt-image-1.5": {"low": (0.009, 0.013), "medium": (0.034, 0.05), "high": (0.133, 0.2)},
    "gpt-image-1-mini": {"low": (0.005, 0.006), "medium": (0.011, 0.015), "high": (0.036, 0.052)},
}
"""By model and quality: a square picture of 1,024 pixels, and an oblong one of 1,536. The prices of other models and
sizes are only published by the token."""
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def picture_price(request: ImageRequest) -> float | None:
    """Return what the picture of a request costs, without the tokens of its prompt, which cost far less.

    :param request: its model filled in.
    :returns: None where the price is not published by the picture: of other models and sizes, where quality or size
        are left to OpenAI, and of an edit, whose given pictures are billed by the token as well.
    """
    qualities = PICTURES.get(_SNAPSHOT.sub("", request.model or ""), {})
    square_and_oblong = qualities.get(text(request.options.get("quality")) or "auto")
    size = text(request.options.get("size"))
    if request.is_edit or square_and_oblong is None or size not in (_SQUARE, *_OBLONG):
        return None
    return square_and_oblong[0 if size == _SQUARE else 1]
