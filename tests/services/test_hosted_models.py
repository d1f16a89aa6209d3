"""Names of models, as they are pasted or of such that make no pictures, and the pictures in what models return."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.hosted_models import (
    addresses_named,
    name_within,
    picture_addresses,
    require_pictures,
)
from tests.services.wire_examples import A, B, completed

NO_PICTURES = (
    *("fal-ai/kling-video/v2/master/text-to-video", "fal-ai/veo3", "fal-ai/wan-t2v", "fal-ai/ltx-video"),
    *("fal-ai/animatediff-sparsectrl-lcm", "fal-ai/luma-dream-machine", "fal-ai/mmaudio-v2", "fal-ai/hunyuan3d/v2"),
    *("fal-ai/recraft/vectorize", "fal-ai/elevenlabs/tts/turbo-v2.5", "fal-ai/bytedance/seedance/v1/pro"),
    *("google/veo-3.1-fast", "openai/sora-2", "kwaivgi/kling-v2.1", "minimax/video-01", "luma/ray", "luma/ray-flash-2"),
    *("wan-video/wan-2.2-i2v-fast", "minimax/hailuo-02", "bytedance/omni-human", "recraft-ai/recraft-v3-svg"),
    *("kling/v2-1-pro", "runway", "aleph", "sora-2-text-to-video", "suno", "happy-horse/x", "pixverse/v5"),
)
PICTURES = (
    *("fal-ai/flux/dev", "fal-ai/kling-image/o3/text-to-image", "fal-ai/bytedance/seedream/v4/edit", "fal-ai/aura-sr"),
    *(
        "black-forest-labs/flux-schnell",
        "luma/photon",
        "runwayml/gen4-image",
        "wan-video/wan2.7-image",
        "google/imagen-4",
    ),
    *("minimax/image-01", "ideogram-ai/ideogram-v3-turbo", "openai/gpt-image-2", "fal-ai/clarity-upscaler"),
    *("kling/o1-image", "z-image", "wan/2-7-image", "grok-imagine/text-to-image"),
)
INLINE = "data:image/png;base64,aGk="
OUTPUTS: dict[str, tuple[Any, list[str]]] = {
    "an address": (A, [A]),
    "with blanks around it": (f" {A}\n", [A]),
    "without a scheme": ("//pictures.example/a.png", ["//pictures.example/a.png"]),
    "the picture itself": (INLINE, [INLINE]),
    "several": ([A, B], [A, B]),
    "objects": ([{"url": A}, {"url": B}], [A, B]),
    "deep within": ({"a": {"b": [{"url": A}]}}, [A]),
    "as JSON": (json.dumps({"images": [A]}), [A]),
    "as JSON within JSON": ({"images": json.dumps([{"url": A}])}, [A]),
    "of a kind that nobody told": ({"url": A, "content_type": "application/octet-stream"}, [A]),
    "of no kind": ({"url": A, "content_type": None}, [A]),
    "a film": ({"url": A, "content_type": "video/mp4"}, []),
    "a poem": ("a poem", []),
    "half of JSON": ('{"images": [', []),
    "nested without end": ("[" * 100_000, []),
    "nothing": (None, []),
    "numbers": ([1, 2.5, True], []),
}


@pytest.mark.parametrize("model", NO_PICTURES)
def test_a_model_that_makes_no_pictures_is_refused(model: str) -> None:
    with pytest.raises(InvalidRequestError, match="does not make pictures") as caught:
        require_pictures("model", model)

    assert caught.value.billed == "no"


@pytest.mark.parametrize("model", PICTURES)
def test_a_model_that_makes_pictures_is_not(model: str) -> None:
    require_pictures("model", model)


@pytest.mark.parametrize(
    ("service", "model"),
    [("fal", "fal-ai/veo3"), ("replicate", "google/veo-3"), ("kie", "veo3_fast"), ("aigptimage", "seedance-2.0")],
)
def test_each_service_with_models_of_other_media_refuses_them(service: str, model: str) -> None:
    with pytest.raises(InvalidRequestError, match="does not make pictures"):
        completed(service, model=model)


@pytest.mark.parametrize(
    ("service", "model"),
    [
        ("fal", "workflows/me/video-stills"),
        ("fal", "comfy/me/sora"),
        ("replicate", "deployments/me/video-stills"),
        ("replicate", f"me/sora-lora:{'5' * 64}"),
    ],
)
def test_what_an_account_has_named_itself_says_nothing(service: str, model: str) -> None:
    assert completed(service, model=model).model == model


PASTED = {
    "https://fal.ai/models/fal-ai/flux/dev": "fal-ai/flux/dev",
    "https://fal.ai/models/fal-ai/flux/dev/api?platform=python#auth": "fal-ai/flux/dev",
    "fal.ai/models/fal-ai/flux/dev/playground": "fal-ai/flux/dev",
    "https://queue.fal.run/fal-ai/flux-pro/v1.1": "fal-ai/flux-pro/v1.1",
    " /fal-ai/flux/dev/\n": "fal-ai/flux/dev",
    "https://replicate.com/black-forest-labs/flux-schnell": "black-forest-labs/flux-schnell",
    "https://replicate.com/black-forest-labs/flux-schnell/api": "black-forest-labs/flux-schnell",
    "https://api.replicate.com/v1/models/google/imagen-4/predictions": "google/imagen-4",
    "models/a/b": "a/b",
    "": "",
}


@pytest.mark.parametrize(("pasted", "name"), PASTED.items())
def test_the_name_of_a_model_is_found_in_what_was_pasted_for_it(pasted: str, name: str) -> None:
    assert name_within(pasted) == name


@pytest.mark.parametrize(
    ("service", "pasted", "name"),
    [
        ("fal", "https://fal.ai/models/fal-ai/flux/dev", "fal-ai/flux/dev"),
        ("fal", "fal-ai/flux/dev/", "fal-ai/flux/dev"),
        ("replicate", "https://replicate.com/a/b", "a/b"),
        ("replicate", "a/b ", "a/b"),
    ],
)
def test_a_pasted_address_is_refused_with_the_name_that_is_meant(service: str, pasted: str, name: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"\(perhaps {name}\)") as caught:
        completed(service, model=pasted)

    assert caught.value.billed == "no"


@pytest.mark.parametrize(("output", "urls"), OUTPUTS.values(), ids=OUTPUTS)
def test_the_pictures_of_an_output_are_its_addresses(output: Any, urls: list[str]) -> None:
    assert picture_addresses(output, takes_texts=True) == urls


def test_only_objects_count_where_texts_may_be_anything() -> None:
    assert picture_addresses({"prompt": A, "raw": json.dumps([A]), "image": {"url": B}}, takes_texts=False) == [B]


def test_the_first_field_that_has_a_picture_counts() -> None:
    names = ("images", "image")

    assert addresses_named(names, {"image": A, "images": [], "thumbnail": B}) == [A]
    assert addresses_named(names, {"image": "a poem"}) == []
    assert addresses_named(names, {"thumbnail": B}) == []


def test_a_field_for_addresses_keeps_one_that_leads_nowhere() -> None:
    assert addresses_named(("url",), {"url": "file:///etc/passwd"}, are_fields=True) == ["file:///etc/passwd"]
    assert addresses_named(("url",), {"url": ["", " ", None, 5]}, are_fields=True) == []


def test_there_is_an_end_to_pictures() -> None:
    assert len(picture_addresses([A] * 1_000, takes_texts=True)) == 64
