"""The input of a model, as services that host many take it: an object whose fields are the model's own."""

from __future__ import annotations

from typing import Any

from airflow_provider_imagetasks.local.admission import require
from airflow_provider_imagetasks.local.dialects.dialect import Body
from airflow_provider_imagetasks.local.drawing import MEDIA_TYPES, in_proportion
from airflow_provider_imagetasks.local.service_state import ServiceState
from airflow_provider_imagetasks.local.task_table import NO_REFERENCES, TaskRecord
from airflow_provider_imagetasks.local.uploads import MOST_REFERENCES

_SIZES = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
_LONG_SIDE = 1024
_LARGEST_SIDE = 3840
_FORMATS = {"jpg": "jpeg", **{name: name for name in MEDIA_TYPES}}
_REFERENCE_FIELDS = ("image_url", "image_urls", "image", "images", "input_image", "image_input", "input_images")
_COUNT_FIELDS = ("num_images", "num_outputs", "n")
_MOST_PICTURES = 10


async def asked_of_model(
    state: ServiceState, order: Body, *, dialect: str, model: str, bearer: str | None, request: dict[str, Any]
) -> TaskRecord:
    """Return what the input of a model asks for.

    :param order: the input.
    :param request: what is told of the request.
    """
    urls = next((found for field in _REFERENCE_FIELDS if (found := _urls(order, field))), [])
    prompt = order.text("prompt", required=not urls)
    media_format = order.text("output_format") or "png"
    require(media_format in _FORMATS, f"output_format is one of {', '.join(_FORMATS)}")
    counts = [order.whole(field, 1) for field in _COUNT_FIELDS if order.get(field) is not None]
    count = counts[0] if counts else 1
    require(1 <= count <= _MOST_PICTURES, f"the number of pictures is from 1 to {_MOST_PICTURES}")
    references = await state.referenced(urls) if urls else NO_REFERENCES
    return TaskRecord(
        dialect=dialect,
        prompt=prompt,
        model=model,
        kind="edit" if urls else "generation",
        request=request,
        bearer=bearer,
        size=_size(order, references.size or (1, 1)),
        image_count=count,
        media_format=_FORMATS[media_format],
        in_base64=order.get("sync_mode") is True,
        references=references,
    )


def _urls(order: Body, field: str) -> list[str]:
    return order.urls(field, most=MOST_REFERENCES, allow_one=True)


def _size(order: Body, usual: tuple[int, int]) -> tuple[int, int]:
    size, ratio = order.get("image_size"), order.text("aspect_ratio")
    if isinstance(size, str):
        require(size in _SIZES, f"image_size is one of {', '.join(_SIZES)}, or an object")
        return _SIZES[size]
    sides = Body(size if isinstance(size, dict) else order)
    width, height = sides.whole("width", 0), sides.whole("height", 0)
    if width and height:
        require(max(width, height) <= _LARGEST_SIDE, f"no side is longer than {_LARGEST_SIDE}")
        return width, height
    across, _, down = ratio.partition(":")
    is_ratio = across.isdecimal() and down.isdecimal() and 0 < int(across) < 100 and 0 < int(down) < 100
    return in_proportion((int(across), int(down)) if is_ratio else usual, _LONG_SIDE)
